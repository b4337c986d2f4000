"""The model of an evaluation: a Hugging Face directory or hub id, or a save of a run."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from azr_jax.checkpoint.restoring import chosen_step
from azr_jax.checkpoint.saves import Manager
from azr_jax.engine import Engine, open_directory
from azr_jax.model.hub import model_directory
from azr_jax.model.sharding import leaf_name
from azr_jax.workdir.files import CHECKPOINTS
from azr_jax.workdir.settings import location, read_config

_TOKENIZER = ("tokenizer*", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model ready to be sampled. `identity` names its weights: path, step, and a digest (`_digest`)."""

    engine: Engine
    params: Any
    identity: dict[str, Any]


def open_model(path: str, step: int | None, base_model: str, compute_dtype: str) -> EvaluatedModel:
    """Opens `path`: a Hugging Face directory or hub id, a run's workdir (its save at `step`, the newest by default), or
    one save.

    `base_model`: where the run's starting model is now, if elsewhere.

    Raises:
      ValueError: no such step, a damaged save or file, a step for a directory that is no run.
      FileNotFoundError: no model there, with what to do.
    """
    workdir, step = _run_of(path, step)
    if workdir is None:
        if step is not None:
            raise ValueError(f"--step={step}: {path!r} is no run's workdir; leave --step out")
        if base_model:
            raise ValueError(f"--base_model={base_model!r}: {path!r} is no run's workdir; leave --base_model out")
        source = model_directory(path)
        engine = open_directory(str(source), compute_dtype)
        params = engine.load_params()
    else:
        config = read_config(workdir, chosen_step(location(workdir), step))
        source = model_directory(base_model or config.model.path)
        engine = open_directory(str(source), compute_dtype)
        with Manager(workdir, keep=config.checkpoint.keep) as saves:
            restored = saves.restore_params(engine.shapes, engine.shardings, step)
        if restored is None:
            raise ValueError(f"{workdir}: nothing is saved there; let the run reach its first save")
        step, params = restored
        path = str(workdir)
    identity = {"path": path, "step": step, "digest": _digest(source, engine, params)}
    return EvaluatedModel(engine, params, identity)


def _run_of(path: str, step: int | None) -> tuple[Path | None, int | None]:
    """(workdir, step) of a workdir or one save; (None, step) of anything else."""
    folder = Path(path).absolute()
    is_save = folder.parent.name == CHECKPOINTS and folder.name.isdecimal()
    # Other trainers name their Hugging Face directories in this way too.
    if is_save and not (folder / "config.json").is_file():
        if step is not None:
            raise ValueError(f"--step={step}: {path!r} is the save of step {folder.name} already; leave --step out")
        return folder.parents[1], int(folder.name)
    return (Path(path) if (Path(path) / CHECKPOINTS).is_dir() else None), step


def _digest(source: Path, engine: Engine, params: Any) -> str:
    """16 hexadecimal digits over all that answers depend on: sizes and end tokens, tokenizer files, and the weights.

    A save and its export give the same if the export keeps float32.
    """
    digest = hashlib.sha256(repr(engine.model_config).encode())
    for file in sorted({file for pattern in _TOKENIZER for file in source.glob(pattern) if file.is_file()}):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for name, leaf in sorted((leaf_name(place), leaf) for place, leaf in jax.tree_util.tree_leaves_with_path(params)):
        digest.update(name.encode() + b"\0")
        digest.update(np.ascontiguousarray(jax.device_get(leaf)).data)
    return digest.hexdigest()[:16]
