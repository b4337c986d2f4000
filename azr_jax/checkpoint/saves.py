"""`Manager`: atomic saves of a training state and the host's counters, and what comes back of them.

A save is an Orbax composite of three items: `params` and `training` (the rest of the TrainState), each a flat
dictionary from the leaf's path to the array, and `host`, JSON. Orbax writes it under a temporary name and renames it
when it is whole (on remote storage: marks it with a commit file), so a save that dies half-way is never seen.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from azr_jax.checkpoint.retention import Retention, read_scores, write_scores
from azr_jax.checkpoint.workdir import CHECKPOINTS, location
from azr_jax.learner.state import TrainState

_REMOVE_ATTEMPTS = 50
_COMMIT_FILE = "commit_success.txt"
_LEFTOVER = re.compile(r"\d+\.(orbax-checkpoint-tmp.*|deleted)")
# What reading the metadata of a damaged save raises, from Orbax and json.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


class Manager:
    """The saves under WORKDIR/checkpoints, a context manager.

    `keep` is how many of the newest stay; so do those of every `keep_every`-th step (0: none) and the best-scored one.
    """

    def __init__(self, workdir: str | os.PathLike[str], keep: int, keep_every: int = 0) -> None:
        self.directory = location(workdir) / CHECKPOINTS
        self._retention = Retention(keep, keep_every)
        self._remote = "://" in os.fspath(workdir)
        self._checkpointer = ocp.Checkpointer(
            ocp.CompositeCheckpointHandler(
                params=ocp.StandardCheckpointHandler(),
                training=ocp.StandardCheckpointHandler(),
                host=ocp.JsonCheckpointHandler(),
            )
        )

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *exception: object) -> None:
        self._checkpointer.close()

    def steps(self) -> list[int]:
        """The saved steps, oldest first."""
        if not self.directory.exists():
            return []
        entries = [entry for entry in self.directory.iterdir() if entry.name.isdecimal() and entry.is_dir()]
        return sorted(int(entry.name) for entry in entries if not self._remote or (entry / _COMMIT_FILE).exists())

    def save(self, step: int, state: TrainState, host: Mapping[str, Any], score: float | None = None) -> None:
        """Saves all of it or nothing, then drops the saves that need not stay; a step already saved stays as it is.

        `host` is what JSON holds. `score`, higher is better, competes with those of the other saves. On several hosts
        every host must call it.

        Raises:
          RuntimeError: the save can't be written, with the path, the reason and the fix; earlier saves stay.
        """
        if step in self.steps():
            logging.info("step %d is already saved under %s", step, self.directory)
            return
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(_named(state.params)),
            training=ocp.args.StandardSave(_named(state.replace(params=None))),  # pyright: ignore[reportAttributeAccessIssue]
            host=ocp.args.JsonSave({"step": step, "host": host}),
        )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            self._checkpointer.save(self.directory / str(step), items)
        except (OSError, ValueError, RuntimeError) as error:
            self._remove_leftovers()
            earlier = ", ".join(map(str, self.steps())) or "none"
            raise RuntimeError(
                f"{self.directory / str(step)}: the save failed ({_first_line(error)}); free space there or make it"
                f" writable, then run the same command again: it resumes from the newest save (saved steps: {earlier})"
            ) from error
        self._remove_old(step, score)

    def restore(
        self, abstract_state: TrainState, shardings: TrainState, step: int | None = None
    ) -> tuple[int, TrainState, dict[str, Any]] | None:
        """(step, state, host) of a save, the newest by default; None when there is none at all.

        `abstract_state` has the shapes and dtypes, `shardings` where each leaf shall lie; the mesh need not be the one
        that the save was made on.

        Raises:
          ValueError: `step` is not saved; the save is damaged; it is of another model or estimator.
        """
        chosen = self._choose(step)
        if chosen is None:
            return None
        wanted = jax.tree.map(_placed, abstract_state, shardings)
        params = _named(wanted.params)
        training = _named(wanted.replace(params=None))
        self._check_fits(chosen, {"params": params, "training": training})
        items = self._read(
            chosen,
            ocp.args.Composite(
                params=ocp.args.StandardRestore(params),
                training=ocp.args.StandardRestore(training),
                host=ocp.args.JsonRestore(),
            ),
        )
        state = _unnamed(wanted.replace(params=None), items.training).replace(
            params=_unnamed(wanted.params, items.params)
        )
        return chosen, state, self._host(chosen, items.host)

    def restore_params(self, abstract_params: Any, shardings: Any, step: int | None = None) -> tuple[int, Any] | None:
        """(step, parameters) of a save, without its optimizer state; the rest as `restore`."""
        chosen = self._choose(step)
        if chosen is None:
            return None
        wanted = jax.tree.map(_placed, abstract_params, shardings)
        params = _named(wanted)
        self._check_fits(chosen, {"params": params})
        items = self._read(chosen, ocp.args.Composite(params=ocp.args.StandardRestore(params)))
        return chosen, _unnamed(wanted, items.params)

    def _choose(self, step: int | None) -> int | None:
        steps = self.steps()
        if step is not None and step not in steps:
            raise ValueError(
                f"step {step} is not saved under {self.directory}; choose one of {', '.join(map(str, steps)) or 'none'}"
            )
        return step if step is not None else max(steps, default=None)

    def _check_fits(self, step: int, wanted: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]]) -> None:
        """Raises ValueError unless the save has exactly the wanted arrays, in shape and dtype."""
        try:
            metadata: Any = self._checkpointer.metadata(self.directory / str(step))
            found = metadata.item_metadata
            shapes = {item: {name: (leaf.shape, leaf.dtype) for name, leaf in found[item].items()} for item in wanted}
        except _DAMAGE as error:
            raise self._damaged(step, error) from error
        for item, arrays in wanted.items():
            expected = {name: (tuple(array.shape), array.dtype) for name, array in arrays.items()}
            if shapes[item] == expected:
                continue
            different = sorted(
                name for name in {*expected, *shapes[item]} if expected.get(name) != shapes[item].get(name)
            )
            name = different[0]
            raise ValueError(
                f"{self.directory / str(step)}: made with another model, learner.estimator or learner.kl_coef:"
                f" {len(different)} arrays of {item} differ, {name} is {shapes[item].get(name, 'absent')} there and"
                f" {expected.get(name, 'absent')} in this run; use the settings it was made with, or another --workdir"
            )

    def _read(self, step: int, items: ocp.args.Composite) -> Any:
        try:
            return self._checkpointer.restore(self.directory / str(step), items)
        except Exception as error:  # Orbax raises a bare Exception for a data file that is too short
            raise self._damaged(step, error.__cause__ or error) from error

    def _host(self, step: int, content: Any) -> dict[str, Any]:
        if not isinstance(content, dict) or content.get("step") != step or not isinstance(content.get("host"), dict):
            raise self._damaged(step, ValueError("its host item is not of this step"))
        return content["host"]

    def _damaged(self, step: int, error: BaseException) -> ValueError:
        path = self.directory / str(step)
        older = [each for each in self.steps() if each < step]
        then = f"the next start resumes from step {older[-1]}" if older else "the next start begins anew"
        return ValueError(
            f"{path}: this save is damaged ({_first_line(error)}); delete it (`rm -r {path}`), then {then}"
            f" (older saves: {', '.join(map(str, older)) or 'none'})"
        )

    def _remove_old(self, saved: int, score: float | None) -> None:
        if jax.process_index():
            return
        steps, scores = self.steps(), read_scores(self.directory)
        if score is not None:
            scores = {step: one for step, one in scores.items() if step in steps} | {saved: score}
            write_scores(self.directory, scores)
        for step in self._retention.dropped(steps, scores):
            path = self.directory / str(step)
            if self._remote:
                (path / _COMMIT_FILE).unlink()
                path.rmtree()
            else:  # renamed first: a crash amid the deletion leaves no half save under a step's name
                path.rename(self.directory / f"{step}.deleted").rmtree()

    def _remove_leftovers(self) -> None:
        """Deletes what earlier saves and deletions left when they died half-way."""
        if jax.process_index() or not self.directory.exists():
            return
        for entry in self.directory.iterdir():
            if _LEFTOVER.fullmatch(entry.name):
                logging.warning("deleting %s, left over from a save that did not end", entry)
                _remove(entry)


def _remove(directory: epath.Path) -> None:
    """Deletes a directory that threads of a failed save may still be writing to; the next save tries again."""
    for _ in range(_REMOVE_ATTEMPTS):
        try:
            directory.rmtree(missing_ok=True)
        except OSError:
            time.sleep(0.1)
        else:
            return
    logging.warning("%s can't be deleted yet", directory)


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by their path, so that a save does not depend on the classes of the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _unnamed(like: Any, leaves: Mapping[str, Any]) -> Any:
    """The tree of `like` with the leaves of these names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: leaves[jax.tree_util.keystr(path, simple=True, separator="/")], like
    )


def _placed(shape: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)


def _first_line(error: BaseException) -> str:
    """The error in a line that fits in a message; TensorStore's have many."""
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__
