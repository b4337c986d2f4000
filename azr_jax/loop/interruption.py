"""Signals that end a run: after its step or, on a preemption notice, during work that can be repeated."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from azr_jax.hosts.hosts import Hosts


class Preempted(KeyboardInterrupt):
    """SIGTERM came during work that a resumed run repeats. A KeyboardInterrupt, because event loops pass it on."""


def nothing_to_save() -> None:
    """Until a run's `Signals` takes over, SIGTERM ends the process at once with 0 and a message: nothing is lost."""
    signal.signal(signal.SIGTERM, _end_at_once)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"stopped before the run began: there is nothing to save; the same command starts it\n")
    os._exit(0)  # as SIGTERM itself would: no clean-up


class Signals:
    """The first SIGINT or SIGTERM asks the run to save and end, the second ends the process; a context manager.

    SIGINT lets the step end. So does SIGTERM, except in an `interruptible` block: there it raises Preempted in the main
    thread. With `agreed`, on several hosts, it only sets `must_cut`: all of them have to stop at the same place. `say`
    shows a message.
    """

    def __init__(self, say: Callable[[str], None], agreed: bool = False) -> None:
        self.received = False
        self._may_cut = False
        self._terminated = False
        self._agreed = agreed
        self._say = say
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    @property
    def must_cut(self) -> bool:
        """Whether SIGTERM came and the work in progress may be abandoned."""
        return self._terminated and self._may_cut

    @contextlib.contextmanager
    def interruptible(self, hosts: Hosts, allowed: bool = True) -> Iterator[None]:
        """Work that SIGTERM may abandon, because a resumed run does it again; with `allowed` False a plain block.

        Raises:
          Preempted: SIGTERM came during the work, or a signal of either kind came to any host before it.
        """
        if not allowed:
            yield
            return
        self._may_cut = True  # before the check, so that no signal is missed
        try:
            if hosts.any("cut", self.received):
                raise Preempted
            yield
        finally:
            self._may_cut = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self._terminated = number == signal.SIGTERM
        self._restore()
        if self.must_cut:
            if not self._agreed:
                self._may_cut = False
                raise Preempted
            return
        # A signal during a write to the same stream must not end the run: Python refuses a nested write.
        with contextlib.suppress(RuntimeError, OSError):
            self._say("stopping after this step; once more to stop at once")

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            # None: a handler that Python did not set, such as that of JAX's distributed runtime.
            is_over = handler is None or handler is _end_at_once
            signal.signal(number, signal.SIG_DFL if is_over else handler)  # pyright: ignore[reportArgumentType]
        self._previous = {}
