"""A run's page at Weights & Biases. No jax."""

from __future__ import annotations

import importlib
import importlib.util
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from azr_jax.config import MetricsSettings
from azr_jax.workdir import atomic
from azr_jax.workdir.files import WANDB_FILE
from azr_jax.workdir.json_lines import json_object


class Page:
    """The page of the run in `workdir`, whose id is kept there: a resumed run continues it, a new run gets its own.

    Its name is the folder's, its configuration the run's; tags are languages, model and estimator. Later failures are
    warnings: metrics.jsonl has the values.

    Raises:
      RuntimeError: the package is not installed or does not start, with the fix.
      ValueError: a damaged file of the id.
    """

    def __init__(self, workdir: Path, settings: MetricsSettings, config_json: str) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise RuntimeError(
                "metrics.wandb=True: the package wandb is not installed; `pip install wandb`, or set"
                " metrics.wandb=False"
            )
        config = json.loads(config_json)
        identity = _identity(workdir)
        try:
            self._wandb = importlib.import_module("wandb")
            self._run = self._wandb.init(
                project=settings.wandb_project,
                name=workdir.name,
                id=identity,
                resume="allow",
                dir=str(workdir),
                config=config,
                tags=_tags(config),
                job_type="train",
            )
        except Exception as error:  # wandb's errors have no common base class
            raise RuntimeError(
                f"metrics.wandb=True: Weights & Biases does not start ({error}); run `wandb login`, set"
                " WANDB_MODE=offline, or set metrics.wandb=False"
            ) from error

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Sends numbers of a step; the service merges several calls for one step."""
        self._log(step, dict(values))

    def transcripts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """A step's transcripts as a table."""
        if rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            data = [[_cell(row.get(column)) for column in columns] for row in rows]
            self._log(step, {"transcripts": self._wandb.Table(columns=columns, data=data)})

    def close(self) -> None:
        """Waits until all is sent."""
        self._run.finish()

    def _log(self, step: int, values: dict[str, Any]) -> None:
        try:
            self._run.log(values, step=step)
        except Exception as error:  # noqa: BLE001 - as above
            logging.warning("Weights & Biases did not take step %d: %s", step, error)


def _identity(workdir: Path) -> str:
    file = workdir / WANDB_FILE
    known = json_object(file).get("id")
    if not isinstance(known, str):
        known = secrets.token_hex(8)
        workdir.mkdir(parents=True, exist_ok=True)
        atomic.write(file, json.dumps({"id": known}) + "\n")
    return known


def _tags(config: Mapping[str, Any]) -> list[str]:
    """At most 64 characters each, the service's limit."""
    model, learner = config.get("model", {}), config.get("learner", {})
    tags = [*config.get("languages", ()), Path(model.get("path", "")).name, learner.get("estimator", "")]
    return [tag[:64] for tag in dict.fromkeys(map(str, tags)) if tag]


def _cell(value: Any) -> Any:
    """A table cell: text, a number or None; lone surrogates are replaced, since UTF-8 has none."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value if value is None or isinstance(value, bool | int | float) else json.dumps(value, default=str)
