"""Files of JSON, one object a line or one in all: metrics, transcripts, summaries. No jax."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etils import epath

from azr_jax.workdir import atomic

_FIX = "delete it or restore it from a copy"


def append(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends all rows or none; numbers that are not finite become null.

    Raises:
      OSError: as `atomic.append`.
    """
    atomic.append(file, "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows).encode("ascii"))


def rows(file: epath.PathLike, needed: Mapping[str, type] | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a run's file, each with an integer `step` and the `needed` fields; none if there is no file.

    A last line without its newline is left out: the run is writing it, or died there.

    Raises:
      ValueError: a damaged line, with the file and the line's number.
    """
    path = epath.Path(file)
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            place = f"{path}, line {number}"
            fields = row(line, place)
            for name, kind in (needed or {}).items():
                if not isinstance(fields.get(name), kind):
                    raise ValueError(f"{place}: damaged (no `{name}`); delete the line")
            yield fields


def row(line: bytes, place: str) -> dict[str, Any]:
    """The object of one line, which has an integer `step`. Raises ValueError naming `place`."""
    fields = _object(line, place)
    step = fields.get("step")
    if not isinstance(step, int) or isinstance(step, bool):
        raise ValueError(f"{place}: damaged (no integer `step`); delete the line")
    return fields


def json_object(file: epath.PathLike, fix: str = _FIX) -> dict[str, Any]:
    """The object of a whole file, {} if there is no such file. Raises ValueError: the damaged file, and `fix`."""
    path = epath.Path(file)
    return _object(path.read_bytes(), str(path), fix) if path.is_file() else {}


def keep_until(file: Path, step: int) -> int:
    """Drops the rows of later steps and a last line that was cut off; returns the last step that stays, or 0.

    Raises:
      ValueError: a damaged line before the last, with its number.
      OSError: the file can't be written.
    """
    if not file.exists():
        return 0
    lines = file.read_bytes().splitlines(keepends=True)
    kept, last = [], 0
    for number, line in enumerate(lines, start=1):
        try:
            line_step = row(line, f"{file}, line {number}")["step"]
        except ValueError:
            if number < len(lines):
                raise
            continue
        if line_step <= step and line.endswith(b"\n"):
            kept.append(line)
            last = line_step
    if len(kept) < len(lines):
        atomic.write(file, b"".join(kept))
    return last


def _object(content: bytes, place: str, fix: str = _FIX) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: damaged ({error}); {fix}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{place}: damaged (not a JSON object); {fix}")
    return value


def _finite(value: Any) -> Any:
    """Numbers that JSON cannot express become None; NumPy numbers become Python's."""
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
