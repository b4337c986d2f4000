"""Which steps of a run are saved, and what a save's JSON part holds: read by resume, status, report and export. No jax.

Orbax renames a local save to its step's number when all of it is written; in a bucket it writes a commit file last. So
a save is a folder whose name is a step's number, with that file if it is in a bucket. Other entries of checkpoints/
(`00`, a file `5`, what a crash left) are not saves.
"""

from __future__ import annotations

import os
from typing import Any

from etils import epath

from azr_jax.workdir.files import CHECKPOINTS, COMMIT_FILE
from azr_jax.workdir.json_lines import json_object

HOST_ITEM = "host"
_HOST_FILE = "metadata"  # Orbax' name for the file of a JSON item


def saved_steps(workdir: epath.PathLike) -> list[int]:
    """The saved steps of a run, ascending; empty if there is no such folder."""
    place = epath.Path(workdir) / CHECKPOINTS
    if not place.is_dir():
        return []
    return sorted(step for entry in place.iterdir() if (step := step_of(entry)) is not None and is_whole(entry))


def step_of(entry: epath.PathLike) -> int | None:
    """The step in a save's name; None if the name is not a save's."""
    name = epath.Path(entry).name
    return int(name) if name.isascii() and name.isdecimal() and str(int(name)) == name else None


def is_whole(entry: epath.Path) -> bool:
    """Whether a folder with a save's name was written completely."""
    return (entry / COMMIT_FILE).exists() if "://" in os.fspath(entry) else entry.is_dir()


def save_folder(workdir: epath.PathLike, step: int) -> epath.Path:
    """Where the save of a step is, or would be."""
    return epath.Path(workdir) / CHECKPOINTS / str(step)


def host_file(workdir: epath.PathLike, step: int) -> epath.Path:
    """The file of the JSON part of a save."""
    return save_folder(workdir, step) / HOST_ITEM / _HOST_FILE


def saved_host(workdir: epath.PathLike, step: int) -> dict[str, Any]:
    """The JSON part of a save: buffers, counters, reward state.

    Raises:
      ValueError: it is damaged, or of another step.
    """
    return _content(workdir, step)["host"]


def saved_settings(workdir: epath.PathLike, step: int) -> dict[str, Any]:
    """The settings that a save was made with; {} for a save by an earlier version. Raises as `saved_host`."""
    return _content(workdir, step).get("settings", {})


def _content(workdir: epath.PathLike, step: int) -> dict[str, Any]:
    file = host_file(workdir, step)
    content = json_object(file)
    if content.get("step") != step or not isinstance(content.get("host"), dict):
        raise ValueError(f"{file}: not the JSON part of step {step}; the save is damaged or of another version")
    return content
