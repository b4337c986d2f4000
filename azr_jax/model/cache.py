"""The key-value cache of the decoder: fixed slots of fixed length, one buffer for keys and one for values."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import cache_sharding, check_batch, check_divisible


@flax.struct.dataclass
class KVCache:
    """Keys and values, each [L, slots, K, T, H]."""

    k: jax.Array
    v: jax.Array


def init_cache(
    config: ModelConfig, slots: int, length: int, dtype: Any = jnp.bfloat16, mesh: Mesh | None = None
) -> KVCache:
    """An empty cache of `slots` rows of `length` tokens; with a mesh, slots over data and fsdp, heads over tensor.

    Raises:
      ValueError: slots or kv_heads that the mesh does not divide.
    """
    shape = (config.layers, slots, config.kv_heads, length, config.head_dim)
    if mesh is None:
        return KVCache(k=jnp.zeros(shape, dtype), v=jnp.zeros(shape, dtype))
    check_divisible(config, mesh)
    check_batch(slots, mesh, "slots")
    sharding = cache_sharding(mesh)
    return KVCache(k=jnp.zeros(shape, dtype, device=sharding), v=jnp.zeros(shape, dtype, device=sharding))


def insert(cache: KVCache, key_LBTKH: jax.Array, value_LBTKH: jax.Array, slots_B: jax.Array) -> KVCache:
    """Copies prefilled rows to positions 0 .. T - 1 of the slots `slots_B`; in place when the cache is donated.

    T is at most the cache's length. A slot number outside the cache (pad rows: the number of slots) is dropped.
    Keys past a row's own prompt may be anything: decoding overwrites each before it reads it.
    """
    T = key_LBTKH.shape[2]

    def copy(buffer: jax.Array, rows_LBTKH: jax.Array) -> jax.Array:
        rows_LBKTH = jnp.swapaxes(rows_LBTKH, 2, 3).astype(buffer.dtype)
        return buffer.at[:, slots_B, :, :T].set(rows_LBKTH, mode="drop")

    return KVCache(k=copy(cache.k, key_LBTKH), v=copy(cache.v, value_LBTKH))
