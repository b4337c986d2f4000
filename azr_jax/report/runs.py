"""Reads a run's workdir: settings, metrics, summary, and the buffers of its newest save."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azr_jax.workdir import json_lines
from azr_jax.workdir.files import CONFIG_FILE, METRICS_FILE, SEEDING_FILE, START_FILE, SUMMARY_FILE
from azr_jax.workdir.json_lines import json_object
from azr_jax.workdir.saved import host_file, saved_host, saved_steps


@dataclasses.dataclass(frozen=True, slots=True)
class RunData:
    """One run; `name` tells it from the others. Missing files leave their fields empty.

    `started`: the command and commit of its last start. `seeding`: its rounds, as seeding.jsonl has them.
    """

    workdir: Path
    name: str
    config: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    summary: dict[str, Any]
    started: dict[str, Any] = dataclasses.field(default_factory=dict)
    seeding: tuple[dict[str, Any], ...] = ()

    def series(self, key: str) -> list[tuple[int, float]]:
        """(step, value) of a metric, wherever it is a number."""
        return [(row["step"], float(row[key])) for row in self.rows if _is_number(row.get(key))]

    @property
    def keys(self) -> list[str]:
        """Every metric that some step has, in the order of first appearance."""
        return list(dict.fromkeys(key for row in self.rows for key in row if key != "step"))


def load_all(workdirs: Sequence[Path]) -> list[RunData]:
    """The runs of these workdirs, with names that differ.

    Raises:
      ValueError: a folder that holds no run, or a damaged file, with its place.
    """
    names = [workdir.absolute().name for workdir in workdirs]
    if len(set(names)) < len(names):
        names = [str(workdir) for workdir in workdirs]
    return [load(workdir, name) for workdir, name in zip(workdirs, names, strict=True)]


def load(workdir: Path, name: str) -> RunData:
    """One run. Raises as `load_all`."""
    if str(workdir).startswith("gs:/"):
        raise ValueError(f"{workdir}: in a bucket; copy the run here first (`tpu_scripts/tpu.sh --config FILE fetch`)")
    if not (workdir / CONFIG_FILE).is_file() and not (workdir / METRICS_FILE).is_file():
        raise ValueError(f"{workdir}: not a run of azr_jax (neither {CONFIG_FILE} nor {METRICS_FILE}); name a workdir")
    rows = tuple(json_lines.rows(workdir / METRICS_FILE))
    config, started = json_object(workdir / CONFIG_FILE), json_object(workdir / START_FILE)
    seeding = tuple(json_lines.rows(workdir / SEEDING_FILE, {"metrics": dict, "transcripts": list}))
    return RunData(workdir, name, config, rows, read_summary(workdir), started, seeding)


def read_summary(workdir: Path) -> dict[str, Any]:
    """summary.json, or {} before the run's end. Raises ValueError if it is damaged."""
    return json_object(workdir / SUMMARY_FILE)


def saved_buffers(workdir: Path) -> tuple[int, dict[str, Any]] | None:
    """(step, buffers by language, as `Buffers.to_json` writes them) of the newest save; None without any.

    Raises:
      ValueError: the save's file is damaged.
    """
    newest = max(saved_steps(workdir), default=None)
    if newest is None:
        return None
    try:
        return newest, saved_host(workdir, newest)["buffers"]
    except KeyError as error:
        file = host_file(workdir, newest)
        raise ValueError(f"{file}: holds no buffers; the save is damaged or of another version") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
