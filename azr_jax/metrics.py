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
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from azr_jax.config import MetricsSettings

METRICS_FILE = "metrics.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"
TENSORBOARD = "tensorboard"


class Writers:
    """Writes a run's metrics and transcripts; a context manager. `config_json` is what Weights & Biases shows."""

    def __init__(self, workdir: str | os.PathLike[str], settings: MetricsSettings, config_json: str) -> None:
        if "://" in os.fspath(workdir):
            raise ValueError(f"--workdir={os.fspath(workdir)}: metrics are appended to files, choose a local --workdir")
        self._workdir = Path(workdir)
        self._settings = settings
        self._purge_step: int | None = None
        self._tensorboard: SummaryWriter | None = None
        self._wandb = _start_wandb(self._workdir, settings, config_json) if settings.wandb else None

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One step's metrics to every writer; metrics.jsonl is on disk when this returns, TensorBoard in seconds.

        Raises:
          OSError: metrics.jsonl can't be written, with the path and the fix; it then ends with the step before.
        """
        _append(self._workdir / METRICS_FILE, [{"step": step, **metrics}])
        finite = {key: float(value) for key, value in metrics.items() if math.isfinite(value)}
        if self._settings.tensorboard:
            if self._tensorboard is None:
                self._tensorboard = SummaryWriter(
                    str(self._workdir / TENSORBOARD),
                    purge_step=self._purge_step,
                    flush_secs=10,
                    filename_suffix=f".{time.time_ns()}",  # the name has seconds only: a quick restart overwrote it
                )
            for key, value in finite.items():
                self._tensorboard.add_scalar(key, value, step)
        if self._wandb is not None:
            self._wandb.log(finite, step=step)

    def transcripts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends a step's transcripts to transcripts.jsonl, each with its `step`.

        Raises:
          OSError: as `write`.
        """
        _append(self._workdir / TRANSCRIPTS_FILE, [{"step": step, **row} for row in rows])

    def truncate_after(self, step: int) -> None:
        """Forgets what was written of later steps; call it before the first `write` of a resumed run.

        A last line that a crash cut off goes too. TensorBoard is told to hide the later steps.

        Raises:
          ValueError: a line in the middle of a file that is no JSON object with a step.
        """
        for name in (METRICS_FILE, TRANSCRIPTS_FILE):
            _truncate(self._workdir / name, step)
        self._purge_step = step + 1


def _append(file: Path, rows: list[dict[str, Any]]) -> None:
    """Appends all of the rows or none."""
    content = "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows).encode("ascii")
    start = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        if file.exists():
            os.truncate(file, start)
        raise OSError(
            f"{file}: can't be written ({error}); free space there or make it writable, then run the same command again"
        ) from error


def _truncate(file: Path, step: int) -> None:
    if not file.exists():
        return
    lines = file.read_bytes().splitlines(keepends=True)
    kept = []
    for number, line in enumerate(lines, start=1):
        try:
            if json.loads(line)["step"] <= step and line.endswith(b"\n"):
                kept.append(line)
        except (ValueError, TypeError, KeyError) as error:
            if number < len(lines):
                raise ValueError(
                    f"{file}, line {number}: no JSON object with a step ({error!r}); delete the line, or the file"
                ) from error
    if len(kept) < len(lines):
        partial = file.with_name(f".{file.name}.partial")
        partial.write_bytes(b"".join(kept))
        partial.replace(file)


def _finite(value: Any) -> Any:
    """Numbers that JSON has no word for become None; NumPy numbers become Python's."""
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _start_wandb(workdir: Path, settings: MetricsSettings, config_json: str) -> Any:
    if importlib.util.find_spec("wandb") is None:
        raise RuntimeError(
            "metrics.wandb=True: the package wandb is not installed; `pip install wandb`, or set metrics.wandb=False"
        )
    # The id is the workdir's, so that a resumed run goes on in the same place.
    identity = hashlib.sha256(str(workdir.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return importlib.import_module("wandb").init(
        project=settings.wandb_project,
        name=workdir.name,
        id=identity,
        resume="allow",
        dir=str(workdir),
        config=json.loads(config_json),
    )
