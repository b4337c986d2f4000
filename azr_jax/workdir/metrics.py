"""Where the numbers of a run go: metrics.jsonl and TensorBoard always, Weights & Biases when asked. No jax.

WORKDIR/metrics.jsonl has one object a step, `step` first; WORKDIR/transcripts.jsonl one a kept response; numbers that
are not finite are null in both. After a crash, `truncate_after` takes both back to the step that was saved, so that a
resumed run's files are those of one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from azr_jax.config import MetricsSettings
from azr_jax.workdir import json_lines
from azr_jax.workdir.files import METRICS_FILE, TRANSCRIPTS_FILE

if TYPE_CHECKING:
    from azr_jax.workdir.tensorboard import Events

TENSORBOARD = "tensorboard"


class Writers:
    """Writes a run's metrics and transcripts; a context manager. `config_json` is what Weights & Biases shows."""

    def __init__(self, workdir: str | os.PathLike[str], settings: MetricsSettings, config_json: str) -> None:
        if "://" in os.fspath(workdir):
            raise ValueError(f"--workdir={os.fspath(workdir)}: metrics are appended to files, choose a local --workdir")
        self._workdir = Path(workdir)
        self._settings = settings
        self._purge_step: int | None = None
        self._events: Events | None = None
        self._wandb = _start_wandb(self._workdir, settings, config_json) if settings.wandb else None

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._wandb is not None:
            self._wandb.finish()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One step's metrics to every writer; they are on disk when this returns.

        What TensorBoard's file or Weights & Biases does not take is a warning: metrics.jsonl has it.

        Raises:
          OSError: metrics.jsonl can't be written, with the path and the fix; it then ends with the step before.
        """
        json_lines.append(self._workdir / METRICS_FILE, [{"step": step, **metrics}])
        finite = {key: float(value) for key, value in metrics.items() if math.isfinite(value)}
        if self._settings.tensorboard:
            if self._events is None:
                # tensorboardX imports torch where there is one, which takes seconds.
                from azr_jax.workdir.tensorboard import Events

                self._events = Events(self._workdir / TENSORBOARD, self._purge_step)
            self._events.write(step, finite)
        if self._wandb is not None:
            try:
                self._wandb.log(finite, step=step)
            except Exception as error:  # noqa: BLE001 - its own errors are no subclasses of anything
                logging.warning("Weights & Biases did not take step %d: %s", step, error)

    def transcripts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends a step's transcripts to transcripts.jsonl, each with its `step`.

        Raises:
          OSError: as `write`.
        """
        json_lines.append(self._workdir / TRANSCRIPTS_FILE, [{"step": step, **row} for row in rows])

    def truncate_after(self, step: int) -> None:
        """Forgets what was written of later steps; call it before the first `write` of a resumed run.

        A last line that a crash cut off goes too; metrics that end before `step` are a warning. TensorBoard is told to
        hide the later steps.

        Raises:
          ValueError: a line in the middle of a file that is no JSON object with a step.
        """
        last = json_lines.keep_until(self._workdir / METRICS_FILE, step)
        if last < step:
            logging.warning(
                "%s ends with step %d, the save is of step %d: metrics of the steps between are lost, training is not",
                self._workdir / METRICS_FILE,
                last,
                step,
            )
        json_lines.keep_until(self._workdir / TRANSCRIPTS_FILE, step)
        self._purge_step = step + 1


def _start_wandb(workdir: Path, settings: MetricsSettings, config_json: str) -> Any:
    if importlib.util.find_spec("wandb") is None:
        raise RuntimeError(
            "metrics.wandb=True: the package wandb is not installed; `pip install wandb`, or set metrics.wandb=False"
        )
    # The id is the workdir's, so that a resumed run goes on in the same place.
    identity = hashlib.sha256(str(workdir.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    try:
        return importlib.import_module("wandb").init(
            project=settings.wandb_project,
            name=workdir.name,
            id=identity,
            resume="allow",
            dir=str(workdir),
            config=json.loads(config_json),
        )
    except Exception as error:  # as above
        raise RuntimeError(
            f"metrics.wandb=True: Weights & Biases does not start ({error}); run `wandb login`, set WANDB_MODE=offline,"
            " or set metrics.wandb=False"
        ) from error
