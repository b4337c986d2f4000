"""Files of other tools: completions that `check` judges, results that `compare` reads and `export` writes."""

import gzip
import json

import pytest
from test_cheats import PYTHON
from test_commands import SETTINGS, judged, write_lines

from azr_jax.evaluation.__main__ import main
from azr_jax.evaluation.judging import completion_files
from azr_jax.evaluation.problems.records import stdin_problem
from azr_jax.evaluation.scoring import other_tools, results
from azr_jax.evaluation.scoring.results import Results


def texts_of(path):
    return [(completion.name, completion.text, completion.whole) for _, completion in completion_files.read(path)]


def test_completions_of_other_tools_are_read(tmp_path):
    lines = [{"task_id": "HumanEval/0", "completion": "a"}, {"task_id": "HumanEval/1", "solution": "b"}]
    assert texts_of(write_lines(tmp_path / "samples.jsonl", lines)) == [
        ("HumanEval/0", "a", False),
        ("HumanEval/1", "b", True),
    ]
    (tmp_path / "lcb.json").write_text(json.dumps([{"question_id": "q", "code_list": ["a", "b"]}]))
    assert texts_of(tmp_path / "lcb.json") == [("q", "a", True), ("q", "b", True)]
    (tmp_path / "lcb.json.gz").write_bytes(gzip.compress((tmp_path / "lcb.json").read_bytes()))
    assert texts_of(tmp_path / "lcb.json.gz") == texts_of(tmp_path / "lcb.json")
    folder = tmp_path / "multipl-e"
    folder.mkdir()
    record = {"name": "twice", "prompt": "p", "completions": ["a", "b"]}
    (folder / "twice.json.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
    (folder / "twice.results.json.gz").write_bytes(gzip.compress(b'{"name": "twice", "prompt": "p", "results": []}'))
    assert texts_of(folder) == [("twice", "a", False), ("twice", "b", False)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{}", "a list"),
        ("a.json", "[3]", "record 1"),
        ("a.json", '[{"question_id": "q", "code_list": "x"}]', "'code_list'"),
        ("a.json", "[", "not JSON"),
        ("a.json", '{"name": "x", "completion": "y"}', "name it .jsonl"),
        ("a.json", '{"name": "x", "completion": "y"}\n' * 2, "name it .jsonl"),
        ("a.jsonl", '{"task_id": "x"}', "'completion'"),
        ("a.jsonl", '{"completion": "x"}', "'name'"),
        ("f/x.json.gz", "no gzip", "damaged"),
        ("f/x.json", "{}", "no file of MultiPL-E's completions"),
        ("f/x.json", '{"name": "n", "prompt": "p", "completions": [1]}', "'completions'"),
        (
            "f/x.json",
            '{"name": "n", "prompt": "p", "completions": [], "results": [{"response": ""}]}',
            "another prompt",
        ),
        *(
            ("f/x.json", f'{{"name": "n", "prompt": "p", "completions": [], "results": {value}}}', "'results'")
            for value in ("null", "3", "[3]", '["response"]', "{}")
        ),
    ],
)
def test_what_is_no_completion_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(ValueError, match=words) as raised:
        texts_of(path.parent if name.startswith("f/") else path)
    assert path.name in str(raised.value) or str(path.parent) in str(raised.value)


EVALPLUS = {
    "date": "2026-01-01 00:00",
    "hash": "0",
    "eval": {
        "HumanEval/0": [
            {"task_id": "HumanEval/0", "solution": "s", "base_status": "pass", "plus_status": "pass"},
            {"task_id": "HumanEval/0", "solution": "t", "base_status": "pass", "plus_status": "fail"},
        ],
        "HumanEval/1": [
            {"task_id": "HumanEval/1", "solution": "u", "base_status": "timeout", "plus_status": "timeout"},
            {"task_id": "HumanEval/1", "solution": "v", "base_status": "pass", "plus_status": None},
        ],
    },
}
OLD_EVALPLUS = {
    "eval": {
        "HumanEval/0": {
            "nfiles": 2,
            "base": [["success", []], ["success", []]],
            "plus": [["success", []], ["failed", []]],
        },
        "HumanEval/1": {"nfiles": 2, "base": [["timed out", []], ["success", []]], "plus": []},
    }
}
LCB = [
    {"question_id": "HumanEval/0", "code_list": ["s", "t"], "graded_list": [True, False], "pass@1": 0.5},
    {"question_id": "HumanEval/1", "code_list": ["u", "v"], "graded_list": [False, True], "pass@1": 0.5},
]
LCB_CUSTOM = {"date": "", "eval": {record["question_id"]: record for record in LCB}}


@pytest.mark.parametrize("content", [EVALPLUS, OLD_EVALPLUS, LCB, LCB_CUSTOM])
def test_results_of_other_tools_are_compared(tmp_path, capsys, content):
    file = tmp_path / "eval_results.json"
    file.write_text(json.dumps(content))
    samples = other_tools.read(file)
    assert {name: [results.passed(sample) for sample in cell] for name, cell in samples.items()} == {
        "HumanEval/0": [True, False],
        "HumanEval/1": [False, True],
    }
    if content in (EVALPLUS, OLD_EVALPLUS):
        assert samples["HumanEval/1"][0]["status"] == "Timeout"
    assert main(["compare", str(file), str(file)]) == 0
    assert "pass@2: A 100.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"eval": {}}', '{"eval": {"a": []}}', '[{"question_id": 1}]', "3"]
)
def test_what_is_no_result_is_named(tmp_path, capsys, content):
    file = tmp_path / "eval_results.json"
    file.write_text(content)
    assert main(["compare", str(file), str(file)]) == 2
    assert "eval_results.json" in capsys.readouterr().err


def test_results_are_exported_and_read_back(tmp_path, capsys):
    folder, out = tmp_path / "py", tmp_path / "out.json"
    store = Results(folder, {**SETTINGS, "problems_digest": "abc"})
    halves = [("pass", "pass"), ("pass", "fail"), ("timeout", "timeout")]
    samples = [judged(plus == "pass", base_status=base, plus_status=plus) for base, plus in halves]
    store.write(PYTHON, samples, ["", "", ""])
    store.write_manifest({"finished": "2026-01-01"})
    assert main(["export", str(folder), "--format=evalplus", f"--out={out}"]) == 0
    written = json.loads(out.read_text())
    assert written["hash"] == "abc"
    assert written["pass_at_k"]["base"] == pytest.approx({"pass@1": 2 / 3})
    assert written["pass_at_k"]["plus"] == pytest.approx({"pass@1": 1 / 3})
    assert written["eval"][PYTHON.name][1]["plus_status"] == "fail" and written["eval"][PYTHON.name][0]["solution"]
    assert results.counts(other_tools.read(out)) == results.counts(results.read(folder)) == [(3, 1)]

    record = {"question_id": "q", "question_content": "Add.", "contest_date": "2024-01-01T00:00:00", "platform": "x"}
    problem = stdin_problem({**record, "private_test_cases": json.dumps([{"input": "1", "output": "1"}])}, "js")
    store = Results(tmp_path / "lcb", SETTINGS)
    store.write(problem, [judged(True), judged(False)], ["a", "b"])
    store.write_manifest({})
    assert main(["export", str(store.folder), "--format=livecodebench", f"--out={out}"]) == 0
    (entry,) = json.loads(out.read_text())
    assert record.items() <= entry.items() and entry["graded_list"] == [True, False] and entry["pass@1"] == 0.5
    assert not {"max_tokens", "results", "completions"} & set(entry)
    assert results.counts(other_tools.read(out)) == [(2, 1)]

    capsys.readouterr()
    assert main(["export", str(store.folder), "--format=evalplus", f"--out={out}"]) == 2
    assert "q has no statuses of base and plus tests" in capsys.readouterr().err
