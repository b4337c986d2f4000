"""HumanEval+ and MBPP+: EvalPlus' inputs, reference outputs, time limits and float tolerance, judged soundly.

Source: evalplus v0.3.1 (evaluate.py, eval/__init__.py, eval/_special_oracle.py). Deviations: outputs leave the
completion's process as data and are compared in a clean one, very long ones by a digest (their floats by nine digits);
the limit of each call is checked from outside, where the completion can't stop the clock; a subclass of a built-in type
counts as that type, and a result of another type fails; completions have no numpy.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

from azr_jax.evaluation.judging.evalplus_programs import COLLECT, COMPARE
from azr_jax.evaluation.judging.once import Once
from azr_jax.evaluation.problems.evalplus_inputs import arguments_of
from azr_jax.evaluation.problems.records import EvalPlusProblem
from executors import JobKind, Status, Verdict

# Longer than any call of a reference solution: only the pool's limits apply to it.
_REFERENCE_LIMIT_S = 180.0
# Longer outputs are compared by a digest: the reference has some of several million characters.
_MOST_OUTPUT_SIZE = 100_000
_MIN_TIME_LIMIT_S, _TIME_LIMIT_FACTOR = 1.0, 4.0
# Time of a process besides its calls: its start, and reading the inputs, up to some megabytes.
_START_S = 0.5
_PARTS = 8
# A busy machine stretches a call, but not more than this.
_STRETCH = 3.0

Run = Callable[[JobKind, str, Sequence[str]], Verdict]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """`status` is OK, Exception, SyntaxError or Timeout; `base` and `plus` are EvalPlus' pass, fail, timeout.

    `over_time`: one call took longer than its own limit.
    """

    status: str
    base: str
    plus: str
    message: str
    seconds: float
    infrastructure: bool = False
    over_time: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """The reference solution's outputs for base and plus inputs as canonical text, and the seconds of each call.

    `arguments`: the argument lists of these inputs as Python values.
    """

    arguments: Sequence[Any]
    outputs: str
    seconds: tuple[float, ...]


_NOT_NONE = ("check_str", "text_match_three", "text_starta_endb")


def _collect(
    problem: EvalPlusProblem, program: str, arguments: Sequence[Any], limits: Sequence[float], begin: int, end: int
) -> str:
    """The program that makes the calls from `begin` to `end`."""
    fields = {
        "TEXT": program,
        "ENTRY": problem.entry_point,
        "NOT_NONE": problem.entry_point in _NOT_NONE,
        "LIMITS": list(limits[begin:end]),
        "MOST_SIZE": _MOST_OUTPUT_SIZE,
    }
    return COLLECT + "".join(f"{name} = {value!r}\n" for name, value in fields.items()) + _inputs(arguments[begin:end])


def _compare(problem: EvalPlusProblem, arguments: Sequence[Any]) -> str:
    fields = {"ATOL": problem.atol, "ENTRY": problem.entry_point, "MBPP": problem.name.startswith("Mbpp/")}
    settings = "".join(f"{name} = {value!r}\n" for name, value in fields.items())
    return f"{COMPARE}{settings}{_inputs(arguments)}"


def _inputs(arguments: Sequence[Any]) -> str:
    return f"INPUTS = {list(arguments)!r}\n"


def _reference(run: Run, problem: EvalPlusProblem) -> Expected | Verdict:
    arguments = arguments_of(problem.name, [*problem.base_input, *problem.plus_input])
    count = len(arguments)
    program = problem.prompt + problem.canonical_solution
    source = _collect(problem, program, arguments, [_REFERENCE_LIMIT_S] * count, 0, count)
    verdict = run(JobKind.EVALUATE, source, [str(count), "-1"])
    if verdict.status is not Status.OK:
        return verdict
    outputs, seconds = verdict.values
    return Expected(arguments, outputs, tuple(json.loads(seconds)))


def judge(run: Run, cache: Once[Expected | Verdict], problem: EvalPlusProblem, program: str) -> Result:
    """EvalPlus' verdict on a program: base inputs, then plus inputs."""
    # After a failure of the sandbox the next try may succeed.
    expected = cache.get(
        problem.name,
        lambda: _reference(run, problem),
        keep=lambda value: isinstance(value, Expected) or value.status is not Status.INFRASTRUCTURE,
    )
    if isinstance(expected, Verdict):
        return Result("Exception", "", "", f"the reference solution: {expected.status} {expected.message}", 0.0, True)
    arguments = expected.arguments
    base, count = len(problem.base_input), len(arguments)
    limits = [max(_MIN_TIME_LIMIT_S, _TIME_LIMIT_FACTOR * seconds) for seconds in expected.seconds]

    def half(inputs: int) -> Result:
        """The verdict on the first `inputs`."""
        ran = _outputs(
            run, lambda begin, end: _collect(problem, program, arguments, limits, begin, end), limits, 0, inputs
        )
        # The reference's outputs are the comparison's first input, not its source: Python compiles no long integers.
        return _compared(run, _compare(problem, arguments), expected.outputs, ran)

    both = half(count)
    if both.over_time:
        # The limits are wall time, which other programs may have used on a busy machine.
        both = half(count)
    if both.status == "OK" or both.infrastructure:
        return both
    first = half(base)
    return dataclasses.replace(
        both, base=first.base, seconds=both.seconds + first.seconds, infrastructure=first.infrastructure
    )


def _outputs(run: Run, source: Callable[[int, int], str], limits: Sequence[float], begin: int, end: int) -> Verdict:
    """The verdict on the calls from `begin` to `end`, its value the list of their outputs.

    The timer in the program's process ends honest programs, but a program can stop it. A process that took no longer
    than the shortest limit of its calls kept all limits. The calls of a longer one are repeated in several processes,
    until each keeps its limits or makes one call.
    """
    ran = run(JobKind.EVALUATE, source(begin, end), [str(end - begin)])
    if ran.status is not Status.OK or begin == end or ran.seconds <= min(limits[begin:end]) + _START_S:
        return ran
    if end - begin == 1:
        over_time = "OverTime" if ran.seconds <= _STRETCH * limits[begin] + _START_S else ""
        return dataclasses.replace(ran, status=Status.TIMEOUT, error_kind=over_time, values=())
    step = -(-(end - begin) // _PARTS)
    texts, seconds = [], ran.seconds
    for part in range(begin, end, step):
        ran = _outputs(run, source, limits, part, min(part + step, end))
        seconds += ran.seconds
        if ran.status is not Status.OK:
            return dataclasses.replace(ran, seconds=seconds)
        texts.append(ran.values[0].removeprefix("[").removesuffix("]"))
    return dataclasses.replace(ran, values=(f"[{', '.join(texts)}]", *ran.values[1:]), seconds=seconds)


def _compared(run: Run, compare: str, expected: str, ran: Verdict) -> Result:
    """The result of a verdict on calls: its outputs compared with the expected ones."""
    if ran.status is Status.OK:
        compared = run(JobKind.EVALUATE, compare, [expected, ran.values[0]])
        seconds = ran.seconds + compared.seconds
        if compared.status is Status.OK and compared.values[1] == "-1":
            return Result("OK", "pass", "pass", "", seconds)
        message = f"input {compared.values[1]}: wrong output" if compared.values else f"{compared.status}: comparing"
        broken = compared.status is Status.INFRASTRUCTURE
        return Result("Exception", "fail", "fail", message, seconds, broken)
    message = f"{ran.status}: {ran.error_kind} {ran.message}"
    if ran.status is Status.TIMEOUT or ran.error_kind == "OverTime":
        over_time = ran.error_kind == "OverTime"
        return Result("Timeout", "timeout", "timeout", message, ran.seconds, over_time=over_time)
    word = "SyntaxError" if ran.error_kind in ("SyntaxError", "IndentationError", "TabError") else "Exception"
    return Result(word, "fail", "fail", message, ran.seconds, ran.status is Status.INFRASTRUCTURE)
