"""MultiPL-E's own judgement of a whole program: how much of its output is read, and what its exit code means.

Source: nuprl/MultiPL-E, evaluation/src (containerized_eval.py, eval_*.py, safe_subprocess). Its way of reading outputs
is kept: all but JavaScript's are cut to 2048 bytes, and read 1 KiB each tenth of a second, so that a program that
prints more blocks until its time is up.
"""

from __future__ import annotations

import signal

from azr_jax.evaluation.languages.record import Outcome
from executors import Status, Verdict

_KEPT_BYTES = 2048
_PIPE_BYTES, _READ_BYTES, _READS_PER_S = 65536, 1024, 10
_DRAINED_BYTES = 1 << 24
# Without these every completion fails, whatever it does.
_MISSING = {
    "module 'luaunit' not found": "the tests need luaunit: luarocks install luaunit (Debian: apt install lua-unit)",
    "collection not found\n  for module path: rackunit": "the tests need rackunit: raco pkg install rackunit-lib",
    "Can't locate Test/Deep.pm": "the tests need Test::Deep: cpan Test::Deep (Debian: apt install libtest-deep-perl)",
    "cannot load such file -- test/unit": "the tests need test-unit: gem install test-unit (Debian: ruby-test-unit)",
}


def output_bytes(timeout_s: float, drained: bool) -> int:
    """Bytes that a program can print before it blocks until its time is up."""
    return _DRAINED_BYTES if drained else _PIPE_BYTES + int(timeout_s * _READS_PER_S * _READ_BYTES)


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
    """How to install a library that the tests need and this machine lacks; empty if nothing is missing."""
    return next((hint for mark, hint in _MISSING.items() if mark in outcome.stderr), "")
