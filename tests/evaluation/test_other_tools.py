"""Files of other tools: completions that `check` judges, results that `compare` reads and `export` writes."""

import datetime
import decimal
import gzip
import json
import os
import threading
from pathlib import Path

import pytest
from recorded import needs
from test_cheats import PYTHON
from test_commands import SETTINGS, check, judged, write_lines

from azr_jax.evaluation.__main__ import main
from azr_jax.evaluation.judging import completion_files
from azr_jax.evaluation.problems import files
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
    printed = capsys.readouterr().out
    assert "pass@2: A 100.0%" in printed
    base_only = 1 if content is EVALPLUS else 2 if content is OLD_EVALPLUS else 0
    assert printed.count(f"note: {base_only} of ") == printed.count("samples were judged by EvalPlus' base tests alone")
    assert printed.count("base tests alone") == (2 if base_only else 0)


def test_no_completion_at_all_is_one_message(tmp_path, capsys):
    problems = write_lines(tmp_path / "problems.jsonl", [stdin_record()])
    for name, content in (("a.jsonl", ""), ("b.json", "[]"), ("c.json", '[{"question_id": "q", "code_list": []}]')):
        (tmp_path / name).write_text(content)
        assert check(tmp_path, problems, tmp_path / name) == (2, [])
        assert capsys.readouterr().err == f"error: {tmp_path / name}: no completion in it\n"


def stdin_record():
    tests = json.dumps([{"input": "1", "output": "1"}])
    return {"question_id": "q", "question_content": "Add.", "platform": "x", "private_test_cases": tests}


@needs("js")
def test_what_solves_a_statement_is_a_whole_program_in_every_form(tmp_path, capsys):
    problems = write_lines(tmp_path / "problems.jsonl", [stdin_record()])
    program = "console.log(1)"
    forms = [{"name": "q"}, {"name": "q", "mode": "completion"}, {"name": "q", "mode": "full"}, {"task_id": "q"}]
    completions = write_lines(tmp_path / "completions.jsonl", [form | {"completion": program} for form in forms])
    status, lines = check(tmp_path, problems, completions)
    assert status == 0 and [line["status"] for line in lines] == ["OK"] * 4
    command = ["speed", "--language=js", f"--problems={problems}", "--workers=1"]
    assert main(command) == 2 and "give --completions" in capsys.readouterr().err
    assert main([*command, f"--completions={completions}"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] == 1


def evalplus(**fields):
    return {"eval": {"p7": [{"solution": "s", "base_status": "pass", "plus_status": "pass"} | fields]}}


def old_evalplus(base, plus):
    return {"eval": {"p7": {"base": base, "plus": plus}}}


def lcb(**fields):
    return [{"question_id": "p7", "code_list": ["x"], "graded_list": [True]} | fields]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Expecting value"),
        ("{}", "'eval' is None"),
        ("[]", "no problem"),
        ("3", "3"),
        ("[3]", "record 1 is 3"),
        ("[" * 100_000, "recursion"),
        ('{"eval": {}}', "no problem"),
        ('{"eval": []}', "'eval' is []"),
        ('{"eval": {"p7": []}}', "'p7' has no sample"),
        ('{"eval": {"p7": 3}}', "'p7': its entry is 3"),
        ('{"eval": {"p7": [3]}}', "'p7': a sample is 3"),
        ('[{"question_id": 1}]', "'graded_list'"),
        ('[{"graded_list": [true]}]', "'question_id'"),
        (evalplus(base_status=None), "base tests is None"),
        (evalplus(base_status=None, plus_status=None), "base tests is None"),
        (evalplus(base_status="banana"), "base tests is 'banana'"),
        (evalplus(plus_status="banana"), "plus tests is 'banana'"),
        (evalplus(plus_status=3), "plus tests is 3"),
        (evalplus(base_status=["pass"]), "base tests is ['pass']"),
        (evalplus(solution=None), "'solution' has None"),
        (old_evalplus("pass", []), "'base' is 'pass'"),
        (old_evalplus(["pass", "pass"], []), "a result is 'pass'"),
        (old_evalplus([["pass"]], []), "a result is ['pass']"),
        (old_evalplus([[]], []), "a result is []"),
        (old_evalplus([["p", []]], []), "base tests is 'p'"),
        (old_evalplus([["success", []]], [["success", []]] * 2), "base has 1 entries and plus 2"),
        (old_evalplus([["success", []]], {"success": []}), "'plus' is {"),
        (old_evalplus([], []), "'p7' has no sample"),
        (lcb(code_list=["x", "y"]), "code_list has 2 entries and graded_list 1"),
        (lcb(code_list=3), "'code_list' is 3"),
        (lcb(code_list=[None]), "'code_list' has None"),
        (lcb(graded_list=[1]), "graded_list holds 1"),
        (lcb(graded_list=None), "'graded_list' is None"),
        (lcb() * 2, "question_id 'p7' comes a second time"),
    ],
)
def test_what_is_no_result_is_one_message_with_file_and_value(tmp_path, capsys, content, words):
    file = tmp_path / "eval_results.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    assert main(["compare", str(file), str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {file}: no results of EvalPlus") and error.count("\n") == 1 and words in error


def test_what_is_no_file_of_results_says_what_to_give(tmp_path, capsys):
    file = tmp_path / "out.jsonl"
    for count in (1, 2):
        write_lines(file, [{"name": "twice", "status": "OK", "exit_code": 0}] * count)
        assert main(["compare", str(file), str(file)]) == 2
        assert "lines of `check`, no results; give a folder of results" in capsys.readouterr().err
    write_lines(file, [{"task_id": "HumanEval/0", "solution": ""}] * 2)
    assert main(["compare", str(file), str(file)]) == 2
    assert "out.jsonl: JSON lines, no results" in capsys.readouterr().err
    assert main(["compare", "nowhere.json", str(file)]) == 2
    assert capsys.readouterr().err == "error: nowhere.json: no such file\n"


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

    record = {**stdin_record(), "contest_date": "2024-01-01T00:00:00"}
    problem = stdin_problem(record, "js")
    del record["private_test_cases"]
    store = Results(tmp_path / "lcb", SETTINGS)
    store.write(problem, [judged(True), judged(False)], ["a", "b"])
    store.write_manifest({"finished": "2026-01-01"})
    assert main(["export", str(store.folder), "--format=livecodebench", f"--out={out}"]) == 0
    (entry,) = json.loads(out.read_text())
    assert record.items() <= entry.items() and entry["graded_list"] == [True, False] and entry["pass@1"] == 0.5
    assert not {"max_tokens", "results", "completions"} & set(entry)
    assert results.counts(other_tools.read(out)) == [(2, 1)]

    capsys.readouterr()
    assert main(["export", str(store.folder), "--format=evalplus", f"--out={out}"]) == 2
    assert "q has no statuses of base and plus tests" in capsys.readouterr().err


def test_dates_of_problems_in_parquet_are_written_as_livecodebench_writes_them(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [{**stdin_record(), "contest_date": datetime.datetime(2024, 1, 2), "price": decimal.Decimal("1.5")}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "lcb.parquet")
    store = Results(tmp_path / "lcb", SETTINGS)
    store.write(files.load(tmp_path / "lcb.parquet", "js")[0], [judged(True)], ["a"])
    (entry,) = other_tools.to_livecodebench(store.folder)
    assert (entry["contest_date"], entry["price"]) == ("2024-01-02T00:00:00", "1.5")


def test_a_problem_counts_once_though_its_file_is_there_unpacked_too(tmp_path, capsys):
    folder, out = tmp_path / "f", tmp_path / "out.json"
    folder.mkdir()
    record = {"name": "n7", "prompt": "p", "completions": ["a"], "results": [judged(True)]}
    text = json.dumps(record)
    for end in (".json", ".results.json"):
        (folder / f"n7{end}.gz").write_bytes(gzip.compress(text.encode()))
        (folder / f"n7{end}").write_text(text.replace('"OK"', '"Exception"').replace('["a"]', '["b"]'))
        if end == ".json":
            assert texts_of(folder) == [("n7", "a", False)]
    assert main(["export", str(folder), "--format=livecodebench", f"--out={out}"]) == 0
    assert [entry["graded_list"] for entry in json.loads(out.read_text())] == [[True]]
    with pytest.raises(ValueError, match=r"n7\.results\.json\.gz: completions of 'n7', which n7\.json\.gz has too"):
        texts_of(folder)
    (folder / "other.results.json").write_text(text)
    assert main(["compare", str(folder), str(folder)]) == 2
    assert "other.results.json: results of 'n7', which are in n7.results.json.gz too" in capsys.readouterr().err


@pytest.fixture
def finished(tmp_path):
    store = Results(tmp_path / "py", SETTINGS)
    store.write(PYTHON, [judged(True, base_status="pass", plus_status="pass")], [""])
    store.write_manifest({"finished": "2026-01-01"})
    return store.folder


def test_an_export_never_overwrites_what_it_exports(tmp_path, finished, capsys):
    before = {path: path.read_bytes() for path in finished.iterdir()}
    (tmp_path / "link").symlink_to(finished)
    command = ["export", str(finished), "--format=evalplus"]
    for place in (*before, finished / "new.json", finished / "sub" / "new.json", tmp_path / "link" / "new.json"):
        assert main([*command, f"--out={place}"]) == 2
        assert "is within the results" in capsys.readouterr().err
    assert main([*command, f"--out={tmp_path}"]) == 2 and "is a folder: name a file" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in finished.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "py"]


def test_an_export_writes_through_pipes_links_and_standard_output(tmp_path, finished, capfd):
    command = ["export", str(finished), "--format=evalplus"]
    target, link, pipe = tmp_path / "target.json", tmp_path / "link.json", tmp_path / "pipe"
    link.symlink_to(target)
    assert main([*command, f"--out={link}"]) == 0 and link.is_symlink() and json.loads(target.read_text())["eval"]
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert main([*command, f"--out={pipe}"]) == 0
    reader.join()
    assert read == [target.read_text()] and pipe.is_fifo()
    assert main([*command, "--out=/dev/null"]) == 0 and Path("/dev/null").is_char_device()
    capfd.readouterr()
    assert main([*command, "--out=/dev/stdout"]) == 0
    captured = capfd.readouterr()
    assert captured.out == target.read_text() and captured.err == "wrote /dev/stdout\n"


@pytest.mark.parametrize("form", ["evalplus", "livecodebench"])
def test_an_export_of_what_is_not_whole_says_so(tmp_path, finished, capsys, form):
    command = ["export", str(finished), f"--format={form}", f"--out={tmp_path / 'out.json'}"]
    store = Results(finished, SETTINGS)
    sample = {"base_status": "pass", "plus_status": "pass"}
    store.write(PYTHON, [judged(True, **sample), judged(False, **sample, infrastructure=True)], ["", ""])
    assert main(command) == 0
    assert "the executors failed on 1 of 2 samples" in capsys.readouterr().out
    store.write_manifest({})
    assert main(command) == 2 and "is not finished" in capsys.readouterr().err
    assert main(["export", "nowhere", *command[2:]]) == 2 and "nowhere: no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "fields", "words"),
    [
        ("evalplus", {"program": None}, "'program' has None"),
        ("livecodebench", {"program": 3}, "'program' has 3"),
        ("evalplus", {"base_status": None}, "base tests is None"),
        ("evalplus", {"plus_status": "odd"}, "plus tests is 'odd'"),
    ],
)
def test_an_odd_result_is_not_exported(tmp_path, finished, capsys, form, fields, words):
    sample = {"status": "OK", "program": "p", "base_status": "pass", "plus_status": "pass"} | fields
    (finished / "x.results.json").write_text(json.dumps({"name": "n7", "results": [sample]}))
    assert main(["export", str(finished), f"--format={form}", f"--out={tmp_path / 'out.json'}"]) == 2
    error = capsys.readouterr().err
    assert words in error and "n7" in error and str(finished) in error and error.count("\n") == 1
