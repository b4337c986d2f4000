"""Any save as a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp

from azr_jax.checkpoint.saves import Manager
from azr_jax.config import located
from azr_jax.model import weights
from azr_jax.model.sharding import make_mesh, param_shardings
from azr_jax.model.transformer import abstract
from azr_jax.workdir.settings import read_config


def export(workdir: str, out: str | Path, step: int | None = None, model: str = "") -> int:
    """Writes the weights saved at `step` (the newest by default) to `out`; gives the step.

    `model` is the directory that the run started from, for its config.json and tokenizer; by default the model.path
    that the run was given.

    Raises:
      ValueError: no run, nothing saved, no such step, a damaged save, or an `out` that holds something else.
      FileNotFoundError: the model directory is not there.
    """
    config = read_config(workdir)
    source = model or located(config.model.path)
    model_config = weights.load_config(source)
    # The host's own memory: the machine that exports need not have the run's devices.
    mesh = make_mesh(devices=jax.local_devices(backend="cpu")[:1])
    _, shapes = abstract(model_config, dtype=jnp.float32, attention_kernel="xla")
    with Manager(workdir, keep=config.checkpoint.keep) as saves:
        restored = saves.restore_params(shapes, param_shardings(shapes, mesh, model_config), step)
        if restored is None:
            raise ValueError(f"{saves.directory}: nothing is saved there; let the run reach its first save")
    chosen, params = restored
    weights.save(out, model_config, params, source)
    return chosen
