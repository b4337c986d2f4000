"""Reads what a run left in its workdir: settings, metrics, summary; and what its newest save keeps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from azr_jax.workdir.files import CHECKPOINTS, CONFIG_FILE, METRICS_FILE, SUMMARY_FILE


@dataclasses.dataclass(frozen=True, slots=True)
class RunData:
    """One run; `name` tells it from the others. What is not there yet is empty."""

    workdir: Path
    name: str
    config: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    summary: dict[str, Any]

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
    if not (workdir / CONFIG_FILE).is_file() and not (workdir / METRICS_FILE).is_file():
        raise ValueError(f"{workdir}: not a run of azr_jax (neither {CONFIG_FILE} nor {METRICS_FILE}); name a workdir")
    rows = tuple(json_lines(workdir / METRICS_FILE))
    return RunData(workdir, name, json_object(workdir / CONFIG_FILE), rows, read_summary(workdir))


def read_summary(workdir: Path) -> dict[str, Any]:
    """summary.json, or {} before the run's end. Raises ValueError when it is damaged."""
    return json_object(workdir / SUMMARY_FILE)


def saved_buffers(workdir: Path) -> tuple[int, dict[str, Any]] | None:
    """(step, buffers by language, as `Buffers.to_json` writes them) of the newest save; None without any.

    Raises:
      ValueError: the save's file is damaged.
    """
    steps = [int(entry.name) for entry in (workdir / CHECKPOINTS).glob("*") if entry.name.isdecimal()]
    if not steps:
        return None
    file = workdir / CHECKPOINTS / str(max(steps)) / "host" / "metadata"
    content = json_object(file)
    try:
        return max(steps), content["host"]["buffers"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: holds no buffers ({error!r}); the save is damaged or of another version") from error


def json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a run's file, one a step or response; none of a file that is not there. Raises as `load_all`."""
    if not file.is_file():
        return
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return  # the run is writing it, or died there
            yield parsed_row(line, f"{file}, line {number}")


def parsed_row(line: bytes, place: str) -> dict[str, Any]:
    """The object of one line, which has a step. Raises ValueError naming `place`."""
    row = _parsed(line, place)
    if not isinstance(row.get("step"), int):
        raise ValueError(f"{place}: no integer `step`; delete the line")
    return row


def json_object(file: Path) -> dict[str, Any]:
    """The object of a file, {} when there is no such file. Raises as `load_all`."""
    return _parsed(file.read_bytes(), str(file)) if file.is_file() else {}


def _parsed(content: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{place}: damaged ({error}); delete it or restore it from a copy") from error
    if not isinstance(value, dict):
        raise ValueError(f"{place}: not a JSON object; delete it or restore it from a copy")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
