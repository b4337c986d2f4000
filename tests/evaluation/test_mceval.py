"""McEval's canonical solutions pass and mutants of them do not; problems of standard input in any language."""

import json
import re

import pytest
from recorded import DATA, needs, needs_data

from azr_jax.evaluation.__main__ import main
from azr_jax.evaluation.judging.judge import Completion, CompletionJudge
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files, records
from azr_jax.evaluation.problems.records import Problem, StdinProblem

SUFFIXES = ("js", "lua", "py", "r", "rkt", "jl")
BY_NAME = ("f90", "php", "pl", "rb")
# Two tests are written for a newer Julia than some machines have.
NEEDS_NEWER_INTERPRETER = {"jl": 2}
# Tests that look at an argument that the function changes, at objects of the prompt's types, or at expected values that
# are not literals; those two of Julia.
OF_NO_KNOWN_FORM = {"py": 1, "jl": 3, "f90": 5}
# Each ends the program before its tests; R's cat and Julia's println would be the last thing they print.
EXITS = {
    "js": "{ process.exit(0); }",
    "lua": "os.exit(0) end",
    "py": "    import os; os._exit(0)",
    "r": "{ quit(status = 0) }",
    "rkt": "(exit 0))",
    "jl": "exit(0)\nend",
    "php": "{ exit(0); }",
    "pl": "exit 0;\n}",
    "rb": "  exit(0)\nend",
}


def ending(solution, statement):
    """A solution in Fortran that ends the program where it would return."""
    return re.sub(r"(?i)^(\s*)(end (?:function|subroutine))|\breturn\b", rf"\1{statement}\n\1\2", solution, flags=re.M)


# McEval's prompts end before a function's bracket.
WRONG = {
    "js": "{ return undefined; }",
    "lua": "return nil end",
    "r": "{ NULL }",
    "php": "{ return null; }",
    "rkt": "#f)",
}


def problems(suffix):
    language = known_language(suffix)
    return files.load(files.locate("mceval", language, str(DATA)), suffix)


def judged(suffix, items):
    with CompletionJudge(suffix, timeout_s=60.0) as judge:
        return list(judge.judge_all(items))


def check(suffix, chosen):
    """Canonical solutions pass; wrong bodies, and those that end the program, do not."""
    right = [(problem, Completion(problem.name, problem.record["canonical_solution"])) for problem in chosen]
    wrong = WRONG.get(suffix) or known_language(suffix).wrong_body
    mutants = [
        (problem, Completion(problem.name, text))
        for problem in chosen
        for text in (
            (wrong, EXITS[suffix])
            if suffix in EXITS
            else (ending(problem.record["canonical_solution"], how) for how in ("stop", "error stop"))
        )
    ]
    judgements = judged(suffix, [*right, *mutants])
    assert sum(item.own_way for item in judgements[: len(right)]) <= OF_NO_KNOWN_FORM.get(suffix, 0)
    failed = [(item.name, item.status, item.stderr[-300:]) for item in judgements[: len(right)] if not item.passed]
    passed = [item.name for item in judgements[len(right) :] if item.passed]
    return failed, passed


@needs_data
@pytest.mark.parametrize("suffix", [pytest.param(suffix, marks=needs(suffix)) for suffix in ("js", "lua", "py")])
def test_some_canonical_solutions_pass_and_mutants_do_not(suffix):
    failed, passed = check(suffix, problems(suffix)[::17])
    assert not failed and not passed


@needs_data
@pytest.mark.parametrize(
    "suffix",
    [
        pytest.param(suffix, marks=[needs(suffix), pytest.mark.ci if suffix in BY_NAME else pytest.mark.slow])
        for suffix in (*SUFFIXES, *BY_NAME)
    ],
)
def test_every_canonical_solution_passes_and_no_mutant_does(suffix):
    failed, passed = check(suffix, problems(suffix))
    assert len(failed) <= NEEDS_NEWER_INTERPRETER.get(suffix, 0), failed
    assert not passed


@needs_data
@needs("rkt")
@pytest.mark.slow
def test_the_file_of_scheme_is_racket():
    failed, passed = check("rkt", files.load(DATA / "mceval" / "Scheme.jsonl", "rkt"))
    assert not failed and not passed


def test_a_mceval_record_is_its_own_kind():
    record = {
        "task_id": "Lua/1",
        "prompt": "function f(x)",
        "canonical_solution": "return x end",
        "test": "assert(f(1) == 1)",
    }
    problem = records.from_record(record, "lua")
    assert isinstance(problem, Problem) and problem.own_tests
    assert (problem.name, problem.language, problem.prompt) == ("Lua/1", "lua", "function f(x)\n")
    with pytest.raises(ValueError, match="field 'test' is ''"):
        records.from_record(record | {"test": ""}, "lua")


SUM = {
    "question_id": 7,
    "question_content": "Print the sum of two numbers.",
    "tests": [{"input": "1\n2\n", "output": "3\n"}, {"input": "4\n5\n", "output": "9"}],
}


@pytest.mark.parametrize(
    "tests",
    [SUM["tests"], json.dumps(SUM["tests"]), {"inputs": ["1\n2\n", "4\n5\n"], "outputs": ["3\n", "9"]}],
)
def test_problems_of_standard_input_are_read_in_their_forms(tests):
    problem = records.from_record(SUM | {"tests": tests}, "lua")
    assert isinstance(problem, StdinProblem)
    assert (problem.name, problem.language, problem.stdin) == ("7", "lua", ("1\n2\n", "4\n5\n"))
    assert problem.expected == ("3\n", "9")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tests": []}, "at least one test"),
        ({"tests": [{"input": 1, "output": "2"}]}, "each of two texts"),
        ({"tests": [{"input": "1"}]}, "no inputs and outputs"),
        ({"tests": {"inputs": ["1"], "outputs": []}}, "no inputs and outputs"),
        ({"tests": "["}, "no inputs and outputs"),
        ({"question_id": None}, "no text in question_id"),
        ({"question_content": ""}, "no text in question_content"),
    ],
)
def test_a_problem_of_standard_input_without_its_parts_is_named(changes, words):
    with pytest.raises(ValueError, match=words):
        records.from_record(SUM | changes, "lua")


@needs("py")
def test_problems_of_standard_input_are_judged_by_what_is_printed(tmp_path, capsys):
    (tmp_path / "ag-lcb-x.jsonl").write_text(json.dumps(SUM) + "\n")
    source = files.locate("ag-lcb-x", known_language("py"), str(tmp_path))
    programs = {
        "print(int(input()) + int(input()))": "OK",
        "print(3)": "Exception",
        "print(int(input()) + int(input()))\nraise SystemExit(1)": "Exception",
        "print(": "SyntaxError",
    }
    lines = [json.dumps({"name": "7", "completion": text, "mode": "full"}) + "\n" for text in programs]
    (tmp_path / "completions.jsonl").write_text("".join(lines))
    command = ["check", "--language=python", f"--problems={source}"]
    assert main([*command, f"--completions={tmp_path / 'completions.jsonl'}", f"--out={tmp_path / 'out.jsonl'}"]) == 0
    verdicts = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["status"] for line in verdicts] == list(programs.values())
    assert "test 1: it prints something else" in verdicts[1]["stderr"] and not any(
        "judged" in line for line in verdicts
    )
    assert main(["--model=azr_jax/embedded/azr-tiny", "--language=python", f"--problems={source}", "--out=o"]) == 2
    assert "use --prompt=chat" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="hf download nuprl/Ag-LiveCodeBench-X"):
        files.locate("ag-lcb-x", known_language("py"), str(tmp_path / "mceval"))
    with pytest.raises(FileNotFoundError, match=r"no mceval/Racket\.jsonl here"):
        files.locate("mceval", known_language("rkt"), str(tmp_path))


@needs("lua")
def test_tests_that_are_never_called_are_called():
    """As Lua/1 of McEval is published: its test function is defined and nothing calls it."""
    problem = Problem(
        "p", "lua", "function one()\n", "function testOne()\n  assert(one() == 1)\nend", (), {}, own_tests=True
    )
    right, wrong = (Completion("p", text) for text in ("return 1 end", "return 2 end"))
    judgements = judged("lua", [(problem, right), (problem, wrong)])
    assert [judgement.status for judgement in judgements] == ["OK", "Exception"]


@needs("r")
@pytest.mark.ci
def test_an_empty_value_is_not_equal_to_anything_in_the_tests_of_r():
    """stopifnot(NULL == 1) passes in R: an answer of NULL would pass most of McEval's tests."""
    tests = "main <- function() {\n  stopifnot(g(1) == 2)\n  stopifnot(all(g(NULL) == NULL))\n}\nmain()"
    problem = Problem("p", "r", "g <- function(x)\n", tests, (), {}, own_tests=True)
    texts = ["{ if (sum(x == 5) > 0) 0 else x + 1 }", "{ NULL }", "{ quit(status = 0) }", "{ x }"]
    judgements = judged("r", [(problem, Completion("p", text)) for text in texts])
    assert [judgement.status for judgement in judgements] == ["OK", "Exception", "Exception", "Exception"]
