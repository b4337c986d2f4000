"""Saves of a run: one atomic Orbax composite a step, the workdir's settings, and the export of any save.

Layout: WORKDIR/config.json, WORKDIR/checkpoints/STEP. `python -m azr_jax.checkpoint export` makes a Hugging Face
directory of one.
"""

from azr_jax.checkpoint.saves import Manager
from azr_jax.workdir.opening import held, open_on_all_hosts, open_workdir
from azr_jax.workdir.settings import read_config

__all__ = ["Manager", "held", "open_on_all_hosts", "open_workdir", "read_config"]
