"""Signals that end a run: after its step, or, on a preemption notice, in the middle of one that can be done again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


class Preempted(KeyboardInterrupt):
    """SIGTERM came amid work that a resumed run does again; an event loop passes a KeyboardInterrupt on."""


class Signals:
    """The first SIGINT or SIGTERM asks the run to save and end, the second ends the process; a context manager.

    SIGINT lets the step end. So does SIGTERM, unless `may_cut` is set: then it raises Preempted where the main thread
    is. `say` shows a message.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.received = False
        self.may_cut = False
        self._say = say
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for each in (signal.SIGINT, signal.SIGTERM):
            self._previous[each] = signal.signal(each, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self._restore()
        if number == signal.SIGTERM and self.may_cut:
            self.may_cut = False
            raise Preempted
        self._say("stopping after this step; once more to stop at once")

    def _restore(self) -> None:
        for each, handler in self._previous.items():
            signal.signal(each, handler)  # pyright: ignore[reportArgumentType]  # as signal.signal gave it
        self._previous = {}
