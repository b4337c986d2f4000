"""A tiny random model, a tokenizer of its size and a naive reference for it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers
from flax import nnx

from azr_jax.config import SamplerSettings
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import leaf_name
from azr_jax.model.tokenizer import Tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request

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
    draft_rows=0,
    draft_tokens=3,
    stop=(),
)


def make_tokenizer(eos_ids: frozenset[int] = frozenset({0})) -> Tokenizer:
    """Token i is the character chr(32 + i); the decoder joins without spaces."""
    vocab = {chr(32 + i): i for i in range(CONFIG.vocab_size)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    backend.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(backend=backend, eos_ids=eos_ids, pad_id=0, vocab_size=CONFIG.vocab_size)


def prompt(seed: int, tokens: int) -> tuple[int, ...]:
    return tuple(int(token) for token in np.random.default_rng(seed).integers(1, 95, tokens))


def tiny_requests(count: int = 9, temperature: float = 1.0, max_tokens: int = 20) -> list[Request]:
    """Prompts of 3, 8, 13, ... tokens, answers of `max_tokens`, `max_tokens` + 1, ..."""
    return [Request(f"r{i}", prompt(i, 3 + 5 * i), max_tokens + i, temperature) for i in range(count)]


def greedy_and_random_requests() -> list[Request]:
    """The requests twice, at temperature 0 and at 1."""
    greedy = [dataclasses.replace(request, id=f"greedy {request.id}") for request in tiny_requests(temperature=0.0)]
    return [*greedy, *tiny_requests()]


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

    def logits(self, token_ids: tuple[int, ...], T: int = 128) -> np.ndarray:
        """float32 [tokens, V] by one full forward pass of a row of T."""
        tokens_1T = np.zeros((1, T), np.int32)
        tokens_1T[0, : len(token_ids)] = token_ids
        positions_1T = np.arange(T, dtype=np.int32)[None]
        segment_ids_1T = (positions_1T < len(token_ids)).astype(np.int32)
        logits_1TV = _jitted(self.graphdef)(self.params, tokens_1T, positions_1T, segment_ids_1T)
        return np.asarray(logits_1TV)[0, : len(token_ids)]


@functools.lru_cache
def _jitted(graphdef: Any) -> Any:
    def forward(params: Any, *inputs: jax.Array) -> jax.Array:
        model = nnx.merge(graphdef, params)
        return model.logits(model.hidden(*inputs))

    return jax.jit(forward)


def make_world() -> World:
    """Weights from NumPy (compiling their initialisers would take longer than the tests)."""
    graphdef, shapes = abstract(CONFIG, compute_dtype=jnp.float32)
    rng = np.random.default_rng(7)

    def weight(path: Any, leaf: Any) -> jax.Array:
        center, spread = (1.0, 0.1) if "norm" in leaf_name(path) else (0.0, 0.25)
        return jnp.asarray(rng.normal(center, spread, leaf.shape), jnp.float32)

    params = jax.tree_util.tree_map_with_path(weight, shapes)
    return World(graphdef, params, {})
