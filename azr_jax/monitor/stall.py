"""Ends a run that makes no progress: with an error if it can still save, with a traceback if it cannot."""

from __future__ import annotations

import faulthandler


class StalledError(RuntimeError):
    """Nothing was sampled, executed or written for `monitoring.stall_s`; the message says what the run waits for."""


def alive(stall_s: float) -> None:
    """Call it whenever the run makes progress. The process ends with 1 after twice `stall_s` without a call; 0: never.

    By then the main thread is stuck in a call that raises nothing (a device, a disk, another host): the tracebacks of
    all threads go to standard error, and the newest save stays.
    """
    if stall_s:
        faulthandler.dump_traceback_later(2 * stall_s, exit=True, file=2)


def ended() -> None:
    """Call it when the run has ended; the process may continue."""
    faulthandler.cancel_dump_traceback_later()
