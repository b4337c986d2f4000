"""A tiny random model, a tokenizer of its size and a naive reference for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from flax import nnx

from azr_jax.config import SamplerSettings
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.tokenizer import Tokenizer
from azr_jax.model.transformer import Transformer
from azr_jax.sampler.engine import Sampler

CONFIG = ModelConfig(
    vocab_size=96, embed_dim=32, ffn_dim=64, layers=2, heads=4, kv_heads=2, head_dim=8, max_positions=512
)
SETTINGS = SamplerSettings(
    max_prompt_tokens=48,
    max_response_tokens=64,
    temperature=1.0,
    eval_temperature=0.0,
    top_p=1.0,
    top_k=0,
    slots=4,
    chunk=8,
    prefill_tokens=256,
)


def make_tokenizer(eos_ids: frozenset[int] = frozenset({0})) -> Tokenizer:
    """Token i is the character chr(32 + i); the decoder joins without spaces."""
    vocab = {chr(32 + i): i for i in range(CONFIG.vocab_size)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    backend.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(backend=backend, eos_ids=eos_ids, pad_id=0, vocab_size=CONFIG.vocab_size)


@dataclasses.dataclass(frozen=True)
class World:
    """Weights (scaled up, so that distributions are far from uniform) and samplers over them."""

    graphdef: Any
    params: Any
    cache: dict[Any, Sampler]

    def sampler(self, eos_ids: frozenset[int] = frozenset({0}), **overrides: Any) -> Sampler:
        """One compiled sampler for each set of settings."""
        name = (eos_ids, tuple(sorted(overrides.items())))
        if name not in self.cache:
            settings = dataclasses.replace(SETTINGS, **overrides)
            self.cache[name] = Sampler(self.graphdef, CONFIG, make_tokenizer(eos_ids), settings, None, jnp.float32)
        return self.cache[name]

    def logits(self, token_ids: tuple[int, ...]) -> np.ndarray:
        """float32 [T, V] by one full forward pass."""
        return _forward(self.graphdef)(self.params, token_ids)


def _forward(graphdef: Any) -> Callable[..., np.ndarray]:
    def run(params: Any, token_ids: tuple[int, ...]) -> np.ndarray:
        T = 128
        tokens = np.zeros((1, T), np.int32)
        tokens[0, : len(token_ids)] = token_ids
        segments = (np.arange(T) < len(token_ids)).astype(np.int32)[None]
        logits = _jitted(graphdef)(params, tokens, np.arange(T, dtype=np.int32)[None], segments)
        return np.asarray(logits)[0, : len(token_ids)]

    return run


_JITTED: dict[int, Any] = {}


def _jitted(graphdef: Any) -> Any:
    if id(graphdef) not in _JITTED:

        def forward(params: Any, *inputs: jax.Array) -> jax.Array:
            model = nnx.merge(graphdef, params)
            return model.logits(model.hidden(*inputs))

        _JITTED[id(graphdef)] = jax.jit(forward)
    return _JITTED[id(graphdef)]


def make_world() -> World:
    graphdef, params = nnx.split(Transformer(CONFIG, rngs=nnx.Rngs(7), compute_dtype=jnp.float32))
    return World(graphdef, jax.tree.map(lambda weight: weight * 6 if weight.ndim > 1 else weight, params), {})


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()
