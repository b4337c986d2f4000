"""cuDNN's fused attention on NVIDIA GPUs: packed rows for training and prefill, one query a row for decoding.

Packed rows need the offsets of their segments, which jax.nn.dot_product_attention does not take (jax 0.10.2 to 0.11.2);
the function under it does (jax/_src/cudnn/fused_attention_stablehlo.py). The alternatives cost more: a mask [T, T] is
411 MB at 14,336 tokens and computes every pair of segments; one sequence a row pads a sixth of the tokens and compiles
a program for each length. It needs a GPU of compute capability 9.0 or above (H100).
"""

from __future__ import annotations

import functools
from typing import cast

import jax
import jax.numpy as jnp
from jax._src.cudnn import fused_attention_stablehlo as fused

# The kernel is launched for this many segments a row, present or not. Packing puts no more into a row.
MOST_SEGMENTS = 32
LEAST_CAPABILITY = 9.0  # of a GPU, for packed rows
# Before this version offsets of keys are scaled by the number of query heads: wrong, silently, with fewer key heads
# (https://github.com/jax-ml/jax/pull/39521). Keys and values are repeated there to as many heads as queries.
_GROUPED_OFFSETS = (0, 11, 2)


def packed(query_BTNH: jax.Array, key_BSKH: jax.Array, value_BSKH: jax.Array, segment_ids_BT: jax.Array) -> jax.Array:
    """Causal attention within segments, BTNH in the query's dtype; 0 where the segment id is 0.

    Computed in bfloat16 with float32 softmax. Each segment is a run of equal ids, which count from 1 in each row and
    go to MOST_SEGMENTS at most; segments past that are not attended to and give 0.
    """
    N, K, H = query_BTNH.shape[2], key_BSKH.shape[2], query_BTNH.shape[3]
    starts_BM, lengths_BM = segments(segment_ids_BT)
    offsets_BM1 = jnp.pad(starts_BM, ((0, 0), (0, 1)), constant_values=-1)
    # Outside the segments the kernel writes neither outputs nor gradients: they hold old memory, possibly NaN.
    # A select, unlike a product, keeps that out of the forward and the backward pass.
    real_BT11 = ((segment_ids_BT > 0) & (segment_ids_BT <= MOST_SEGMENTS))[:, :, None, None]
    query, key, value = (
        jnp.where(real_BT11, array.astype(jnp.bfloat16), jnp.bfloat16(0))
        for array in (query_BTNH, key_BSKH, value_BSKH)
    )
    if K != N and jax.__version_info__ < _GROUPED_OFFSETS:
        key, value = (jnp.repeat(array, N // K, axis=2) for array in (key, value))
    out_BTNH = fused.dot_product_attention(
        query,
        key,
        value,
        q_seqlen=lengths_BM,
        kv_seqlen=lengths_BM,
        q_offsets=offsets_BM1,
        kv_offsets=offsets_BM1,
        scale=H**-0.5,
        mask_type=fused.MaskType.PADDING_CAUSAL,
    )
    return jnp.where(real_BT11, cast(jax.Array, out_BTNH), jnp.bfloat16(0)).astype(query_BTNH.dtype)


def segments(segment_ids_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(starts_BM, lengths_BM) int32 tokens of each row's segments 1 .. M = MOST_SEGMENTS; -1 if there is none."""
    ids_M = jnp.arange(1, MOST_SEGMENTS + 1, dtype=jnp.int32)
    member_BTM = segment_ids_BT[:, :, None] == ids_M
    lengths_BM = member_BTM.sum(axis=1, dtype=jnp.int32)
    starts_BM = jnp.argmax(member_BTM, axis=1).astype(jnp.int32)
    absent_BM = lengths_BM == 0
    return jnp.where(absent_BM, -1, starts_BM), jnp.where(absent_BM, -1, lengths_BM)


def one_query(query_BNH: jax.Array, key_BSKH: jax.Array, value_BSKH: jax.Array, positions_B: jax.Array) -> jax.Array:
    """One query a row against keys 0 .. positions_B; cuDNN reads only these. BNH.

    A position outside the cache (a row that has ended) reads one key and gives a finite value.
    """
    S = key_BSKH.shape[1]
    lengths_B = jnp.where(positions_B < S, positions_B + 1, 1).astype(jnp.int32)
    attend = functools.partial(jax.nn.dot_product_attention, implementation="cudnn", key_value_seq_lengths=lengths_B)
    return attend(query_BNH[:, None].astype(key_BSKH.dtype), key_BSKH, value_BSKH)[:, 0].astype(query_BNH.dtype)
