"""Where the numbers of a run go: metrics.jsonl and TensorBoard always, Weights & Biases when asked. No jax.

WORKDIR/metrics.jsonl has one object a step, `step` first; WORKDIR/transcripts.jsonl one a kept response; numbers that
are not finite are null in both. After a crash, `truncate_after` cuts both back to the saved step, so that a
resumed run's files are those of one that was never interrupted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from azr_jax.config import MetricsSettings
from azr_jax.workdir import json_lines
from azr_jax.workdir.files import METRICS_FILE, TRANSCRIPTS_FILE
from azr_jax.workdir.weights_and_biases import Page

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
        self._page = Page(self._workdir, settings, config_json) if settings.wandb else None

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._page is not None:
            self._page.close()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one step's metrics to every writer; they are on disk when this returns.

        A failure of TensorBoard's file or of Weights & Biases is a warning: metrics.jsonl has the values.

        Raises:
          OSError: metrics.jsonl can't be written, with the path and the fix; it then ends with the step before.
        """
        json_lines.append(self._workdir / METRICS_FILE, [{"step": step, **metrics}])
        self.show(step, metrics)

    def show(self, step: int, values: Mapping[str, float]) -> None:
        """Sends numbers only to TensorBoard and Weights & Biases, such as scores before and after the run."""
        finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        if not finite:
            return
        if self._settings.tensorboard:
            if self._events is None:
                # tensorboardX imports torch if it is installed, which takes seconds.
                from azr_jax.workdir.tensorboard import Events

                self._events = Events(self._workdir / TENSORBOARD, self._purge_step)
            self._events.write(step, finite)
        if self._page is not None:
            self._page.write(step, finite)

    def transcripts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends a step's transcripts to transcripts.jsonl, each with its `step`; shows them as a table online.

        Raises:
          OSError: as `write`.
        """
        json_lines.append(self._workdir / TRANSCRIPTS_FILE, [{"step": step, **row} for row in rows])
        if self._page is not None:
            self._page.transcripts(step, rows)

    def truncate_after(self, step: int) -> None:
        """Deletes the lines of later steps; call it before the first `write` of a resumed run.

        Also deletes a last line that a crash cut off; metrics that end before `step` are a warning. TensorBoard will
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
