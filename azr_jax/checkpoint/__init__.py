"""Saves of a run: one atomic Orbax composite a step, the workdir's settings, and the export of any save.

Layout: WORKDIR/config.json (of the last start), WORKDIR/checkpoints/STEP (each with the settings that made it).
`python -m azr_jax.checkpoint export` makes a Hugging Face directory of a save. Names are imported when they are first
used: jax and Orbax take seconds, and --help needs neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azr_jax.checkpoint.saves import Manager
    from azr_jax.workdir.opening import held, note_start, open_on_all_hosts, open_workdir
    from azr_jax.workdir.settings import read_config

__all__ = ["Manager", "held", "note_start", "open_on_all_hosts", "open_workdir", "read_config"]

_HOME = {
    "Manager": "azr_jax.checkpoint.saves",
    "held": "azr_jax.workdir.opening",
    "note_start": "azr_jax.workdir.opening",
    "open_on_all_hosts": "azr_jax.workdir.opening",
    "open_workdir": "azr_jax.workdir.opening",
    "read_config": "azr_jax.workdir.settings",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
