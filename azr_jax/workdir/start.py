"""How a run was last started: command line and commit, kept in the workdir for the report. No jax."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import shlex
import subprocess
import sys
from pathlib import Path

from etils import epath

from azr_jax.workdir import atomic
from azr_jax.workdir.files import START_FILE

_PACKAGE = Path(__file__).resolve().parents[1]


def write(workdir: epath.Path) -> None:
    """Writes start.json: command, commit, time."""
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    fields = {"command": command(), "commit": commit(), "started": started}
    atomic.write(workdir / START_FILE, json.dumps(fields, indent=2) + "\n")


def command() -> str:
    """The command of this process, to be pasted into a shell."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = ["python", "-m", spec.name.removesuffix(".__main__")] if spec is not None else [sys.argv[0]]
    return shlex.join([*program, *sys.argv[1:]])


def commit() -> str:
    """The commit of this code, marked if files differ from it; for an installed package its version."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return f"{head}, with changes" if _git("status", "--porcelain", "--untracked-files=no", ".") else head
    except (OSError, subprocess.SubprocessError):
        return f"version {_version()}"


def _version() -> str:
    try:
        return importlib.metadata.version("azr_jax")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git(*words: str) -> str:
    # If the package is in another project's tree, that tree's commit is not this code's.
    line = ["git", "-C", str(_PACKAGE), *words]
    if words[0] == "rev-parse":
        tracked = ["git", "-C", str(_PACKAGE), "ls-files", "--error-unmatch", "__init__.py"]
        subprocess.run(tracked, capture_output=True, check=True, timeout=10)
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
