"""The report's section on contamination, from a run's newest save and files of problems."""

import json

import pytest
from run_folders import run_folder

from azr_jax.report import contamination, page, runs
from azr_jax.report.arms import arms_of
from azr_jax.report.figures import figures

PROMPT = "#lang racket\n\n;; Return the sum of all numbers of the list that are larger than the first one of them.\n"
PROBLEM = {"name": "HumanEval_0_sum_larger", "language": "rkt", "prompt": PROMPT, "tests": "test()", "stop_tokens": []}
EVIL = "</pre><script>alert(1)</script>\u202e"


def save(workdir, step, programs, languages=("racket",)):
    folder = workdir / "checkpoints" / str(step) / "host"
    folder.mkdir(parents=True)
    triplets = {"entries": [{"step": 3, "program": program, "input": "1", "output": "1"} for program in programs]}
    buffers = {language: {"triplets": [triplets], "problems": {"entries": []}} for language in languages}
    (folder / "metadata").write_text(json.dumps({"step": step, "host": {"buffers": buffers}}))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "humaneval-rkt.jsonl").write_text(json.dumps(PROBLEM) + "\n")
    return folder


def section(workdir, data_dir=""):
    return contamination.section(arms_of(runs.load_all([workdir])), str(data_dir))


def test_planted_matches_of_the_newest_save_are_in_the_page_as_text(tmp_path, data):
    workdir = run_folder(tmp_path / "tiny", steps=1)
    save(workdir, 8, [])
    planted = ";; return the sum of all numbers of the list that are larger than the first one of them\n" + EVIL
    save(workdir, 16, [planted, "(define (f x) (+ x 1))"])
    text = section(workdir, data)
    assert "1 of 2 items match" in text and "at step 16" in text and "humaneval-rkt.jsonl: 1" in text
    assert "10-grams" in text and "a match from 50%" in text
    assert "HumanEval_0_sum_larger, prompt" in text and "[U+202E]" in text
    assert "<script>" not in text and "\u202e" not in text
    arms = arms_of(runs.load_all([workdir]))
    assert text in page.render(arms, figures(arms), {}, tmp_path, tmp_path / "report.html", str(data))


def test_what_a_run_is_scored_on_is_found_in_the_cache_of_the_hub(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv("AZR_JAX_DATA", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    workdir = run_folder(tmp_path / "tiny", steps=1)
    save(workdir, 16, [PROMPT, "(define (f x) (+ x 1))"])
    folder = tmp_path / "hub" / "datasets--nuprl--Ag-LiveCodeBench-X"
    (folder / "snapshots" / "0123").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123")
    tests = json.dumps([{"input": "1", "output": "1"}])
    record = {"question_id": "q", "question_content": PROMPT, "private_test_cases": tests}
    (folder / "snapshots" / "0123" / "test.jsonl").write_text(json.dumps(record) + "\n")
    assert "Not checked: name a folder" in section(workdir), "the run is scored on no benchmark"
    config = json.loads((workdir / "config.json").read_text())
    config.setdefault("evaluation", {})["benchmarks"] = ["ag-lcb-x"]
    (workdir / "config.json").write_text(json.dumps(config))
    text = section(workdir)
    assert "1 of 2 items match" in text and "ag-lcb-x: 1" in text
    (folder / "refs" / "main").unlink()
    assert "Not checked: name a folder" in section(workdir)


def test_what_was_not_checked_is_said_with_the_reason(tmp_path, data, monkeypatch):
    monkeypatch.delenv("AZR_JAX_DATA", raising=False)
    workdir = run_folder(tmp_path / "tiny", steps=1)
    assert "Not checked: name a folder of benchmark files" in section(workdir)
    assert "Not checked: the run has no save with buffers" in section(workdir, data)
    save(workdir, 8, [])
    monkeypatch.setenv("AZR_JAX_DATA", str(tmp_path))
    assert "Not checked" in section(workdir) and "hf download" in section(workdir)
    with pytest.raises(FileNotFoundError, match="hf download"):
        section(workdir, tmp_path)
    (workdir / "checkpoints/8/host/metadata").write_text("{}")
    with pytest.raises(ValueError, match="not the JSON part of step 8"):
        section(workdir, data)


def test_the_statements_of_problems_are_compared_too(tmp_path, data):
    file = tmp_path / "problems.jsonl"
    close = PROMPT.partition(";; ")[2] + EVIL
    tests = [{"input": "", "output": ""}]
    lines = [
        {"name": "close", "statement": close, "tests": tests},
        {"name": "far", "statement": "Add.", "tests": tests},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    workdir = run_folder(tmp_path / "tiny", steps=1, problems__path=str(file))
    save(workdir, 8, ["(define (f x) (+ x 1))"])
    text = section(workdir, data)
    assert "1 of 3 items match" in text and f"and the statements of {file}" in text
    assert "problem close of step 0" in text and "<script>" not in text
    file.unlink()
    text = section(workdir, data)
    assert "0 of 1 items match" in text and f"not checked: problems.path, {file}: no such file" in text


def test_problems_of_standard_input_count_once_in_a_run_of_several_languages(tmp_path, data):
    statement = {"question_id": "q", "statement": PROMPT, "tests": [{"input": "", "output": "1"}]}
    (data / "ag-lcb-x.jsonl").write_text(json.dumps(statement) + "\n")
    workdir = run_folder(tmp_path / "tiny", steps=1)
    save(workdir, 8, ["(define (f x) (+ x 1))"], languages=("racket", "julia"))
    text = section(workdir, data)
    assert "against 2 problems (humaneval-rkt.jsonl: 1, ag-lcb-x.jsonl: 1, not checked: no humaneval-jl.jsonl" in text
    assert "0 of 2 items match" in text and text.count("not checked") == 1, "Julia's own benchmarks are not there"
    (data / "mbpp-jl.jsonl").write_text(json.dumps(PROBLEM | {"language": "jl"}) + "\n")
    assert "not checked" not in section(workdir, data)


def test_a_benchmark_that_cannot_be_read_leaves_the_others(tmp_path, data, monkeypatch):
    workdir = run_folder(tmp_path / "tiny", steps=1)
    save(workdir, 8, [PROMPT, "(define (f x) (+ x 1))"], languages=("racket", "lua"))
    (data / "mbpp-rkt.jsonl").write_text("{\n")
    functional = json.dumps([{"input": "1", "output": "1", "testtype": "functional"}])
    lcb = {"question_id": "q", "question_content": "Add.", "private_test_cases": functional}
    (data / "multi-lcb.jsonl").write_text(json.dumps(lcb) + "\n")
    text = section(workdir, data)
    assert "1 of 2 items match" in text and "humaneval-rkt.jsonl: 1" in text, "nothing is there for Lua's items"
    assert f"not checked: {data}/mbpp-rkt.jsonl, line 1: no JSON" in text
    assert text.count(f"not checked: {data}/multi-lcb.jsonl, line 1") == 1 and "no humaneval-lua.jsonl" in text
    (data / "humaneval-rkt.jsonl").unlink()
    with pytest.raises(ValueError, match=r"mbpp-rkt\.jsonl, line 1"):
        section(workdir, data)
    monkeypatch.setenv("AZR_JAX_DATA", str(data))
    assert "Not checked:" in (text := section(workdir)) and "mbpp-rkt.jsonl, line 1" in text


def test_repeated_items_count_as_often_as_they_come_and_are_shown_once(tmp_path, data):
    workdir = run_folder(tmp_path / "tiny", steps=1)
    save(workdir, 8, [PROMPT] * 3 + ["(define (f x) (+ x 1))"])
    text = section(workdir, data)
    assert "3 of 4 items match" in text and text.count("<summary>") == 1 and "of step 3 · 3 times" in text
