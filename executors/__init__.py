"""Runs programs of untrusted text in contained processes: `Pool`, `Job`, `Verdict`, and the languages.

Imports nothing of azr_jax and never jax. What is named here is imported when it is first used, so that importing the
package costs nothing. `LANGUAGES` is found from the files of this package that bind LANGUAGE; `load_languages` reads a
user's directory in the same way.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from executors import interruption

if TYPE_CHECKING:
    from executors.discovery import load_languages
    from executors.jobs import Job, JobKind, Limits, Status, Verdict
    from executors.language import Interpreter, Language
    from executors.pool import Pool

    LANGUAGES: dict[str, Language]

__all__ = [
    "LANGUAGES",
    "Interpreter",
    "Job",
    "JobKind",
    "Language",
    "Limits",
    "Pool",
    "Status",
    "Verdict",
    "load_languages",
]

_HOME = {
    "Interpreter": "language",
    "Job": "jobs",
    "JobKind": "jobs",
    "Language": "language",
    "Limits": "jobs",
    "Pool": "pool",
    "Status": "jobs",
    "Verdict": "jobs",
    "load_languages": "discovery",
}

interruption.expect()


def __getattr__(name: str) -> object:
    if name == "LANGUAGES":
        value = importlib.import_module("executors.discovery").own_languages()
    elif name in _HOME:
        value = getattr(importlib.import_module(f"executors.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module 'executors' has no attribute {name!r}")
    globals()[name] = value
    return value
