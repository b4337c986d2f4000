"""The files in a run's workdir: their names, whether they say that the run has ended, and appending. No jax."""

from __future__ import annotations

import json
import os
from pathlib import Path

from etils import epath

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"
METRICS_FILE = "metrics.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"
# The last object of a save in a bucket.
COMMIT_FILE = "commit_success.txt"


def ended_steps(workdir: epath.PathLike) -> int | None:
    """How many steps the run had that ended there; None when summary or report, its last files, are not there.

    A person may have had a report made of a run that goes on, or asked a finished one for more steps.

    Raises:
      ValueError: a damaged summary.
    """
    summary = epath.Path(workdir) / SUMMARY_FILE
    if not (epath.Path(workdir) / REPORT_FILE).exists() or not summary.exists():
        return None
    try:
        return int(json.loads(summary.read_text())["steps"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{summary}: damaged ({error!r}); delete it: the run's own command makes it again") from error


def append(file: Path, content: bytes) -> None:
    """Appends all of the content or none."""
    start = file.stat().st_size if file.exists() else 0
    try:
        with file.open("ab") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        if file.exists() and file.stat().st_size > start:  # what is read-only can't be cut either
            os.truncate(file, start)
        raise OSError(
            f"{file}: can't be written ({error}); free space there or make it writable, then run the same command again"
        ) from error
