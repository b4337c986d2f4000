"""The input and output of a pool: `Job`, `Limits` and `Verdict`. Verdicts are data, never exceptions."""

from __future__ import annotations

import dataclasses
import enum
import math

COMPARISONS = ("trimmed", "exact", "numbers", "decimals")


class Status(enum.StrEnum):
    """How a program ended. `INFRASTRUCTURE` is the pool's own fault and never the program's."""

    OK = "ok"
    SYNTAX_ERROR = "syntax_error"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    FORBIDDEN = "forbidden"
    UNSERIALISABLE = "unserialisable"
    NONDETERMINISTIC = "nondeterministic"
    EXIT = "exit"
    CRASH = "crash"
    INFRASTRUCTURE = "infrastructure"


class JobKind(enum.StrEnum):
    """`EVALUATE`: canonical f(input) of each input. `VALUE`: canonical text of each input, no program.

    An input of EVALUATE is the arguments of a call of f, without the parentheses; they may be expressions. An input of
    VALUE is one literal.

    `PROGRAM`: the source as a whole program, as a file given to the real interpreter (benchmarks).
    """

    EVALUATE = "evaluate"
    VALUE = "value"
    PROGRAM = "program"


# Of a program, in seconds. A wait of poll(2) is shorter than 2**31 milliseconds.
_LONGEST_S = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one job. Times in seconds, memory in MiB; `value_chars` bounds one canonical value's characters.

    `processes` bounds a program's threads, if the machine has a pids cgroup. `file_mib` is the largest file that a
    whole program can write into its private folder. Raises ValueError for an impossible limit.
    """

    wall_s: float = 5.0
    cpu_s: float = 5.0
    memory_mib: int = 512
    value_chars: int = 8192
    message_chars: int = 500
    output_bytes: int = 65536
    processes: int = 32
    file_mib: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise ValueError(f"the limit {field.name} is {value}: use a number above 0")
            if field.name in ("wall_s", "cpu_s") and value > _LONGEST_S:
                raise ValueError(f"the limit {field.name} is {value}: use at most {_LONGEST_S}")

    def reached(self, status: Status, seconds: float, output: str) -> str:
        """Names the limit behind `status` after `seconds`, or ""; `output`: what the output limit counts."""
        match status:
            case Status.TIMEOUT if seconds >= self.wall_s:
                return f"the wall-clock limit of {self.wall_s:g} s is reached"
            case Status.TIMEOUT:
                return f"the CPU limit of {self.cpu_s:g} s is reached"
            case Status.MEMORY:
                return f"the memory limit of {self.memory_mib} MiB is reached"
            case Status.OUTPUT_LIMIT:
                return f"the output limit is reached: {output}"
        return ""


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    `expect`, if given, has one value text for each input: it is made canonical in a clean process, compared on the
    host, and never enters the process that runs `source`. One that can't be read is the caller's mistake: the verdict
    is `infrastructure`, never a wrong answer. The inputs of EVALUATE are evaluated in separate processes, without the
    program; those of VALUE must be literals or constructor calls. Anything else is `forbidden`. For each input of
    EVALUATE the program runs in a fresh process, or with `together` in one process for all, in order, as a benchmark's
    tests do; with `expect` the first wrong value ends the job. `determinism` evaluates inputs and program in two
    processes with different hash seeds, dates and time zones and answers `nondeterministic` if the values differ. A
    PROGRAM has neither inputs nor expect.

    A PROGRAM may have tests: it runs once for each text of `stdin`, in a fresh process with the job's whole limits, and
    `expect_stdout` has what it must print (for none, it is run once with an empty standard input); it may print that
    much more than the output limit. `compare` says how: "trimmed" leaves out white space at the ends of lines and empty
    lines at the end, "exact" nothing; "numbers" compares words: whole numbers by their value, other numbers within 1e-6
    of each other (absolute, or relative to the expected one); "decimals" compares lines, without white space at their
    ends, and those that differ by the exact values of their words, as LiveCodeBench does. Tests end at the first that
    fails, unless `all_tests`, and when they have taken more than `total_s` seconds together: the status is `timeout`.
    `limits` of a PROGRAM are those of each of its runs, instead of the pool's.
    Raises ValueError if the fields do not fit each other.
    """

    id: str
    kind: JobKind
    source: str = ""
    inputs: tuple[str, ...] = ()
    expect: tuple[str, ...] | None = None
    determinism: bool = False
    together: bool = False
    stdin: tuple[str, ...] = ()
    expect_stdout: tuple[str, ...] | None = None
    compare: str = "trimmed"
    all_tests: bool = False
    limits: Limits | None = None
    total_s: float = math.inf

    def __post_init__(self) -> None:
        self._check_tests()
        if self.kind is JobKind.PROGRAM:
            if self.inputs or self.expect is not None:
                raise ValueError(f"job {self.id!r} is a whole program: leave out its inputs and expect")
        elif not self.inputs:
            raise ValueError(f"job {self.id!r} has no input: give one for each call of f")
        elif self.expect is not None and len(self.expect) != len(self.inputs):
            raise ValueError(
                f"job {self.id!r} has {len(self.expect)} expect for {len(self.inputs)} inputs: give as many"
            )

    def _check_tests(self) -> None:
        has_tests = bool(self.stdin) or self.expect_stdout is not None
        if has_tests and self.kind is not JobKind.PROGRAM:
            raise ValueError(f"job {self.id!r} has stdin or expect_stdout: they are for whole programs, kind program")
        if self.expect_stdout is not None and len(self.expect_stdout) != len(self.stdin):
            raise ValueError(
                f"job {self.id!r} has {len(self.expect_stdout)} expect_stdout for {len(self.stdin)} stdin: give as many"
            )
        if self.expect_stdout is not None and not self.stdin:
            raise ValueError(f"job {self.id!r} has no test: give a text of stdin for each")
        if self.kind is not JobKind.PROGRAM and self.limits is not None:
            raise ValueError(f"job {self.id!r} has limits of its own: they are for whole programs, kind program")
        if self.compare not in COMPARISONS:
            raise ValueError(f"job {self.id!r}: compare is {self.compare!r}: use one of {', '.join(COMPARISONS)}")


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a job. `values` has one canonical text per input if `status` is ok.

    With `correct` False they end with the first wrong one. `inputs` has the canonical text of each input of an EVALUATE
    job whose inputs are arguments: literals, in the form that the language reads back. `seconds` of several inputs is
    their sum.
    `correct` is None without `expect`. `seconds` is wall time in the process, `memory_mib` its peak resident memory
    (of a warm process with the pages it shares with its server).
    `stdout`, `stderr` and `exit_code` are of PROGRAM jobs; with tests they and `status` are those of the first that
    failed, or of the last; `correct` is whether all passed, `passed` has each test that was run, `seconds` is of all.
    """

    id: str
    status: Status
    values: tuple[str, ...] = ()
    correct: bool | None = None
    error_kind: str = ""
    message: str = ""
    seconds: float = 0.0
    memory_mib: float = 0.0
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    passed: tuple[bool, ...] = ()
    inputs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every input gave a value."""
        return self.status is Status.OK

    @property
    def reason(self) -> str:
        """Why a program gave no value, for a reader: the message, and what kind of error or value it is about."""
        kind, message = self.error_kind, self.message
        is_named = not kind or kind in message or kind.lower() == self.status
        if is_named or self.status not in (Status.RUNTIME_ERROR, Status.UNSERIALISABLE):
            return message
        return f"{kind}: {message}" if message else kind
