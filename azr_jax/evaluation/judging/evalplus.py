"""HumanEval+ and MBPP+: EvalPlus' inputs, reference outputs, time limits and float tolerance, judged soundly.

Source: evalplus v0.3.1 (evaluate.py, eval/__init__.py, eval/_special_oracle.py). Deviations: outputs leave the
completion's process as data and are compared in a clean one, very long ones by a digest (their floats by nine digits);
subclasses of built-in types are taken for what they subclass, and a result that is no built-in type at all fails; numpy
is not there for completions.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Sequence

from azr_jax.evaluation.judging.evalplus_programs import COLLECT, COMPARE
from azr_jax.evaluation.problems.evalplus_inputs import arguments_of
from azr_jax.evaluation.problems.records import EvalPlusProblem
from executors import JobKind, Status, Verdict

# More than any call of a reference solution takes: only the pool's limits hold for it.
_REFERENCE_LIMIT_S = 180.0
# Longer outputs are compared by a digest: the reference has some of several million characters.
_MOST_OUTPUT_SIZE = 100_000
_MIN_TIME_LIMIT_S, _TIME_LIMIT_FACTOR = 1.0, 4.0

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
    """What the reference solution gives for base and plus inputs: canonical text, and the seconds of each call."""

    outputs: str
    seconds: tuple[float, ...]


class ExpectedCache:
    """Reference outputs by problem; each is computed once, in the sandbox, unless that itself fails. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, Expected | Verdict] = {}

    def get(self, run: Run, problem: EvalPlusProblem) -> Expected | Verdict:
        """The reference's outputs, or the verdict when it does not run."""
        with self._lock:
            lock = self._locks.setdefault(problem.name, threading.Lock())
        with lock:
            if problem.name not in self._known:
                found = _reference(run, problem)
                if isinstance(found, Verdict) and found.status is Status.INFRASTRUCTURE:
                    return found  # says nothing of the next try
                self._known[problem.name] = found
            return self._known[problem.name]


_NOT_NONE = ("check_str", "text_match_three", "text_starta_endb")


def _collect(problem: EvalPlusProblem, program: str, limits: Sequence[float]) -> str:
    fields = {
        "TEXT": program,
        "ENTRY": problem.entry_point,
        "NOT_NONE": problem.entry_point in _NOT_NONE,
        "LIMITS": list(limits),
        "MOST_SIZE": _MOST_OUTPUT_SIZE,
    }
    return COLLECT + "".join(f"{name} = {value!r}\n" for name, value in fields.items()) + _inputs(problem)


def _compare(problem: EvalPlusProblem) -> str:
    fields = {"ATOL": problem.atol, "ENTRY": problem.entry_point, "MBPP": problem.name.startswith("Mbpp/")}
    settings = "".join(f"{name} = {value!r}\n" for name, value in fields.items())
    return f"{COMPARE}{settings}{_inputs(problem)}"


def _inputs(problem: EvalPlusProblem) -> str:
    return f"INPUTS = {arguments_of(problem.name, [*problem.base_input, *problem.plus_input])!r}\n"


def _reference(run: Run, problem: EvalPlusProblem) -> Expected | Verdict:
    count = len(problem.base_input) + len(problem.plus_input)
    program = problem.prompt + problem.canonical_solution
    source = _collect(problem, program, [_REFERENCE_LIMIT_S] * count)
    verdict = run(JobKind.EVALUATE, source, [str(count), "-1"])
    if verdict.status is not Status.OK:
        return verdict
    outputs, seconds = verdict.values
    return Expected(outputs, tuple(json.loads(seconds)))


def judge(run: Run, cache: ExpectedCache, problem: EvalPlusProblem, program: str) -> Result:
    """EvalPlus' verdict on a program: base inputs, then plus inputs."""
    expected = cache.get(run, problem)
    if isinstance(expected, Verdict):
        return Result("Exception", "", "", f"the reference solution: {expected.status} {expected.message}", 0.0, True)
    base, count = len(problem.base_input), len(problem.base_input) + len(problem.plus_input)
    limits = [max(_MIN_TIME_LIMIT_S, _TIME_LIMIT_FACTOR * seconds) for seconds in expected.seconds]
    # The reference's outputs are the comparison's first input, not its source: Python refuses to compile long integers.
    outputs = expected.outputs
    collect, compare = _collect(problem, program, limits), _compare(problem)
    both = _half(run, collect, compare, outputs, count)
    if both.over_time:
        # The limits are of the wall clock, and a busy machine may have meant another program.
        both = _half(run, collect, compare, outputs, count)
    if both.status == "OK" or both.infrastructure:
        return both
    half = _half(run, collect, compare, outputs, base)
    return dataclasses.replace(
        both, base=half.base, seconds=both.seconds + half.seconds, infrastructure=half.infrastructure
    )


def _half(run: Run, collect: str, compare: str, expected: str, count: int) -> Result:
    """The first `count` inputs."""
    ran = run(JobKind.EVALUATE, collect, [str(count)])
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
