"""MultiPL-E's own judgement: which command, how long, and which word for what came out of it.

Source: nuprl/MultiPL-E, evaluation/src (containerized_eval.py, eval_*.py, safe_subprocess). Its reading of outputs is
kept: all but JavaScript's are cut to 2048 bytes, and read 1 KiB each tenth of a second, so that a program that prints
more than that blocks until its time is up.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable

from executors import Status, Verdict

_KEPT_BYTES = 2048
_PIPE_BYTES, _READ_BYTES, _READS_PER_S = 65536, 1024, 10


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What MultiPL-E sees of a run: exit code -1 for a time-out, negative for a signal."""

    timeout: bool
    exit_code: int
    stdout: str
    stderr: str


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """MultiPL-E's judgement of one language.

    word: OK, Exception, SyntaxError or Timeout; for JavaScript AssertionError and ReferenceError too. drained: its
    outputs are read as fast as they come.
    """

    language: str
    timeout_s: float
    word: Callable[[Outcome], str]
    drained: bool = False

    def output_bytes(self) -> int:
        """How much a program can print without being blocked until its time is up."""
        return 1 << 24 if self.drained else _PIPE_BYTES + int(self.timeout_s * _READS_PER_S * _READ_BYTES)


def _racket(outcome: Outcome) -> str:
    # rackunit exits 0 even if tests fail.
    if not outcome.stderr and outcome.exit_code == 0:
        return "OK"
    return "SyntaxError" if "read-syntax" in outcome.stderr else "Exception"


def _julia(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    if outcome.exit_code == 0:
        return "OK"
    return "SyntaxError" if outcome.stderr else "Exception"


def _javascript(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    if outcome.exit_code == 0:
        return "OK"
    text = outcome.stdout + outcome.stderr
    marks = {"ERR_ASSERTION": "AssertionError", "SyntaxError": "SyntaxError", "ReferenceError": "ReferenceError"}
    return next((word for mark, word in marks.items() if mark in text), "Exception")


def _by_exit_code(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    return "OK" if outcome.exit_code == 0 else "Exception"


def _ocaml(outcome: Outcome) -> str:
    if outcome.timeout or outcome.exit_code == 0:
        return _by_exit_code(outcome)
    marks = {"Assert_failure": "AssertionError", "Syntax error": "SyntaxError"}
    return next((word for mark, word in marks.items() if mark in outcome.stderr), "Exception")


def _perl(outcome: Outcome) -> str:
    if outcome.timeout:
        return "Timeout"
    wrong = outcome.exit_code != 0 or "ERROR" in outcome.stdout or "ERROR" in outcome.stderr
    return "Exception" if wrong else "OK"


def _php(outcome: Outcome) -> str:
    if "PHP Parse error" in outcome.stdout:
        return "SyntaxError"
    return "OK" if outcome.exit_code == 0 else "Exception"


# Without these every completion fails, whatever it does.
_MISSING = {
    "module 'luaunit' not found": "the tests need luaunit: luarocks install luaunit (Debian: apt install lua-unit)",
    "collection not found\n  for module path: rackunit": "the tests need rackunit: raco pkg install rackunit-lib",
    "Can't locate Test/Deep.pm": "the tests need Test::Deep: cpan Test::Deep (Debian: apt install libtest-deep-perl)",
    "cannot load such file -- test/unit": "the tests need test-unit: gem install test-unit (Debian: ruby-test-unit)",
}
POLICIES = {
    "rkt": Policy("racket", 15.0, _racket),
    "jl": Policy("julia", 5.0, _julia),
    "js": Policy("javascript", 5.0, _javascript, drained=True),
    "lua": Policy("lua", 15.0, _by_exit_code),
    "r": Policy("r", 15.0, _by_exit_code),
    "ml": Policy("ocaml", 15.0, _ocaml),
    "php": Policy("php", 15.0, _php),
    "pl": Policy("perl", 15.0, _perl),
    "rb": Policy("ruby", 15.0, _by_exit_code),
    "py": Policy("python", 15.0, _by_exit_code),
}


def outcome_of(verdict: Verdict, drained: bool) -> Outcome:
    """A whole program's verdict as MultiPL-E would see that run."""
    blocked = verdict.status in (Status.TIMEOUT, Status.OUTPUT_LIMIT)
    code = verdict.exit_code if verdict.exit_code is not None else -1
    kept = None if drained else _KEPT_BYTES
    return Outcome(
        blocked,
        -1 if blocked else subprocess_code(code),
        _cut(verdict.stdout, kept),
        _cut(verdict.stderr, kept),
    )


def subprocess_code(code: int) -> int:
    """A shell's exit code as Python's subprocess has it: negative for a signal."""
    return 128 - code if code - 128 in signal.valid_signals() else code


def _cut(text: str, most: int | None) -> str:
    return text if most is None else text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def missing_library(outcome: Outcome) -> str:
    """How to install what the tests themselves need and this machine lacks; empty when it is there."""
    return next((hint for mark, hint in _MISSING.items() if mark in outcome.stderr), "")
