"""`python -m azr_jax.main`, noting when each kind of work begins and ends; told to, it signals itself amid one of them.

KILLED_RUN_NOTES is the file of the notes, a line each: `+KIND TIME`, `-KIND TIME`, `SIGNAL TIME KIND,KIND`.
KILLED_RUN_AT is `KIND NUMBER DELAY_S SIGNAL`: so long after the NUMBER-th time that this kind of work began SIGKILL
comes to the whole process group, or another signal to the process. What runs is otherwise the command itself.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import signal
import sys
import threading
import time

from absl import app

from azr_jax import main
from azr_jax.checkpoint.saves import Manager
from azr_jax.loop import learning, stages
from azr_jax.loop.play import Player
from azr_jax.run import ending, scoring

KINDS = ("seeding", "propose", "estimate", "solve", "update", "save", "evaluation")


class Notes:
    """What goes on; several of a kind may at once, which begins with the first and ends with the last of them."""

    def __init__(self) -> None:
        self._file = os.open(os.environ["KILLED_RUN_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        kind, number, delay_s, name = os.environ.get("KILLED_RUN_AT", "none 0 0 SIGKILL").split()
        self._signal = signal.Signals[name]
        self._kind, self._number, self._delay_s = kind, int(number), float(delay_s)
        self._active: collections.Counter[str] = collections.Counter()
        self._begun: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def begin(self, kind: str) -> None:
        with self._lock:
            self._active[kind] += 1
            if self._active[kind] > 1:
                return
            self._write(f"+{kind} {time.monotonic()}")
            self._begun[kind] += 1
            due = (kind, self._begun[kind]) == (self._kind, self._number)
        if due and self._delay_s:
            threading.Timer(self._delay_s, self._send).start()
        elif due:
            self._send()

    def end(self, kind: str) -> None:
        with self._lock:
            self._active[kind] -= 1
            if not self._active[kind]:
                self._write(f"-{kind} {time.monotonic()}")

    @contextlib.contextmanager
    def during(self, kind: str):
        self.begin(kind)
        try:
            yield
        finally:
            self.end(kind)

    def is_on(self, kind: str) -> bool:
        return self._active[kind] > 0

    def _send(self) -> None:
        with self._lock:
            active = ",".join(kind for kind in KINDS if self._active[kind])
            self._write(f"{self._signal.name} {time.monotonic()} {active}")
            if self._signal is signal.SIGKILL:
                os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), self._signal)

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode() + b"\n")


def noted(notes: Notes, kind: str, function):
    @functools.wraps(function)
    def call(*arguments, **options):
        with notes.during(kind):
            return function(*arguments, **options)

    return call


def watch(notes: Notes) -> None:
    """Has every kind of work noted."""
    propose, solve, save, written = Player.propose, Player.solve, Manager.save, Manager._note_written

    async def noted_propose(self, task, *arguments, **options):
        if notes.is_on("seeding"):
            return await propose(self, task, *arguments, **options)
        with notes.during("propose"):
            return await propose(self, task, *arguments, **options)

    async def noted_solve(self, task, *arguments, **options):
        if notes.is_on("evaluation"):
            return await solve(self, task, *arguments, **options)
        with notes.during("estimate" if task.id.endswith("/estimate") else "solve"):
            return await solve(self, task, *arguments, **options)

    def noted_save(self, step, *arguments, **options):
        if step not in self.steps():
            notes.begin("save")  # until all is written, beside the steps that follow
        save(self, step, *arguments, **options)

    def noted_written(self):
        notes.end("save")
        written(self)

    Player.propose, Player.solve = noted_propose, noted_solve
    Manager.save, Manager._note_written = noted_save, noted_written
    stages.seeding_round = noted(notes, "seeding", stages.seeding_round)
    learning.learn = noted(notes, "update", learning.learn)
    scoring.heldout_counts = ending.heldout_counts = noted(notes, "evaluation", scoring.heldout_counts)


if __name__ == "__main__":
    watch(Notes())
    sys.argv[0] = main.__file__
    app.run(main.main, flags_parser=main._parse_flags)
