"""McEval's tests judged soundly. They are free text of the language, which calls one function by its name.

The problem's published solution runs the tests once, in a contained process, and the arguments of their calls are kept
as data. A completion makes these calls in a process that has neither the tests nor the solution. Then the tests run in
a clean process, beside the solution, where a call of that function gives what the completion gave. Tests are of a known
form if the solution passes in this way, so those that look at what a call prints or changes are not.

In a language without values (Fortran) the comparisons with literals are left out of the tests, and a completion has to
print the values that the solution prints there.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Callable, Sequence

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Tests, filled
from azr_jax.evaluation.problems.records import Problem
from executors import JobKind, Status, Verdict

Run = Callable[[JobKind, str, Sequence[str]], Verdict]


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """The calls that a problem's tests make, and the source that runs the tests with the values of these calls."""

    tests: Tests
    replay: str


@dataclasses.dataclass(frozen=True, slots=True)
class Printed:
    """What the published solution prints for each comparison of the tests."""

    values: tuple[str, ...]


def text_of(rules: BenchmarkLanguage, tests: str) -> str:
    """The tests so that they can fail, with calls of test functions that are never called, as McEval's Lua/1 has."""
    calls = ""
    for name in re.findall(rules.test_function, tests, re.MULTILINE) if rules.test_function else ():
        if len(re.findall(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", tests)) == 1:
            calls += "\n" + filled(rules.call_test, name=name)
    return f"{rules.before_tests}{tests}{calls}\n{rules.after_tests}"


def solution_of(problem: Problem) -> str:
    """The program of the published solution; empty if the problem has none."""
    solution = problem.record.get("canonical_solution")
    return problem.prompt + solution if isinstance(solution, str) else ""


def record(run: Run, rules: BenchmarkLanguage, problem: Problem) -> Recorded | Printed | Verdict:
    """The calls of a problem's tests, or a verdict that says why there are none.

    A verdict is of the run that failed, or OK if the tests made no call of the function that is tested.
    """
    name, program = problem.record.get("entry_point"), solution_of(problem)
    if rules.printed is not None and program:
        ran, values = printed(run, rules, problem, program)
        return Printed(values) if values else ran
    # The sources define an f themselves.
    if rules.replay is None or not program or not isinstance(name, str) or name == "f":
        return Verdict(problem.name, Status.OK)
    text = text_of(rules, problem.tests)
    source = rules.replay.source(program, name, text, 0)
    counted = run(JobKind.EVALUATE, source, ["-1"])
    count = int(counted.values[0].removesuffix("L")) if counted.ok else 0
    if not count:
        return counted
    given = run(JobKind.EVALUATE, source, [str(number) for number in range(count)])
    if not given.ok:
        return given
    calls = tuple(filled(rules.replay.call, arguments=arguments) for arguments in given.values)
    return Recorded(Tests(name, calls, ("",) * count), rules.replay.source(program, name, text, count))


def printed(run: Run, rules: BenchmarkLanguage, problem: Problem, program: str) -> tuple[Verdict, tuple[str, ...]]:
    """The run of a program with the comparisons left out, and the value of each; none if the form is not known."""
    mark = f"azr-{secrets.token_hex(8)}"
    source = rules.printed(program, problem.tests, mark) if rules.printed else None
    if source is None:
        return Verdict(problem.name, Status.OK), ()
    ran = run(JobKind.PROGRAM, source, ())
    values = tuple(line.partition(mark)[2].strip() for line in ran.stdout.split("\n") if mark in line)
    # The last one is of the end of the program.
    return ran, values[:-1] if values[-1:] == ("",) else ()
