"""The folders of parts that are compiled on this machine, and of private interpreters."""

from __future__ import annotations

import os
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent


def folder(name: str) -> Path:
    """The folder `name`: below .setup of a checkout, else below `user_cache`."""
    if (_REPOSITORY / "pyproject.toml").is_file():
        return _REPOSITORY / ".setup" / name
    return user_cache() / name


def user_cache() -> Path:
    """The project's folder in the user's cache (XDG_CACHE_HOME or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azr_jax"
