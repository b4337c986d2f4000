"""LiveCodeBench's problems as Ag-LiveCodeBench-X and Multi-LCB publish them: tests, prompts, comparison, time."""

import base64
import json
import math
import os
import pickle
import zlib

import pytest
from recorded import needs

from azr_jax.evaluation.judging.judge import Completion, CompletionJudge
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files, packed, records
from azr_jax.evaluation.problems.records import StdinProblem
from azr_jax.evaluation.scoring import answers
from executors import LANGUAGES

SUM_TESTS = json.dumps([{"input": "1\n2\n", "output": "3\n", "testtype": "stdin"}])


def packed_tests(value, protocol=4) -> str:
    """As LiveCodeBench packs its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


@pytest.mark.parametrize("private", [SUM_TESTS, packed_tests(SUM_TESTS), packed_tests(SUM_TESTS, 0)])
@pytest.mark.parametrize("form", ["agnostics", "multi-lcb"])
def test_problems_of_livecodebench_are_read_as_they_are_published(private, form):
    record = {"question_id": "abc301_a", "question_content": "Add two numbers.", "private_test_cases": private}
    if form == "multi-lcb":
        more = json.dumps([{"input": "4\n5\n", "output": "9", "testtype": "stdin"}])
        record |= {"public_test_cases": more, "starter_code": "", "platform": "atcoder"}
    problem = records.from_record(record, "lua")
    assert isinstance(problem, StdinProblem) and (problem.name, problem.form) == ("abc301_a", form)
    first = [("4\n5\n", "9")] if form == "multi-lcb" else []
    assert problem.pairs == (*first, ("1\n2\n", "3\n"))
    assert "private_test_cases" not in problem.record
    prompt = answers.prompt_of(problem, LANGUAGES["lua"], "instruct")
    if form == "multi-lcb":
        assert (
            "### Question:\nAdd two numbers.\n\n### Format: " in prompt and "```lua\n-- YOUR CODE HERE\n```" in prompt
        )
    else:
        assert prompt == (
            "# Problem\nAdd two numbers.\n\n# Task\n"
            "Provide a full implementation of the specified program in a Markdown code block.\n"
            "Use the following programming language: Lua\n"
        )


class Harmful:
    """Would run a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("private", "words"),
    [
        (packed_tests(Harmful()), "hold STACK_GLOBAL where|hold SHORT_BINUNICODE|hold 2 texts"),
        (packed_tests(7), "hold BININT1 where"),
        (packed_tests(["[]", "[]"]), "where LiveCodeBench has one text"),
        (packed_tests("[")[:-8], "neither JSON nor packed"),
        (packed_tests("["), "no JSON: Expecting value"),
        ("not base64!", "neither JSON nor packed"),
        (packed_tests("{}"), "not a list"),
        ("[]", "holds no test"),
        ('[{"input": "1"}]', "each has two texts"),
        ('[{"input": "1", "output": "2", "testtype": "functional"}]', "calls a Python function"),
        (["1"], "have text there"),
    ],
)
def test_damaged_or_harmful_tests_of_livecodebench_are_named(tmp_path, private, words):
    record = {"question_id": "q", "question_content": "Add.", "private_test_cases": private}
    (tmp_path / "ag-lcb-x.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(ValueError, match=f"ag-lcb-x.jsonl, line 1: .*{words}"):
        files.load(files.locate("ag-lcb-x", known_language("py"), str(tmp_path)), "py")


def test_packed_tests_that_would_fill_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(packed, "_MOST_BYTES", 1 << 20)
    record = {"question_id": "q", "question_content": "Add.", "private_test_cases": packed_tests(" " * (2 << 20))}
    with pytest.raises(ValueError, match="more than 1 MiB"):
        records.from_record(record, "py")


def test_a_benchmark_in_several_files_is_read_whole(tmp_path):
    folder = tmp_path / "multi-lcb" / "data"
    folder.mkdir(parents=True)
    for name in ("b", "a"):
        record = {"question_id": name, "question_content": "Add.", "public_test_cases": "[]"}
        (folder / f"{name}.jsonl").write_text(json.dumps(record | {"private_test_cases": SUM_TESTS}) + "\n")
    source = files.locate("multi-lcb", known_language("lua"), str(tmp_path))
    assert [problem.name for problem in files.load(source, "lua")] == ["a", "b"]
    before = files.data_version(source)
    (folder / "b.jsonl").write_bytes((folder / "a.jsonl").read_bytes())
    assert files.data_version(source) != before
    with pytest.raises(ValueError, match=r"b.jsonl: the name 'a' is in another file"):
        files.load(source, "lua")
    with pytest.raises(FileNotFoundError, match="hf download livecodebench/code_generation_lite"):
        files.locate("multi-lcb", known_language("lua"), str(tmp_path / "mceval"))


def test_problems_that_call_a_function_are_left_out_of_livecodebench(tmp_path, caplog):
    record = {"question_content": "Add.", "public_test_cases": "[]"}
    functional = packed_tests('[{"input": "1", "output": "2", "testtype": "functional"}]')
    lines = [record | {"question_id": f"f{number}", "private_test_cases": functional} for number in range(2)]
    file = tmp_path / "multi-lcb.jsonl"
    lines.insert(1, record | {"question_id": "s", "private_test_cases": SUM_TESTS})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [problem.name for problem in files.load(file, "lua")] == ["s"]
    assert "2 of 3 problems are left out, whose tests call a Python function (f0 is the first)" in caplog.text
    file.write_text(json.dumps(lines[0]) + "\n")
    with pytest.raises(ValueError, match=r"multi-lcb.jsonl: no problem in it that reads standard input"):
        files.load(file, "lua")


@needs("py")
def test_numbers_and_time_count_as_each_benchmark_says():
    tests = json.dumps([{"input": "", "output": "2.0\n"}] * 2)
    record = {"question_id": "q", "question_content": "Two.", "private_test_cases": tests}
    agnostics = records.from_record(record, "py")
    multi = records.from_record(record | {"public_test_cases": "[]"}, "py")
    integer, slow = (
        Completion("q", "print(2)", whole=True),
        Completion("q", "import time; time.sleep(1.2); print('2.0')", whole=True),
    )
    with CompletionJudge("python", workers=1, timeout_s=2.0) as judge:
        assert judge.judge(agnostics, integer).status == "Exception"
        assert judge.judge(multi, integer).status == judge.judge(multi, slow).status == "OK"
        late = judge.judge(agnostics, slow)
        slower = Completion("q", "import time; time.sleep(2.1); print('2.0')", whole=True)
        assert judge.judge(multi, slower).status == "Timeout"
    assert late.status == "Timeout" and late.stderr.endswith("and 2 s are allowed")


@pytest.mark.parametrize("language", ["javascript", "julia", "python", "racket"])
def test_the_published_limits_hold_in_every_language(language, monkeypatch):
    if LANGUAGES[language].find() is None:
        pytest.skip(f"no {language} interpreter here")
    agnostics = {"question_id": "q", "question_content": "Two.", "private_test_cases": SUM_TESTS}
    judge = CompletionJudge(language, workers=1)
    jobs, program = [], judge.benchmark_language.loadable(LANGUAGES[language].identity)

    def submit(job):
        jobs.append(job)
        raise InterruptedError

    monkeypatch.setattr(judge._pool, "submit", submit)
    for record in (agnostics, agnostics | {"public_test_cases": "[]"}):
        with pytest.raises(InterruptedError):
            judge.judge(records.from_record(record, judge.suffix), Completion("q", program, whole=True))
    assert [(job.limits.cpu_s, job.total_s) for job in jobs] == [(15.0, 15.0), (6.0, math.inf)]
