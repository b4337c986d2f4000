"""Decoding on TPU with the paged attention kernel that comes with jax: a row's keys are read up to its position.

A slot of the cache is a run of pages, so that the buffers [slots, K, S, H] are the kernel's pages, not copied: (slot,
key head) pairs are its sequences, with one key head each.
"""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.paged_attention import paged_attention
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from azr_jax.model.sharding import RULES

PAGE = 512  # positions that the kernel reads at a time: 128 KiB of keys at H = 128
_LANES = 128


def supports(head_dim: int) -> bool:
    """Whether the kernel takes heads of this size."""
    return head_dim % _LANES == 0


def one_query(
    query_BNH: jax.Array, key_BKSH: jax.Array, value_BKSH: jax.Array, positions_B: jax.Array, mesh: Mesh | None
) -> jax.Array:
    """One query a row against keys 0 .. positions_B; BNH. A position outside the cache (a row that has ended) gives 0.

    S must be a multiple of PAGE. Scores and softmax are float32; keys, values and the softmax's weights are bfloat16.
    With several queries a row, [B, T, N, H] and [B, T], each is a sequence of the kernel's on the same pages.
    """
    if query_BNH.ndim == 4:
        B, T, N, H = query_BNH.shape
        flat = query_BNH.reshape(B * T, N, H)
        return one_query(flat, key_BKSH, value_BKSH, positions_B.reshape(B * T), mesh).reshape(B, T, N, H)
    if mesh is None:
        return _local(query_BNH, key_BKSH, value_BKSH, positions_B)
    batch, heads, kv_heads = RULES["batch"], RULES["heads"], RULES["kv_heads"]
    cache = P(batch, kv_heads, None, None)
    return jax.shard_map(
        _local,
        mesh=mesh,
        in_specs=(P(batch, heads, None), cache, cache, P(batch)),
        out_specs=P(batch, heads, None),
        check_vma=False,
    )(query_BNH, key_BKSH, value_BKSH, positions_B)


def _local(query_BNH: jax.Array, key_BKSH: jax.Array, value_BKSH: jax.Array, positions_B: jax.Array) -> jax.Array:
    B, N, H = query_BNH.shape
    slots, K, S = key_BKSH.shape[:3]
    pages = S // PAGE
    lengths_B = jnp.where(positions_B < S, positions_B + 1, 0).astype(jnp.int32)
    indices = jnp.arange(slots * K * pages, dtype=jnp.int32).reshape(slots, K * pages)
    if B > slots:
        indices = jnp.repeat(indices, B // slots, axis=0)
    indices = indices.reshape(B * K, pages)

    def paged(array_BKSH: jax.Array) -> jax.Array:
        return array_BKSH.reshape(1, slots * K * pages, PAGE, H)

    # float32 queries make the kernel keep its running output in float32; it computes the scores in it anyway.
    query = query_BNH.reshape(B * K, N // K, H).astype(jnp.float32) * H**-0.5
    attend: Any = paged_attention
    out = attend(
        query, paged(key_BKSH), paged(value_BKSH), jnp.repeat(lengths_B, K), indices, pages_per_compute_block=1
    )
    return cast(jax.Array, out).reshape(B, N, H).astype(query_BNH.dtype)
