"""The KV cache: one decode step that writes into it and reads it, and moving rows into and between caches.

The layers are unrolled and every layer has its own buffers, so that attention reads them in place: with one buffer
stacked over layers, each step first copies its layer out (measured on 2 CPU cores, 1.4M parameters, 64 slots, 512
positions: 16 ms per step stacked and scanned, 8 ms with separate buffers).

Slots may come in tiers of different lengths: the matrix products see all rows together, attention sees a tier at a
time. Slots of one length would all be as long as the longest response allowed, which few responses reach.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from azr_jax.model import attention
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.layer import Attend, decoder_layer, rope_angles
from azr_jax.model.sharding import check_batch, check_divisible, constrain, row_parts, spec
from azr_jax.sampler.serving import Weights

_AXES = {"B": "batch", "K": "kv_heads", "S": "length", "H": "head_dim"}


@flax.struct.dataclass
class LayerCaches:
    """Keys and values of every layer of one tier: lists of L buffers.

    Each is [slots, K, S, H], or in the order that `implementation` (of attention.attend_cache) needs: see `layouts`.
    """

    k: list[jax.Array]
    v: list[jax.Array]
    implementation: str = flax.struct.field(pytree_node=False, default="xla")

    @property
    def slots(self) -> int:
        """Rows of the tier."""
        return self.k[0].shape[0]

    @property
    def length(self) -> int:
        """S, the positions of a slot."""
        return self.k[0].shape[self.layouts[0].index("S")]

    @property
    def layouts(self) -> tuple[str, str]:
        """The axis order of the keys' buffers and of the values'."""
        return attention.cache_layouts(self.implementation)

    def map(self, of_buffer: Callable[[jax.Array, str], jax.Array]) -> LayerCaches:
        """Caches of what the function gives for each buffer and its axis order."""
        keys, values = self.layouts
        k, v = [of_buffer(buffer, keys) for buffer in self.k], [of_buffer(buffer, values) for buffer in self.v]
        return dataclasses.replace(self, k=k, v=v)


def cache_shapes(
    config: ModelConfig, slots: int, length: int, dtype: Any, mesh: Mesh | None = None, implementation: str = "xla"
) -> LayerCaches:
    """Shapes of caches; with a mesh, slots over data and fsdp, heads over tensor.

    Raises:
      ValueError: slots or kv_heads that the mesh does not divide.
    """
    if mesh is not None:
        check_divisible(config, mesh)
        check_batch(slots, mesh, "slots")
    sizes = {"B": slots, "K": config.kv_heads, "S": length, "H": config.head_dim}

    def buffer(layout: str) -> Any:
        sharding = None if mesh is None else NamedSharding(mesh, spec(cache_axes(layout)))
        return jax.ShapeDtypeStruct(tuple(sizes[letter] for letter in layout), dtype, sharding=sharding)

    keys, values = (buffer(layout) for layout in attention.cache_layouts(implementation))
    return LayerCaches(k=[keys] * config.layers, v=[values] * config.layers, implementation=implementation)


def init_caches(
    config: ModelConfig, slots: int, length: int, dtype: Any, mesh: Mesh | None = None, implementation: str = "xla"
) -> LayerCaches:
    """Empty caches as `cache_shapes` describes them, with the same errors."""
    shapes = cache_shapes(config, slots, length, dtype, mesh, implementation)
    return jax.tree.map(lambda buffer: jnp.zeros(buffer.shape, buffer.dtype, device=buffer.sharding), shapes)


def cache_axes(layout: str) -> tuple[str, ...]:
    """Logical axes (of sharding.RULES) of one buffer."""
    return tuple(_AXES[letter] for letter in layout)


def insert_rows(
    buffer: jax.Array,
    prefilled_LBTKH: jax.Array,
    layer: jax.Array,
    rows_N: jax.Array,
    slots_N: jax.Array,
    layout: str = "BKSH",
) -> jax.Array:
    """Copies row `rows_N[n]` of a prefill, of one layer, to positions 0 .. T - 1 of slot `slots_N[n]`, for every n.

    One row may go to several slots. A slot number outside the cache is dropped (pad entries). Positions past the
    cache's length are cut; those past a row's own prompt may hold anything: decoding writes each before it reads it.
    """
    length = buffer.shape[layout.index("S")]
    T = min(prefilled_LBTKH.shape[2], length)
    rows_BTKH = jax.lax.dynamic_index_in_dim(prefilled_LBTKH, layer, keepdims=False)
    return _write(buffer, rows_BTKH[rows_N, :T], slots_N, layout)


def insert_spans(
    buffer: jax.Array,
    prefilled_LBTKH: jax.Array,
    layer: jax.Array,
    rows_N: jax.Array,
    starts_N: jax.Array,
    slots_N: jax.Array,
    width: int,
    layout: str = "BKSH",
) -> jax.Array:
    """`insert_rows` of packed prompts: `width` tokens from token `starts_N[n]` of row `rows_N[n]`, or to its end."""
    length = buffer.shape[layout.index("S")]
    rows_BTKH = jax.lax.dynamic_index_in_dim(prefilled_LBTKH, layer, keepdims=False)
    tokens_NT = starts_N[:, None] + jnp.arange(min(width, length), dtype=jnp.int32)
    spans_NTKH = rows_BTKH.at[rows_N[:, None], tokens_NT].get(mode="clip")
    return _write(buffer, spans_NTKH, slots_N, layout)


def _write(buffer: jax.Array, rows_NTKH: jax.Array, slots_N: jax.Array, layout: str) -> jax.Array:
    rows = jnp.transpose(rows_NTKH.astype(buffer.dtype), ["BSKH".index(letter) for letter in layout])
    return buffer.at[slots_N, *_first(rows.shape[layout.index("S")], layout)].set(rows, mode="drop")


def _first(positions: int, layout: str) -> tuple[slice, ...]:
    """Indices of a slot's first positions in a buffer, behind the slot's own."""
    return tuple(slice(positions) if letter == "S" else slice(None) for letter in layout[1:])


def move_rows(
    target: jax.Array, source: jax.Array, slots_N: jax.Array, sources_N: jax.Array, layout: str = "BKSH"
) -> jax.Array:
    """Copies slot `sources_N[n]` of a shorter buffer into slot `slots_N[n]` of a longer one; drops slots outside."""
    rows = source.at[sources_N].get(mode="clip")
    return target.at[slots_N, *_first(source.shape[layout.index("S")], layout)].set(rows, mode="drop")


def resize_rows(buffer: jax.Array, sources_B: jax.Array, length: int, layout: str = "BKSH") -> jax.Array:
    """A buffer of `length` positions whose slot b holds what slot `sources_B[b]` held (anything for -1)."""
    axis = layout.index("S")
    kept = jax.lax.slice_in_dim(buffer, 0, min(length, buffer.shape[axis]), axis=axis).at[sources_B].get(mode="clip")
    return jnp.pad(kept, [(0, length - kept.shape[axis] if i == axis else 0) for i in range(4)])


def decode_step(
    weights: Weights, tokens_B: jax.Array, positions_B: jax.Array, tiers: Sequence[LayerCaches]
) -> tuple[jax.Array, tuple[LayerCaches, ...]]:
    """One token a slot: writes its key and value at `positions_B`, attends to keys 0 .. positions_B.

    Rows are in `row_order` of the tiers. Returns the final hidden states BD and the caches. A position
    outside a row's cache writes nothing. Several tokens a slot, [B, T] at positions [B, T], give hidden states BTD.
    """
    config, mesh = weights.config, weights.mesh
    hidden_BD = weights.embed(tokens_B)
    angles = rope_angles(config, positions_B)
    keys: list[list[jax.Array]] = [[] for _ in tiers]
    values: list[list[jax.Array]] = [[] for _ in tiers]
    for index, layer in enumerate(weights.layers):
        buffers = [(tier.k[index], tier.v[index]) for tier in tiers]
        attend = _within_caches(buffers, tiers, positions_B, mesh)
        hidden_BD, written = decoder_layer(config, layer, hidden_BD, angles, attend, mesh)
        hidden_BD = constrain(hidden_BD, mesh, ("batch", *("length",) * (hidden_BD.ndim - 2), "activation"))
        for number, (key, value) in enumerate(written):
            keys[number].append(key)
            values[number].append(value)
    caches = tuple(dataclasses.replace(tier, k=k, v=v) for tier, k, v in zip(tiers, keys, values, strict=True))
    return weights.final(hidden_BD), caches


def row_order(tiers: Sequence[LayerCaches], mesh: Mesh | None) -> np.ndarray:
    """The slots, numbered over all tiers one after another, in the order of a decode step's rows.

    The rows of each group of devices are together, by tier within it: so a device has the rows of the slots it has.
    """
    parts = row_parts(mesh)
    ends = np.cumsum([tier.slots for tier in tiers])
    return np.concatenate(
        [np.arange(end - tier.slots, end).reshape(parts, -1) for tier, end in zip(tiers, ends, strict=True)], axis=1
    ).reshape(-1)


def _within_caches(
    buffers: Sequence[tuple[jax.Array, jax.Array]],
    tiers: Sequence[LayerCaches],
    positions_B: jax.Array,
    mesh: Mesh | None,
) -> Attend:
    """Attention of each row's tokens over one layer's (keys, values) of each tier; returns them with the tokens'."""
    parts = row_parts(mesh)
    ends = np.cumsum([tier.slots // parts for tier in tiers]).tolist()

    def by_part(array: jax.Array) -> jax.Array:
        return array.reshape(parts, -1, *array.shape[1:])

    def attend(query_BNH: jax.Array, key_BKH: jax.Array, value_BKH: jax.Array) -> Any:
        arrays = (query_BNH, key_BKH, value_BKH, positions_B)
        attended, written = [], []
        for tier, (key, value), end in zip(tiers, buffers, ends, strict=True):
            own = slice(end - tier.slots // parts, end)
            query, new_key, new_value, positions = (
                arrays if len(tiers) == 1 else (by_part(a)[:, own].reshape(-1, *a.shape[1:]) for a in arrays)
            )
            key, value = (
                buffer.at[_points(positions, key_BKH.shape[-2], layout)].set(new.astype(buffer.dtype), mode="drop")
                for buffer, new, layout in zip((key, value), (new_key, new_value), tier.layouts, strict=True)
            )
            attended.append(attention.attend_cache(query, key, value, positions, tier.implementation, mesh))
            written.append((key, value))
        if len(tiers) == 1:
            return attended[0], written
        return jnp.concatenate([by_part(array) for array in attended], axis=1).reshape(query_BNH.shape), written

    return attend


def _points(positions_B: jax.Array, kv_heads: int, layout: str) -> tuple[jax.Array | slice, ...]:
    """Indices of tokens' heads in a buffer, all as points: a window over heads would copy a sharded cache."""
    slots_B1 = jnp.arange(positions_B.shape[0], dtype=jnp.int32).reshape(-1, *(1,) * positions_B.ndim)
    heads_1K = jnp.arange(kv_heads, dtype=jnp.int32).reshape(*(1,) * positions_B.ndim, -1)
    points = {"B": slots_B1, "K": heads_1K, "S": positions_B[..., None], "H": slice(None)}
    return tuple(points[letter] for letter in layout)
