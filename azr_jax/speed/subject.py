"""The engine of the speed commands: a training run's, over random weights of a size or a model's weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from azr_jax import engine
from azr_jax.config import Config, from_mapping
from azr_jax.engine import Engine
from azr_jax.learner.update import Learner
from azr_jax.model.layer import INIT_STD
from azr_jax.model.sharding import leaf_name
from azr_jax.model.tokenizer import load_tokenizer
from azr_jax.sampler.engine import Sampler
from azr_jax.speed.sizes import Size
from configs import base

_EMBEDDED = Path(__file__).resolve().parents[1] / "embedded" / "azr-tiny"


@dataclasses.dataclass(frozen=True)
class Subject:
    """An engine on one device, the settings of its learner and sampler, and the lengths that are measured."""

    size: Size
    config: Config
    engine: Engine

    def params(self, dtype: Any) -> Any:
        """The model's own weights, or random ones: matrices normal(0, 0.02), norms 1, biases 0."""
        shardings = self.engine.shardings
        if self.size.path:
            params = self.engine.load_params()
            return jax.tree.map(lambda leaf, place: jax.device_put(leaf.astype(dtype), place), params, shardings)
        leaves, tree = jax.tree_util.tree_flatten_with_path(self.engine.shapes)
        arrays = []
        for number, ((path, leaf), sharding) in enumerate(zip(leaves, jax.tree.leaves(shardings), strict=True)):
            name, shape = leaf_name(path), leaf.shape

            # "rbg": the hash of jax's default generator takes six arrays of a leaf's size on a GPU.
            def draw(name: str = name, shape: tuple[int, ...] = shape, number: int = number) -> jax.Array:
                if "norm" in name or "bias" in name:
                    return jnp.full(shape, float("norm" in name), dtype)
                return INIT_STD * jax.random.normal(jax.random.key(number, impl="rbg"), shape, dtype)

            arrays.append(jax.jit(draw, out_shardings=sharding)())
        return jax.tree_util.tree_unflatten(tree, arrays)

    def sampler(self, max_prompt_tokens: int, max_response_tokens: int, slots: int = 0) -> Sampler:
        """A sampler for prompts and responses of up to these lengths."""
        settings = dataclasses.replace(
            self.config.sampler,
            max_prompt_tokens=max_prompt_tokens,
            max_response_tokens=max_response_tokens,
            slots=slots,
            chunk=self.size.chunk,
            prefill_tokens=max(self.size.prefill_tokens, max_prompt_tokens),
        )
        return self.engine.sampler(settings)

    def learner(self) -> Learner:
        """A learner for rows of the size's length."""
        return self.engine.learner(self.config)


def of_size(size: Size, policy: str) -> Subject:
    """Table 3's settings, with the size's lengths and this recompute policy.

    Raises:
      ValueError: an unknown recompute policy, a directory that holds no model.
    """
    mapping = base.get_config()
    mapping.update_from_flattened_dict(
        {
            "model.path": size.path or str(_EMBEDDED),
            "model.remat": policy,
            "model.compute_dtype": size.compute_dtype,
            "sampler.max_prompt_tokens": size.max_prompt_tokens,
            "sampler.max_response_tokens": size.lengths.cap,
            "learner.logit_chunk": size.logit_chunk,
            "learner.row_tokens": size.row_tokens,
            "learner.rows_per_microbatch": size.rows_per_microbatch,
        }
    )
    config = from_mapping(mapping.to_dict())
    # A real tokenizer, for the host's work on text: it may know only part of the ids. None of them ends a response.
    vocab_size = size.model.vocab_size
    known = load_tokenizer(size.path or _EMBEDDED)
    tokenizer = dataclasses.replace(known, eos_ids=frozenset({vocab_size}), vocab_size=vocab_size)
    described = engine.describe_engine(config, size.model, jax.devices()[:1], tokenizer=tokenizer)
    return Subject(size, config, dataclasses.replace(described, source=size.path))
