"""Inputs are argument lists of any expressions: what real models write, checked by real interpreters."""

from __future__ import annotations

import ast
import json
import sys

import pytest
from argument_lists import CASES, CHECKS
from conftest import BY_NAME, REPOSITORY, ci_in

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status

PROPOSALS = REPOSITORY.parent / "shared" / "data" / "proposals"
# Of a machine that runs other tests beside these.
LIMITS = Limits(wall_s=20.0, cpu_s=20.0)
# Every how manieth program the default run takes: the rest is CI's.
SAMPLE = 3


def values_of(language, cases):
    with Pool(language, workers=1, limits=LIMITS) as pool:
        verdicts = pool.run_all(Job(source, JobKind.EVALUATE, source, inputs) for source, inputs in cases)
        assert [(verdict.id, verdict.message) for verdict in verdicts if not verdict.ok] == []
        programs = [
            CHECKS[language.name](source, inputs, verdict.values)
            for (source, inputs), verdict in zip(cases, verdicts, strict=True)
        ]
        return pool.run_all(Job(program, JobKind.PROGRAM, program) for program in programs), verdicts


def assert_as_the_interpreter(name, cases):
    language = LANGUAGES[name]
    if language.find() is None:
        pytest.skip(f"no {name} here: {language.install_hint}")
    checked, _ = values_of(language, cases)
    assert [(ran.id, ran.stderr) for ran in checked if not ran.ok or ran.stdout.strip()] == []


@pytest.mark.parametrize("name", ci_in(CASES, "r", "julia", *BY_NAME))
def test_values_are_those_of_the_interpreter(name):
    assert_as_the_interpreter(name, CASES[name][::SAMPLE])


@pytest.mark.ci
@pytest.mark.parametrize("name", CASES)
def test_all_values_are_those_of_the_interpreter(name):
    assert sum(len(inputs) for _, inputs in CASES[name]) >= 60
    assert_as_the_interpreter(name, [case for number, case in enumerate(CASES[name]) if number % SAMPLE])


# A call of f, a closing parenthesis of its own, nothing, and what no value comes of.
REFUSED = {
    "python": ("f(1)", "1)(2", "", "lambda x: x", "1 / 0", "*[]", "**{}"),
    "javascript": ("f(1)", "1)+(2", "", "() => 1", "x.y", "...[]"),
    "julia": ("f(1)", "1)+(2", "", "x -> 1", "div(1, 0)", "[]...", ";", "; Dict{Symbol,Int}()..."),
    "racket": ("(f 1)", "1) (f 2", "", "(lambda (x) x)", "(/ 1 0)", "#:k"),
    "lua": ("f(1)", "1) + (2", "", "print", "x.y", "table.unpack({})"),
    "perl": ("f(1)", "1)+(2", "", "sub { 1 }", "1 / 0", "()", "1; 2"),
    "php": ("f(1)", "1)+(2", "", "fn() => 1", "1 % 0", "...[]", "1) ?: (2"),
    "scheme": ("(f 1)", "1) (f 2", "", "car", "(/ 1 0)"),
    "ruby": ("f(1)", "1)+(2", "", "-> {}", "1 / 0", "*[]", "**{}", "&:to_s", "1) { (2"),
    "ocaml": ("(f 1)", "1)+(2", "", "(fun x -> x)", "(1 / 0)", "1; 2"),
    "r": ("f(1)", "1)+(2", "", "function(x) x", "stop('no')", "1,"),
}


def of_identity(name, texts):
    """The verdicts of the language's identity program on each text as its input."""
    language = LANGUAGES[name]
    if language.find() is None:
        pytest.skip(f"no {name} here: {language.install_hint}")
    with Pool(language, workers=1, limits=LIMITS) as pool:
        return pool.run_all(Job(text[:9], JobKind.EVALUATE, language.identity, (text,)) for text in texts)


@pytest.mark.parametrize("name", ci_in(REFUSED, "julia", "r", *BY_NAME))
def test_what_is_no_argument_list_is_refused_with_the_reason(name):
    verdicts = of_identity(name, REFUSED[name])
    assert {verdict.status for verdict in verdicts} == {Status.FORBIDDEN, Status.UNSERIALISABLE}
    assert all(verdict.message for verdict in verdicts)
    assert "can't call f" in verdicts[0].message
    # A function is an expression, but no value.
    functions = [verdict.message for verdict in verdicts if verdict.status is Status.UNSERIALISABLE]
    assert functions and all(message.startswith("the input: ") for message in functions)


# A text of 1 MiB, and a keyword argument that f does not have; JavaScript and Lua have none.
_LONG = "a" * (1 << 20)
MISUSED = {
    "python": (f"'{_LONG}'", "1, k=2"),
    "javascript": (f'"{_LONG}"',),
    "julia": (f'"{_LONG}"', "1; k=2"),
    "racket": (f'"{_LONG}"', "1 #:k 2"),
    "lua": (f'"{_LONG}"',),
    "perl": (f'"{_LONG}"',),
    "php": (f'"{_LONG}"', "1, k: 2"),
    "scheme": (f'"{_LONG}"', "1 #:k 2"),
    "ruby": (f'"{_LONG}"', "1, k: 2"),
    "ocaml": (f'"{_LONG}"', "~k:2 1"),
    "r": (f'"{_LONG}"', "1, k=2"),
}


@pytest.mark.parametrize("name", ci_in(MISUSED, "julia", *BY_NAME))
def test_a_large_input_and_an_unknown_keyword_are_verdicts_with_a_reason(name):
    verdicts = of_identity(name, MISUSED[name])
    assert verdicts[0].status in (Status.OUTPUT_LIMIT, Status.MEMORY)
    assert verdicts[0].message.startswith("the input: the "), verdicts[0]
    assert all(verdict.status in (Status.RUNTIME_ERROR, Status.SYNTAX_ERROR) for verdict in verdicts[1:]), verdicts
    assert all(verdict.message and len(verdict.message) < 1000 for verdict in verdicts)


# The two reasons for which 5 of the 502 programs are refused: 99.0% are accepted.
REFUSALS = ("an input can't call f", "characters")


@pytest.mark.parametrize(
    ("file", "step"),
    [
        ("qwen2.5-coder-3b.triplets.jsonl", 4),
        ("qwen2.5-coder-14b.problems.jsonl", 16),
        pytest.param("qwen2.5-coder-3b.triplets.jsonl", 1, marks=pytest.mark.ci),
        pytest.param("qwen2.5-coder-14b.problems.jsonl", 1, marks=pytest.mark.ci),
    ],
)
def test_what_real_models_propose_is_accepted(file, step):
    if not (PROPOSALS / file).exists():
        pytest.skip(f"{file} is not beside this clone")
    rows = [json.loads(line) for line in (PROPOSALS / file).read_text().splitlines()]
    rows = [row for row in rows if row["outcome"] == "value"][::step]
    with Pool("python", workers=2, limits=LIMITS) as pool:
        jobs = [Job(str(n), JobKind.EVALUATE, row["program"], tuple(row["inputs"])) for n, row in enumerate(rows)]
        verdicts = pool.run_all(jobs)
    refused = [verdict.message for verdict in verdicts if not verdict.ok]
    assert [message for message in refused if not any(reason in message for reason in REFUSALS)] == []
    assert len(refused) <= 4
    sys.set_int_max_str_digits(0)
    differs = [
        (row["program"], mine, theirs)
        for row, verdict in zip(rows, verdicts, strict=True)
        for mine, theirs in zip(verdict.values, row["values"], strict=False)
        if mine != theirs and literal(mine) != literal(theirs)
    ]
    # Programs that keep state between the inputs: here each input meets the program anew.
    assert len({program for program, *_ in differs}) <= 1, differs[:3]


def literal(text):
    """The value of a text, with the constructors of the two notations as plain names."""
    names = {"inf": float("inf"), "nan": "nan", "set": set, "complex": complex, "float": lambda word: float(word)}
    return eval(compile(ast.parse(text, mode="eval"), "value", "eval"), names)  # noqa: S307 - values of the data set
