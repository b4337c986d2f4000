"""A sampler and a learner over random weights of a size: what the benchmarks run is what a training run runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from azr_jax.config import Config, from_mapping
from azr_jax.learner import remat
from azr_jax.learner.update import Learner, make_learner
from azr_jax.model.layer import INIT_STD
from azr_jax.model.sharding import leaf_name, make_mesh, param_shardings
from azr_jax.model.tokenizer import Tokenizer, load_tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.sampler.engine import Sampler
from azr_jax.speed.sizes import Size
from configs import base

_EMBEDDED = Path(__file__).resolve().parents[1] / "embedded" / "azr-tiny"


@dataclasses.dataclass(frozen=True)
class Engine:
    """One device's mesh, a model without weights, and the settings that everything is made with."""

    size: Size
    mesh: Mesh
    graphdef: Any
    shapes: Any
    config: Config
    tokenizer: Tokenizer

    @classmethod
    def make(cls, size: Size, policy: str = remat.AUTO) -> Engine:
        """Table 3's settings but for the size's lengths.

        Raises:
          ValueError: an unknown remat policy.
        """
        mesh = make_mesh(1, 1, 1, devices=jax.devices()[:1])
        config = base.get_config()
        config.update_from_flattened_dict(
            {
                "model.remat": policy,
                "model.compute_dtype": size.compute_dtype,
                "learner.logit_chunk": size.logit_chunk,
                "learner.row_tokens": size.row_tokens,
                "sampler.max_prompt_tokens": size.max_prompt_tokens,
                "sampler.max_response_tokens": size.lengths.cap,
                "learner.rows_per_microbatch": size.rows_per_microbatch,
            }
        )
        settings = remat.resolved(from_mapping(config.to_dict()), size.model, mesh)
        dtype = jnp.dtype(size.compute_dtype)
        graphdef, shapes = abstract(size.model, compute_dtype=dtype, remat=settings.model.remat, mesh=mesh)
        # Real text work on the host: the embedded tokenizer, which knows part of the ids. None of them ends a response.
        embedded = load_tokenizer(_EMBEDDED)
        vocab_size = size.model.vocab_size
        tokenizer = dataclasses.replace(embedded, eos_ids=frozenset({vocab_size}), vocab_size=vocab_size)
        return cls(size, mesh, graphdef, shapes, settings, tokenizer)

    def params(self, dtype: Any) -> Any:
        """Random weights on the mesh: matrices normal(0, 0.02), norms 1, biases 0."""
        leaves, tree = jax.tree_util.tree_flatten_with_path(self.shapes)
        shardings = jax.tree.leaves(param_shardings(self.shapes, self.mesh, self.size.model))
        made = []
        for number, ((path, leaf), sharding) in enumerate(zip(leaves, shardings, strict=True)):
            name, shape = leaf_name(path), leaf.shape

            # "rbg": the hash of jax's default generator takes six arrays of a leaf's size on a GPU.
            def draw(name: str = name, shape: tuple[int, ...] = shape, number: int = number) -> jax.Array:
                if "norm" in name or "bias" in name:
                    return jnp.full(shape, float("norm" in name), dtype)
                return INIT_STD * jax.random.normal(jax.random.key(number, impl="rbg"), shape, dtype)

            made.append(jax.jit(draw, out_shardings=sharding)())
        return jax.tree_util.tree_unflatten(tree, made)

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
        dtype = jnp.dtype(self.size.compute_dtype)
        return Sampler(self.graphdef, self.size.model, self.tokenizer, settings, self.mesh, dtype)

    def learner(self) -> Learner:
        """A learner for rows of the size's length."""
        return make_learner(self.graphdef, self.shapes, self.config.learner, self.mesh)
