"""Attention with grouped queries: one interface, and the one place that chooses the kernel.

Training and prefill: `attend`, causal within equal segment ids. Decoding: `attend_cache`, one query a row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from azr_jax.model import cudnn_attention, paged_attention
from azr_jax.model.sharding import RULES

# Finite, so that a row with no visible key gives an average and not NaN.
MASKED = -0.7 * float(np.finfo(np.float32).max)
RESIDUAL_NAME = "attention"
_SPLASH_LANES = 128
_WHOLE_SCORES = 2048
_QUERY_CHUNK = 512
_BLOCKS, _LEAST_BLOCK = 4, 128  # of queries: four score five eighths of the pairs, and more blocks hardly fewer
_CACHE_LAYOUTS = {"cudnn": ("BSKH", "BSKH"), "xla_keys_last": ("BKHS", "BKSH")}

# The backward pass needs this kernel's output and statistics, which can't be given a checkpoint name from outside.
_KERNEL_PRIMITIVE = "dot_product_attention_fwd_wrapper"

Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def choose(implementation: str, mesh: Mesh | None) -> str:
    """Resolves "auto" to "splash" on TPU, "cudnn" on GPUs from the H100 on and "xla" elsewhere, by the mesh's devices.

    Raises:
      ValueError: a name that is not in KERNELS, or a kernel that the platform does not have.
    """
    device = mesh.devices.flat[0] if mesh is not None else jax.devices()[0]
    platform = device.platform
    if implementation == "auto":
        if platform in ("gpu", "cuda") and float(device.compute_capability) < cudnn_attention.LEAST_CAPABILITY:
            logging.warning(
                "attention: %s has no kernel for packed rows, which need an H100; plain XLA is used", device
            )
            return "xla"
        return {"tpu": "splash", "gpu": "cudnn", "cuda": "cudnn"}.get(platform, "xla")
    if implementation not in KERNELS:
        raise ValueError(f"attention={implementation!r} is unknown; choose one of {['auto', *KERNELS]}")
    if implementation == "cudnn" and platform not in ("gpu", "cuda"):
        raise ValueError(f"attention='cudnn' needs a GPU, the devices are {platform!r}: set attention='auto'")
    return implementation


def kept(*names: str) -> Callable[..., Any]:
    """A remat policy that keeps arrays of these checkpoint names and attention kernels' outputs (RESIDUAL_NAME)."""
    named = jax.checkpoint_policies.save_only_these_names(RESIDUAL_NAME, *names)

    def policy(primitive: Any, *arguments: Any, **parameters: Any) -> Any:
        return primitive.name == _KERNEL_PRIMITIVE or named(primitive, *arguments, **parameters)

    return policy


def attend(
    query_BTNH: jax.Array,
    key_BSKH: jax.Array,
    value_BSKH: jax.Array,
    segment_ids_BT: jax.Array,
    implementation: str,
    mesh: Mesh | None = None,
) -> jax.Array:
    """Causal self-attention within equal segment ids (T = S), scaled by H ** -0.5; float32 softmax. Returns BTNH."""
    return KERNELS[implementation](query_BTNH, key_BSKH, value_BSKH, segment_ids_BT, mesh)


def within_segments(
    segment_ids_BT: jax.Array, implementation: str, mesh: Mesh | None
) -> Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, tuple[jax.Array, jax.Array]]]:
    """`attend` as `layer.decoder_layer` takes it; it also returns the keys and values [B, T, K, H]."""

    def attend_rows(query_BTNH: jax.Array, key_BTKH: jax.Array, value_BTKH: jax.Array) -> Any:
        attended_BTNH = attend(query_BTNH, key_BTKH, value_BTKH, segment_ids_BT, implementation, mesh)
        return attended_BTNH, (key_BTKH, value_BTKH)

    return attend_rows


def cache_layouts(implementation: str) -> tuple[str, str]:
    """The axis order of a cache's keys and of its values for an implementation of `attend_cache`, one letter an axis.

    B slots, S positions, K key-value heads, H head size.
    """
    return _CACHE_LAYOUTS.get(implementation, ("BKSH", "BKSH"))


def attend_cache(
    query_BNH: jax.Array,
    key: jax.Array,
    value: jax.Array,
    positions_B: jax.Array,
    implementation: str = "xla",
    mesh: Mesh | None = None,
) -> jax.Array:
    """One query a row against cached keys 0 .. positions_B (inclusive). Returns BNH.

    With several queries a row, [B, T, N, H] and positions [B, T], each is computed as one would be alone: to the bit.
    `key` and `value` have the axis order that `cache_layouts` gives; the step is bound by reading them. On one H100 a
    decode loop with the einsum took 4.5 ms per step at 64 slots x 768 and 8.4 at 128 x 2,048; cuDNN, which reads a
    row's keys no further than its position, took 4.2 and 7.3. On TPU "paged" does likewise. On two CPU cores the scores
    of 16 rows of 1,024 positions took 71 ms for 30 layers, and 24 with "xla_keys_last".
    """
    if implementation == "paged":
        return paged_attention.one_query(query_BNH, key, value, positions_B, mesh)
    if query_BNH.ndim == 4:
        alone = [
            attend_cache(query_BNH[:, t], key, value, positions_B[:, t], implementation, mesh)
            for t in range(query_BNH.shape[1])
        ]
        return jnp.stack(alone, axis=1)
    if implementation == "cudnn":
        return cudnn_attention.one_query(query_BNH, key, value, positions_B)
    B, N, H = query_BNH.shape
    K, S = value.shape[1:3]
    query_BKGH = query_BNH.reshape(B, K, N // K, H)
    keys, _ = cache_layouts(implementation)
    scores_BKGS = jnp.einsum(f"BKGH,{keys}->BKGS", query_BKGH, key, preferred_element_type=jnp.float32) * H**-0.5
    visible_BS = jnp.arange(S, dtype=jnp.int32)[None, :] <= positions_B[:, None]
    scores_BKGS = jnp.where(visible_BS[:, None, None, :], scores_BKGS, MASKED)
    weights_BKGS = jax.nn.softmax(scores_BKGS, axis=-1).astype(value.dtype)
    return jnp.einsum("BKGS,BKSH->BKGH", weights_BKGS, value).reshape(B, N, H)


def _xla(
    query_BTNH: jax.Array, key_BSKH: jax.Array, value_BSKH: jax.Array, segment_ids_BT: jax.Array, mesh: Mesh | None
) -> jax.Array:
    """The reference: queries in up to four blocks, each against the keys up to its end, so not all that none sees.

    Scores of [B, N, T / 4, S] exist up to T = 2,048; of longer rows 512 queries are scored at a time.
    """
    del mesh
    T = query_BTNH.shape[1]
    size = max(_LEAST_BLOCK, -(-T // _BLOCKS))
    if T > _WHOLE_SCORES:
        size += -size % _QUERY_CHUNK
    outputs = []
    for start in range(0, T, size):
        end = min(start + size, T)
        block = (query_BTNH[:, start:end], segment_ids_BT[:, start:end], jnp.arange(start, end, dtype=jnp.int32))
        keys = (key_BSKH[:, :end], value_BSKH[:, :end], segment_ids_BT[:, :end])
        outputs.append(_scored(*block, *keys) if T <= _WHOLE_SCORES else _scored_in_chunks(*block, *keys))
    return checkpoint_name(jnp.concatenate(outputs, axis=1), RESIDUAL_NAME)


def _scored_in_chunks(query_BTNH: jax.Array, ids_BT: jax.Array, positions_T: jax.Array, *keys: jax.Array) -> jax.Array:
    """`_scored`, some queries at a time."""
    T = query_BTNH.shape[1]
    pad = -T % _QUERY_CHUNK

    # C chunks of c queries; the scanned axis leads.
    def chunks(array: jax.Array, axis: int) -> jax.Array:
        array = jnp.pad(array, [(0, pad if i == axis else 0) for i in range(array.ndim)])
        shape = (*array.shape[:axis], -1, _QUERY_CHUNK, *array.shape[axis + 1 :])
        return jnp.moveaxis(array.reshape(shape), axis, 0)

    @jax.checkpoint
    def of_chunk(query_BcNH: jax.Array, ids_Bc: jax.Array, positions_c: jax.Array) -> jax.Array:
        return _scored(query_BcNH, ids_Bc, positions_c, *keys)

    chunked = (chunks(query_BTNH, 1), chunks(ids_BT, 1), chunks(positions_T, 0))
    out_CBcNH = jax.lax.map(lambda chunk: of_chunk(*chunk), chunked)
    return jnp.moveaxis(out_CBcNH, 0, 1).reshape(query_BTNH.shape[0], T + pad, *query_BTNH.shape[2:])[:, :T]


def _scored(
    query_BTNH: jax.Array,
    ids_BT: jax.Array,
    positions_T: jax.Array,
    key_BSKH: jax.Array,
    value_BSKH: jax.Array,
    ids_BS: jax.Array,
) -> jax.Array:
    """Attention of some queries, at `positions_T` of their rows, over all keys."""
    B, T, N, H = query_BTNH.shape
    S, K = key_BSKH.shape[1:3]
    # Scores in the order of their product, and a mask that is made once for all heads and added: XLA's CPU compiler
    # would else transpose the scores, and compute the mask again for each of them (jax 0.10.2).
    query_BKGTH = jnp.transpose(query_BTNH.reshape(B, T, K, N // K, H), (0, 2, 3, 1, 4))
    scores_BKGTS = jnp.einsum("BKGTH,BSKH->BKGTS", query_BKGTH, key_BSKH, preferred_element_type=jnp.float32) * H**-0.5
    causal_TS = positions_T[:, None] >= jnp.arange(S, dtype=jnp.int32)[None, :]
    visible_BTS = causal_TS[None] & (ids_BT[:, :, None] == ids_BS[:, None, :])
    mask_BTS = jax.lax.optimization_barrier(jnp.where(visible_BTS, 0.0, MASKED))
    weights_BKGTS = jax.nn.softmax(scores_BKGTS + mask_BTS[:, None, None], axis=-1).astype(value_BSKH.dtype)
    out_BKGTH = jnp.einsum("BKGTS,BSKH->BKGTH", weights_BKGTS, value_BSKH)
    return jnp.transpose(out_BKGTH, (0, 3, 1, 2, 4)).reshape(B, T, N, H)


def _cudnn(
    query_BTNH: jax.Array, key_BSKH: jax.Array, value_BSKH: jax.Array, segment_ids_BT: jax.Array, mesh: Mesh | None
) -> jax.Array:
    del mesh  # the kernel's own partitioning rule splits batch and heads
    return cudnn_attention.packed(query_BTNH, key_BSKH, value_BSKH, segment_ids_BT)


def _splash(
    query_BTNH: jax.Array, key_BSKH: jax.Array, value_BSKH: jax.Array, segment_ids_BT: jax.Array, mesh: Mesh | None
) -> jax.Array:
    """Splash attention (TPU), padded to its multiples of 128 tokens; per device under shard_map when a mesh is given.

    On devices that are no TPU it runs in Pallas' interpret mode, for tests.
    """
    T = query_BTNH.shape[1]
    pad = -T % _SPLASH_LANES
    platform = mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()
    if pad:
        wide = ((0, 0), (0, pad), (0, 0), (0, 0))
        query_BTNH, key_BSKH, value_BSKH = (jnp.pad(array, wide) for array in (query_BTNH, key_BSKH, value_BSKH))
        segment_ids_BT = jnp.pad(segment_ids_BT, ((0, 0), (0, pad)))
    local = functools.partial(_splash_local, interpret=platform != "tpu")
    if mesh is not None:
        heads = P(RULES["batch"], None, RULES["heads"], None)
        keys = P(RULES["batch"], None, RULES["kv_heads"], None)
        local = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(heads, keys, keys, P(RULES["batch"], None)),
            out_specs=heads,
            check_vma=False,
        )
    return local(query_BTNH, key_BSKH, value_BSKH, segment_ids_BT)[:, :T]


def _splash_local(
    query_BTNH: jax.Array, key_BSKH: jax.Array, value_BSKH: jax.Array, segment_ids_BT: jax.Array, interpret: bool
) -> jax.Array:
    _, T, N, H = query_BTNH.shape
    block = max(size for size in (128, 256, 512, 1024) if T % size == 0)
    wide = min(block, 512)
    blocks = splash.BlockSizes(
        block_q=wide,
        block_kv=block,
        block_kv_compute=wide,
        block_q_dkv=wide,
        block_kv_dkv=block,
        block_kv_dkv_compute=wide,
        block_q_dq=wide,
        block_kv_dq=wide,
    )
    kernel = splash.make_splash_mha_single_device(
        splash.MultiHeadMask([splash.CausalMask((T, T)) for _ in range(N)]),
        block_sizes=blocks,
        residual_checkpoint_name=RESIDUAL_NAME,
        interpret=interpret,
    )

    def row(query_TNH: jax.Array, key_SKH: jax.Array, value_SKH: jax.Array, ids_T: jax.Array) -> jax.Array:
        query_NTH, key_KSH, value_KSH = (jnp.swapaxes(array, 0, 1) for array in (query_TNH, key_SKH, value_SKH))
        out_NTH = kernel(query_NTH * H**-0.5, key_KSH, value_KSH, splash.SegmentIds(q=ids_T, kv=ids_T))
        return jnp.swapaxes(cast(jax.Array, out_NTH), 0, 1)

    return jax.vmap(row)(query_BTNH, key_BSKH, value_BSKH, segment_ids_BT).astype(query_BTNH.dtype)


KERNELS: dict[str, Callable[..., jax.Array]] = {"xla": _xla, "cudnn": _cudnn, "splash": _splash}
