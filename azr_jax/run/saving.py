"""Writes records and saves during a run, and tries again if the disk refuses them."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from azr_jax.checkpoint import Manager
from azr_jax.hosts.hosts import HostLostError, Hosts
from azr_jax.learner.state import TrainState
from azr_jax.loop.record import StepRecord
from azr_jax.workdir.files import WANDB_FILE
from azr_jax.workdir.metrics import METRICS_FILE, TENSORBOARD, TRANSCRIPTS_FILE, Writers
from azr_jax.workdir.mirror import Mirror


class Saving:
    """Writes records and saves in an order that a resumed run can rely on.

    A record that can't be written is kept in memory, a save that fails is tried again after each step; each failure is
    logged as an error. `say` shows a message; `best_metric` scores a save, unless it is "".
    The first of several `hosts` writes the records; all of them save, and what fails on one has failed on all.
    """

    def __init__(
        self,
        saves: Manager,
        writers: Writers,
        mirror: Mirror,
        say: Callable[[str], None],
        best_metric: str,
        hosts: Hosts | None = None,
    ) -> None:
        self._saves, self._writers, self._mirror = saves, writers, mirror
        self._say, self._best_metric = say, best_metric
        self._hosts = hosts or Hosts()
        self._warned_absent = not best_metric
        self._unwritten: list[StepRecord] = []
        self._metrics_written = False  # of _unwritten[0], whose transcripts are not
        self._failing_since: float | None = None
        self._step = 0
        # How long the last save took to write, most of it during training.
        self.write_seconds = 0.0

    @property
    def is_failing(self) -> bool:
        """Whether the last save failed: the next step has to be saved too."""
        return self._failing_since is not None

    def write(self, record: StepRecord) -> None:
        """Writes a step's metrics and transcripts to their files, now or as soon as possible."""
        if not self._hosts.is_first:
            return
        self._unwritten.append(record)
        try:
            self._write_pending()
            self._mirror.push((METRICS_FILE,))
        except OSError as error:
            logging.error("the metrics of %d steps are kept in memory: %s", len(self._unwritten), error)

    def save(
        self, step: int, state: TrainState, host: Mapping[str, Any], values: Mapping[str, float], must_succeed: bool
    ) -> None:
        """Starts one atomic save of `state` and `host`, which are copied; `values` are the step's metrics.

        `check` or the next save says whether it succeeded; with `must_succeed` this waits. Seeding changes `host`
        alone: the save of step 0 is overwritten after each signal. Otherwise a signal during seeding would lose every
        round after the first save.

        Raises:
          RuntimeError, OSError: it failed and `must_succeed`; earlier saves stay.
        """
        self.check(wait=True)
        try:
            # First, since a save whose metrics are not on disk would lose them for good.
            self._hosts.together("records", self._write_records)
            score = self._score(step, values)
            if step == 0:
                self._hosts.together("seeds", lambda: self._saves.renew(step, host))
            self._hosts.together("save", lambda: self._saves.save(step, state, host, score))
            self._step = step
            if must_succeed:
                self._hosts.together("saved", lambda: self._note_success(self._saves.settle()))
        except HostLostError:
            raise
        except (RuntimeError, OSError) as error:
            if must_succeed:
                raise
            self._note_failure(step, error)

    def _score(self, step: int, values: Mapping[str, float]) -> float | None:
        """The save's score; warns once if a step has other metrics of the group but not this one."""
        name = self._best_metric
        group = name.partition("/")[0] + "/"
        others = [key for key in values if key.startswith(group)]
        if others and name not in values and not self._warned_absent:
            self._warned_absent = True
            near = difflib.get_close_matches(name, others, 1)
            advice = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(others)[:3])} and others"
            self._say(f"checkpoint.best_metric={name!r}: step {step} has no such metric; {advice}")
        return values.get(name)

    def check(self, wait: bool = False) -> None:
        """Notes whether the last save succeeded or failed; with `wait` it waits for a save that is being written."""
        try:
            self._note_success(self._saves.settle() if wait else self._saves.poll())
        except RuntimeError as error:
            self._note_failure(self._step, error)

    def _note_success(self, seconds: float | None) -> None:
        if seconds is None:
            return
        self.write_seconds = seconds
        if self._failing_since is not None:
            self._say(f"saved again, at step {self._step}")
        self._failing_since = None

    def _note_failure(self, step: int, error: Exception) -> None:
        self._failing_since = self._failing_since or time.monotonic()
        minutes = (time.monotonic() - self._failing_since) / 60
        logging.error("NOT SAVED for %.0f minutes; training goes on: %s", minutes, error)
        self._say(f"NOT SAVED at step {step}: training goes on and tries again after each step")

    def _write_records(self) -> None:
        if self._hosts.is_first:
            self._write_pending()
            self._mirror.push((METRICS_FILE, TRANSCRIPTS_FILE, TENSORBOARD, WANDB_FILE))

    def _write_pending(self) -> None:
        while self._unwritten:
            record = self._unwritten[0]
            if not self._metrics_written:
                self._writers.write(record.step, record.metrics)
                self._metrics_written = True
            self._writers.transcripts(record.step, record.transcripts)
            del self._unwritten[0]
            self._metrics_written = False
