"""progress.json of a workdir: the run's phase, its progress and what it waits for. `status` reads it. No jax."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import logging
from etils import epath

from azr_jax.monitor.display import clock
from azr_jax.workdir import atomic
from azr_jax.workdir.files import PROGRESS_FILE
from azr_jax.workdir.json_lines import json_object


class Whereabouts:
    """Writes the file at each new phase, else at most once in `every_s` seconds.

    facts: gives "devices" and "slots" (0 until their number is chosen). push: called after each write, for a workdir
    in a bucket. A failed write is logged as an error: the run goes on.
    """

    def __init__(
        self, folder: Path, facts: Callable[[], Mapping[str, Any]], every_s: float, push: Callable[[], None]
    ) -> None:
        self._file, self._facts, self._every_s, self._push = folder / PROGRESS_FILE, facts, every_s, push
        self._phase, self._began, self._written = "", 0.0, 0.0

    def note(self, phase: str, detail: str) -> None:
        """Writes the phase and its progress, if it is time."""
        now = time.time()
        if phase == self._phase and now - self._written < self._every_s:
            return
        if phase != self._phase:
            self._phase, self._began = phase, now
        self._written = now
        content = {**self._facts(), "phase": phase, "began": self._began, "detail": detail, "at": now}
        try:
            atomic.write(self._file, json.dumps(content) + "\n")
            self._push()
        except OSError as error:
            logging.error("%s is not up to date: %s", PROGRESS_FILE, error)


def describe(folder: epath.Path, now: float) -> list[str]:
    """The content of a run's file, as lines; none if there is no file.

    Raises:
      ValueError: a damaged file.
    """
    file = folder / PROGRESS_FILE
    if not file.exists():
        return []
    try:
        got = json_object(file)
        lines = [f"on {got['devices']}, {got['slots'] or 'as many as fit'} slots"]
        lines.append(f"{got['phase']} for {clock(got['at'] - got['began'])}, said {clock(now - got['at'])} ago")
        return [*lines, *([str(got["detail"])] if got["detail"] else [])]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: damaged ({error!r}); delete it: the run writes it again") from error
