"""Any save as a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp

from azr_jax.checkpoint.restoring import chosen_step
from azr_jax.checkpoint.saves import Manager
from azr_jax.model import weights
from azr_jax.model.export import origin_of
from azr_jax.model.hub import model_directory
from azr_jax.model.sharding import make_mesh, param_shardings
from azr_jax.model.transformer import abstract
from azr_jax.workdir.settings import location, read_config, reading


def export(workdir: str, out: str | Path, step: int | None = None, model: str = "", *, overwrite: bool = False) -> int:
    """Writes the weights saved at `step` (the newest by default) to `out`; returns the step.

    `model` is the directory that the run started from, for its config.json and tokenizer; by default the model.path
    that the run was given. An export of the same run and step at `out` is replaced, another one only with `overwrite`.

    Raises:
      ValueError: no run, nothing saved, no such step, a damaged save, or an `out` that holds something else.
      OSError: the model directory does not exist, or a remote workdir can't be read.
    """
    with reading(workdir):
        chosen = chosen_step(location(workdir), step)
        config = read_config(workdir, chosen)
    source = model_directory(model or config.model.path)
    model_config = weights.load_config(source)
    # The host's own memory: the machine that exports need not have the run's devices.
    mesh = make_mesh(devices=jax.local_devices(backend="cpu")[:1])
    _, shapes = abstract(model_config, dtype=jnp.float32, attention_kernel="xla")
    run = location(workdir).name
    earlier = origin_of(out)
    if earlier is not None and earlier != {"run": run, "step": chosen} and not overwrite:
        what = f"step {earlier['step']} of {earlier['run']}" if {"run", "step"} <= set(earlier) else "another model"
        raise ValueError(f"--out={out}: holds an export of {what}; choose another --out, or replace it by --overwrite")
    with Manager(workdir, keep=config.checkpoint.keep) as saves:
        restored = saves.restore_params(shapes, param_shardings(shapes, mesh, model_config), step)
        if restored is None:
            raise ValueError(f"{saves.directory}: nothing is saved there; let the run reach its first save")
    chosen, params = restored
    weights.save(out, model_config, params, source, origin={"run": run, "step": chosen})
    return chosen
