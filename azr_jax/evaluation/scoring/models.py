"""What an evaluation samples from: a Hugging Face directory, or a save of a run."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from azr_jax.checkpoint import export
from azr_jax.config import SamplerSettings
from azr_jax.model import sharding, weights
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.tokenizer import Tokenizer, load_tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.sampler.engine import Sampler
from azr_jax.workdir.files import CHECKPOINTS

_ALSO = ("generation_config.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """A model ready to be sampled. `identity` names its weights: path, step, and a digest of config and weights."""

    config: ModelConfig
    params: Any
    tokenizer: Tokenizer
    mesh: Any
    identity: dict[str, Any]


def load(path: str, step: int | None = None, source: str = "") -> Served:
    """Loads `path`: a Hugging Face directory, a run's workdir (its save at `step`, the newest by default), or one save.

    `source`: where the run's starting model lies now, if elsewhere.

    Raises:
      ValueError: no such step, a damaged save or file, a step for a directory that is no run.
      FileNotFoundError: no model there, with what to do.
    """
    folder = Path(path).absolute()
    is_save = folder.parent.name == CHECKPOINTS and folder.name.isdecimal()
    # Other trainers name their Hugging Face directories so too.
    if is_save and not (folder / "config.json").is_file():
        if step is not None:
            raise ValueError(f"--step={step}: {path!r} is the save of step {folder.name} already; leave --step out")
        path, step = str(folder.parents[1]), int(folder.name)
    if not (Path(path) / CHECKPOINTS).is_dir():
        if step is not None:
            raise ValueError(f"--step={step}: {path!r} is no run's workdir; leave --step out")
        if source:
            raise ValueError(f"--base_model={source!r}: {path!r} is no run's workdir; leave --base_model out")
        return _load(path, {"path": path, "step": None})
    with tempfile.TemporaryDirectory(prefix="azr_evaluation_") as exported:
        chosen = export.export(path, exported, step, source)
        return _load(exported, {"path": path, "step": chosen})


def _load(folder: str, identity: dict[str, Any]) -> Served:
    mesh = sharding.make_mesh(1, -1, 1)
    config, params = weights.load(folder, mesh, jnp.float32)
    tokenizer = load_tokenizer(folder, config)
    return Served(config, params, tokenizer, mesh, {**identity, "digest": _digest(Path(folder))})


def _digest(folder: Path) -> str:
    """16 hexadecimal digits over the files that make the model: weights, tokenizer of either form, end tokens."""
    digest = hashlib.sha256()
    patterns = ("*.safetensors", "config.json", "tokenizer*", *_ALSO)
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file()):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def make_sampler(served: Served, settings: SamplerSettings, compute_dtype: str) -> Sampler:
    """The sampler. Raises ValueError for lengths beyond the model's positions."""
    dtype = jnp.dtype(compute_dtype)
    graphdef, _ = abstract(served.config, compute_dtype=dtype, attention_kernel="auto", mesh=served.mesh)
    return Sampler(graphdef, served.config, served.tokenizer, settings, served.mesh, dtype)
