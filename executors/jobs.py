"""What goes into a pool and what comes out: `Job`, `Limits` and `Verdict`. Verdicts are data, never exceptions."""

from __future__ import annotations

import dataclasses
import enum


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

    `PROGRAM`: the source as a whole program, as a file given to the real interpreter (benchmarks).
    """

    EVALUATE = "evaluate"
    VALUE = "value"
    PROGRAM = "program"


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one job. Times in seconds, memory in MiB; `value_chars` bounds one canonical value's characters."""

    wall_s: float = 5.0
    cpu_s: float = 5.0
    memory_mib: int = 512
    value_chars: int = 4096
    message_chars: int = 500
    output_bytes: int = 65536
    processes: int = 32
    file_mib: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    `expect`, when given, has one value text for each input: it is made canonical in a clean process, compared on the
    host, and never enters the process that runs `source`. `inputs` must be values of the language (literals and
    constructor calls); anything else is `forbidden`. `determinism` runs the job in two processes with different hash
    seeds and answers `nondeterministic` when the values differ.
    """

    id: str
    kind: JobKind
    source: str = ""
    inputs: tuple[str, ...] = ()
    expect: tuple[str, ...] | None = None
    determinism: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a job. `values` has one canonical text an input when `status` is ok.

    `correct` is None without `expect`. `seconds` is wall time in the process, `memory_mib` its peak.
    `stdout`, `stderr` and `exit_code` are of PROGRAM jobs.
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

    @property
    def ok(self) -> bool:
        """Whether every input gave a value."""
        return self.status is Status.OK
