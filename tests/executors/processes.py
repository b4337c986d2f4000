"""What tests of the pool need to know of the machine's processes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from executors import LANGUAGES, Language


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; raises OSError when there is no such process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def descendants(pid: int, before: Mapping[int, str] | None = None) -> dict[int, str]:
    """The time of start of every process that descends from `pid`, by number; zombies not counted.

    Not those of `before`: pools that other tests of the same process keep open.
    """
    parents, starts = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = stat_fields(int(entry.name))
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
                starts[int(entry.name)] = fields[19]
    descendants: dict[int, str] = {}
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - set(descendants)
        descendants |= {child: starts[child] for child in frontier}
    return {pid: start for pid, start in descendants.items() if (before or {}).get(pid) != start}


def still_running(processes: dict[int, str], patience_s: float = 1.0) -> list[str]:
    """Those of `processes` (as `descendants` gives them) that have not ended within `patience_s`."""
    end = time.monotonic() + patience_s
    while (running := _running(processes)) and time.monotonic() < end:
        time.sleep(0.02)
    return running


def _running(processes: dict[int, str]) -> list[str]:
    matching = []
    for pid, start in processes.items():
        try:
            fields = stat_fields(pid)
            if fields[19] == start and fields[0] != "Z":
                matching.append(f"{pid} {fields[0]} {Path(f'/proc/{pid}/cmdline').read_text()}")
        except OSError:
            continue
    return matching


def processes_with(mark: str) -> list[int]:
    """Processes whose environment holds `mark`."""
    folders = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    folders.append(int(entry.name))
            except OSError:
                continue
    return folders


def marked_language(mark: str, name: str = "python") -> Language:
    """The language, its processes recognisable by `mark` in their environment."""
    language = LANGUAGES[name]
    interpreter = language.find()
    assert interpreter is not None
    marked = dataclasses.replace(interpreter, environment=(*interpreter.environment, ("AZR_TEST_MARK", mark)))
    return dataclasses.replace(language, find=lambda: marked)


def read_by_python(folder: str) -> list[str]:
    """The entries of `folder` that programs in Python see because the interpreter or its packages lie below them."""
    paths = LANGUAGES["python"].find().read_only
    return sorted({path.relative_to(folder).parts[0] for path in paths if path.is_relative_to(folder)})
