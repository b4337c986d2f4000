"""Signals that end a run: after its step, or, on a preemption notice, in the middle of one that can be done again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType


class Preempted(KeyboardInterrupt):
    """SIGTERM came amid work that a resumed run does again; an event loop passes a KeyboardInterrupt on."""


def nothing_to_save() -> None:
    """From here until a run's `Signals` SIGTERM ends the process at once, with 0 and a message: nothing is lost."""
    signal.signal(signal.SIGTERM, _end_at_once)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"stopped before the run began: there is nothing to save; the same command starts it\n")
    os._exit(0)  # as SIGTERM itself would: whatever is being opened is not asked


class Signals:
    """The first SIGINT or SIGTERM asks the run to save and end, the second ends the process; a context manager.

    SIGINT lets the step end. So does SIGTERM, unless `may_cut` is set: then it raises Preempted where the main thread
    is. With `agreed`, on several hosts, it only sets `must_cut`: all of them have to stop at the same place. `say`
    shows a message.
    """

    def __init__(self, say: Callable[[str], None], agreed: bool = False) -> None:
        self.received = False
        self.may_cut = False
        self._terminated = False
        self._agreed = agreed
        self._say = say
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for each in (signal.SIGINT, signal.SIGTERM):
            self._previous[each] = signal.signal(each, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    @property
    def must_cut(self) -> bool:
        """Whether SIGTERM came and what the run does may be abandoned."""
        return self._terminated and self.may_cut

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self._terminated = number == signal.SIGTERM
        self._restore()
        if self.must_cut:
            if not self._agreed:
                self.may_cut = False
                raise Preempted
            return
        # A signal that comes amid a write to the same stream must not end the run: Python refuses a second one there.
        with contextlib.suppress(RuntimeError, OSError):
            self._say("stopping after this step; once more to stop at once")

    def _restore(self) -> None:
        for each, handler in self._previous.items():
            # None is a handler that was not set by Python: the distributed runtime of JAX has one.
            is_over = handler is None or handler is _end_at_once
            signal.signal(each, signal.SIG_DFL if is_over else handler)  # pyright: ignore[reportArgumentType]
        self._previous = {}
