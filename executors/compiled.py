"""The folders of parts that are compiled on this machine, and of private interpreters."""

from __future__ import annotations

import os
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent


def folder(name: str) -> Path:
    """The folder `name`: below .setup of a checkout, else below the user's cache (XDG_CACHE_HOME or ~/.cache)."""
    if (_REPOSITORY / "pyproject.toml").is_file():
        return _REPOSITORY / ".setup" / name
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "azr_jax" / name
