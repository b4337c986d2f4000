"""`Manager`: atomic saves of a run.

A save is an Orbax composite of three items, all that it holds:
  params    the policy's parameters, a flat dictionary from the leaf's path to the array
  training  the rest of the TrainState (learner/state.py), in the same form: value_head, reference, opt_state (AdamW
            moments), step (of the optimizer), skipped_updates
  host      JSON: step, settings (those that made the save) and host (run/session.py): buffers, reward_state,
            seeding_rounds, unfinished (the record of a step not yet evaluated), before (scores), seconds,
            problems (a digest), begun (the next step's proposals, as far as they are sampled)
Orbax copies the arrays to the host's memory and writes them from there while training goes on, under a temporary name.
It renames the save when it is whole (in a bucket: writes a commit file last), so a save that is cut off is never read.

Why not Orbax' own CheckpointManager with its preservation policies, measured with 0.12.8: it deletes a save file by
file under its own name, so a process that is killed meanwhile leaves half a save, which the next one lists among its
steps (or, with `todelete_subdir`, keeps every one of them for good); it takes any folder with a number for a save, such
as an empty `7`; it leaves what a failed save wrote until its own next start, so a disk that was full stays full; it
can't replace the JSON of a save in one move, which seeding does each round, nor give a saved step its score later. Its
policies keep the same saves as retention.py, which is shorter than what they need around them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from azr_jax.checkpoint import restoring
from azr_jax.checkpoint.items import attempt, first_line, named, wait_for_reads_that_failed
from azr_jax.checkpoint.retention import Retention, read_scores, write_scores
from azr_jax.learner.state import TrainState
from azr_jax.workdir import atomic
from azr_jax.workdir.files import CHECKPOINTS, COMMIT_FILE
from azr_jax.workdir.saved import host_file, is_whole, saved_steps, step_of
from azr_jax.workdir.settings import location

_REMOVE_ATTEMPTS = 50
# A save of tens of GB to a bucket takes longer than Orbax' own 20 minutes if the network is slow; hosts wait as long
# for one that failed during a save.
_WRITE_TIMEOUT_S = 1800
_LEFTOVER = re.compile(r"\d+\.(orbax-checkpoint-tmp.*|deleted)")


@dataclasses.dataclass(slots=True)
class _Writing:
    """A save that is copied and not yet known to be whole; times of time.monotonic()."""

    step: int
    score: float | None
    started: float
    written: float | None = None


class Manager:
    """The saves under WORKDIR/checkpoints, a context manager whose end waits for the save that is being written.

    `keep` is how many of the newest stay; so do those of every `keep_every`-th step (0: none) and the best-scored one.
    `settings` are those of the run that saves; each save holds them.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        keep: int,
        keep_every: int = 0,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.directory = location(workdir) / CHECKPOINTS
        self._retention = Retention(keep, keep_every)
        self._settings = dict(settings)
        self._remote = "://" in os.fspath(workdir)
        self._writing: _Writing | None = None
        self._deleting: threading.Thread | None = None
        wait_for_reads_that_failed()
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(
                params=ocp.StandardCheckpointHandler(),
                training=ocp.StandardCheckpointHandler(),
                host=ocp.JsonCheckpointHandler(),
            ),
            async_options=ocp.AsyncOptions(
                timeout_secs=_WRITE_TIMEOUT_S,
                post_finalization_callback=self._note_written,
                # Otherwise threads wait for minutes for the folder that could not be made, beyond the end of the run.
                create_directories_asynchronously=False,
            ),
        )

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.settle()
        except RuntimeError as error:
            logging.error("%s", error)
        self._join_deletion()
        self._checkpointer.close()

    def steps(self) -> list[int]:
        """The saved steps, oldest first."""
        return saved_steps(self.directory.parent)

    def check_space(self, abstract_state: TrainState) -> None:
        """Checks before the first step that the saves of such a state fit on the local disk.

        Raises:
          OSError: no save fits and none is there; with an earlier save it is a warning.
        """
        if self._remote or jax.process_index():
            return
        place = next(path for path in (self.directory, *self.directory.parents) if path.exists())
        free, save_bytes = (
            shutil.disk_usage(place).free,
            sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(abstract_state)),
        )
        free += self._leftover_bytes()
        saved = len(self.steps())
        # The oldest goes only when the newest is whole.
        wanted = save_bytes * max(1, self._retention.newest + 1 - saved)
        if free >= wanted:
            return
        text = (
            f"{self.directory}: {free / 2**30:.2f} GiB are free; a save takes {save_bytes / 2**30:.2f} GiB, and"
            f" checkpoint.keep={self._retention.newest} needs {wanted / 2**30:.2f} GiB: free space,"
            " lower checkpoint.keep, or choose another --workdir"
        )
        if free < save_bytes and not saved:
            raise OSError(text)
        logging.warning("%s", text)

    def _leftover_bytes(self) -> int:
        """Bytes that the next save frees before it writes."""
        entries = list(self.directory.iterdir()) if self.directory.exists() else []
        left = [entry for entry in entries if _LEFTOVER.fullmatch(entry.name)]
        files = (os.path.join(root, name) for entry in left for root, _, names in os.walk(entry) for name in names)
        return sum(os.lstat(file).st_size for file in files)

    def save(self, step: int, state: TrainState, host: Mapping[str, Any], score: float | None = None) -> None:
        """Starts an atomic save and returns when `state` is copied; `settle` and `poll` return its result.

        One save is written at a time. If the step is saved already, only its score is noted. `host` is a JSON value
        that must not change any more. `score`, higher is better, decides which save stays as the best. On several hosts
        every host must call it.

        Raises:
          RuntimeError: this save or the one before can't be written, with the path, the reason and the fix; earlier
            saves stay.
        """
        self.settle()
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(named(state.params)),
            training=ocp.args.StandardSave(named(state.replace(params=None))),  # pyright: ignore[reportAttributeAccessIssue]
            host=ocp.args.JsonSave(self._json_part(step, host)),
        )

        def start() -> None:
            if step in self.steps():
                logging.info("step %d is already saved under %s", step, self.directory)
                if score is not None:
                    self._remove_old(step, score)
                return
            self.directory.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            self._writing = _Writing(step, score, time.monotonic())
            self._checkpointer.save(self.directory / str(step), items)

        attempt(start, lambda error: self._failed(step, error))

    def renew(self, step: int, host: Mapping[str, Any]) -> None:
        """Replaces the JSON of a save in one move, if there is such a save; its arrays stay.

        Raises:
          RuntimeError: as `save`.
        """
        self.settle()

        def replace() -> None:
            if step in self.steps() and not jax.process_index():
                atomic.write(host_file(self.directory.parent, step), json.dumps(self._json_part(step, host)))

        attempt(replace, lambda error: self._failed(step, error))

    def _json_part(self, step: int, host: Mapping[str, Any]) -> dict[str, Any]:
        return {"step": step, "host": host, "settings": self._settings}

    def settle(self) -> float | None:
        """Waits for the save that is being written, then drops those that need not stay.

        Returns how many seconds it took to write, or None if there was none.

        Raises:
          RuntimeError: as `save`.
        """
        writing, self._writing = self._writing, None
        if writing is None:
            return None
        attempt(self._checkpointer.wait_until_finished, lambda error: self._failed(writing.step, error))
        self._remove_old(writing.step, writing.score)
        return (writing.written or time.monotonic()) - writing.started

    def poll(self) -> float | None:
        """As `settle` when the save has ended, well or badly; None at once while it is being written."""
        writing = self._writing
        if writing is None:
            return None

        def is_whole() -> bool:
            self._checkpointer.check_for_errors()
            return writing.written is not None and writing.step in self.steps()

        return self.settle() if attempt(is_whole, lambda error: self._failed(writing.step, error)) else None

    def _note_written(self) -> None:
        """Called by Orbax' thread when all is written, before the save gets its name."""
        if self._writing is not None:
            self._writing.written = time.monotonic()

    def _failed(self, step: int, error: BaseException) -> RuntimeError:
        self._writing = None
        try:
            self._remove_leftovers()
            earlier = ", ".join(map(str, self.steps())) or "none"
        except Exception as another:  # noqa: BLE001 - it only adds to the message
            earlier = f"not known, {first_line(another)}"
        return RuntimeError(
            f"{self.directory / str(step)}: the save failed ({first_line(error)}); free space there or make it"
            f" writable, then run the same command again: it resumes from the newest save (saved steps: {earlier})"
        )

    def restore(
        self, abstract_state: TrainState, shardings: TrainState, step: int | None = None
    ) -> tuple[int, TrainState, dict[str, Any]] | None:
        """(step, state, host) of a save, the newest by default; None if there is none.

        `abstract_state` has the shapes and dtypes, `shardings` the sharding of each leaf; the mesh need not be the one
        that the save was made on.

        Raises:
          ValueError: `step` is not saved; the save is damaged; it is of another model or estimator.
        """
        self.settle()
        chosen = restoring.chosen_step(self.directory.parent, step)
        if chosen is None:
            return None
        state, host = restoring.read_state(self._checkpointer, self.directory.parent, chosen, abstract_state, shardings)
        return chosen, state, host

    def restore_params(self, abstract_params: Any, shardings: Any, step: int | None = None) -> tuple[int, Any] | None:
        """(step, parameters) of a save, without its optimizer state; the rest as `restore`."""
        self.settle()
        chosen = restoring.chosen_step(self.directory.parent, step)
        if chosen is None:
            return None
        params = restoring.read_params(self._checkpointer, self.directory.parent, chosen, abstract_params, shardings)
        return chosen, params

    def _remove_old(self, saved: int, score: float | None) -> None:
        """Renames saves that need not stay at once, and deletes their files while training goes on."""
        if jax.process_index():
            return
        try:
            steps, scores = self.steps(), read_scores(self.directory)
            if score is not None:
                scores = {step: value for step, value in scores.items() if step in steps} | {saved: score}
                write_scores(self.directory, scores)
            forgotten = [self._forget(step) for step in self._retention.dropped(steps, scores)]
        except Exception as error:  # noqa: BLE001 - the save itself is whole
            logging.error("saves that need not stay can't be deleted under %s: %s", self.directory, error)
            return
        if forgotten:
            self._join_deletion()
            self._deleting = threading.Thread(target=lambda: [_remove(path) for path in forgotten], daemon=True)
            self._deleting.start()

    def _forget(self, step: int) -> epath.Path:
        """Unmarks a save, so that a crash during its deletion leaves no half save; returns the path to delete."""
        path = self.directory / str(step)
        if self._remote:
            (path / COMMIT_FILE).unlink()
            return path
        return path.rename(self.directory / f"{step}.deleted")

    def _join_deletion(self) -> None:
        if self._deleting is not None:
            self._deleting.join()
            self._deleting = None

    def _remove_leftovers(self) -> None:
        """Deletes what earlier saves and deletions left when they died half-way."""
        self._join_deletion()
        if jax.process_index() or not self.directory.exists():
            return
        for entry in self.directory.iterdir():
            half = self._remote and step_of(entry) is not None and not is_whole(entry)
            if half or _LEFTOVER.fullmatch(entry.name):
                logging.warning("deleting %s, left over from a save that did not end", entry)
                _remove(entry)


def _remove(directory: epath.Path) -> None:
    """Deletes a directory that threads of a failed save may still be writing to; the next save tries again."""
    for _ in range(_REMOVE_ATTEMPTS):
        try:
            directory.rmtree(missing_ok=True)
        except Exception:  # noqa: BLE001 - as in `Manager.save`
            time.sleep(0.1)
        else:
            return
    logging.warning("%s can't be deleted yet", directory)
