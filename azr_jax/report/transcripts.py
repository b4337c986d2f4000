"""Which of a run's transcripts a page shows: all of a small run, an even sample of a large one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from azr_jax.report.runs import RunData
from azr_jax.workdir import json_lines
from azr_jax.workdir.files import TRANSCRIPTS_FILE

# A size that a browser handles quickly; measured in docs/results/speed.md.
MAX_TRANSCRIPTS = 6000
MAX_BYTES = 24_000_000
_MOST_OF_SEEDING = 200  # the newest, of each run
_BLOCK_BYTES = 1 << 22


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """`rows`: transcripts, each with its run's name; `total`: how many the runs kept; `steps`: of which steps.

    Those of seeding have step 0.
    """

    rows: tuple[dict[str, Any], ...]
    total: int
    steps: tuple[int, ...]


def sample(runs: Sequence[RunData]) -> Sample:
    """Every k-th transcript of each task and run, with the least k that fits a page.

    Only the lines that are shown are parsed, so that a run of 200,000 responses takes seconds.

    Raises:
      ValueError: a line that is no transcript, with its place.
    """
    files = [run.workdir / TRANSCRIPTS_FILE for run in runs]
    lines, size = 0, 0
    for file in files:
        file_lines, file_bytes = _count(file)
        lines, size = lines + file_lines, size + file_bytes
    every = max(1, math.ceil(lines / MAX_TRANSCRIPTS), math.ceil(size / MAX_BYTES))
    rows, seeds = [], 0
    for run, file in zip(runs, files, strict=True):
        seeding = [transcript for row in run.seeding for transcript in row["transcripts"]]
        seeds += len(seeding)
        rows += [{**row, "step": 0, "run": run.name} for row in seeding[-_MOST_OF_SEEDING:]]
        rows += [{**row, "run": run.name} for row in _sampled(file, every)]
    return Sample(tuple(rows), lines + seeds, tuple(sorted({row["step"] for row in rows})))


def _count(file: Path) -> tuple[int, int]:
    """(whole lines, bytes)."""
    if not file.is_file():
        return 0, 0
    lines = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            lines += block.count(b"\n")
    return lines, file.stat().st_size


def _sampled(file: Path, every: int) -> Iterator[dict[str, Any]]:
    """Every k-th line of each task: a stride over all lines would meet the same task at every step."""
    if not file.is_file():
        return
    seen: dict[bytes, int] = {}
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return  # the run is writing it, or died there
            task = _task_of(line)
            seen[task] = seen.get(task, 0) + 1
            if (seen[task] - 1) % every == 0:
                yield json_lines.row(line, f"{file}, line {number}")


def _task_of(line: bytes) -> bytes:
    """The text between the id and the language: role and type, in the order of the record.

    Lines of another shape count as one more task, which only changes the sample.
    """
    start = line.find(b'"role": ')
    return line[start : line.find(b'"language": ', start)] if start >= 0 else b""
