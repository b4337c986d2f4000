"""The jitted programs of the sampler: prefill, first tokens, decode chunk, and moving rows into and between caches.

Each is compiled once per shape; the host keeps shapes to a few buckets. Programs that move rows handle one layer's
buffer per call: one program over all layers takes many times as long to compile and runs no faster.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from azr_jax.devices import compiler_options
from azr_jax.model import attention
from azr_jax.model.sharding import batch_sharding, readable, spec
from azr_jax.model.transformer import Transformer
from azr_jax.sampler import decoding, drafting, sampling, serving, steps
from azr_jax.sampler.steps import Draw
from azr_jax.sampler.tuning import Tuning


@flax.struct.dataclass
class Rows:
    """The device's state of every slot before and after a decode chunk. Empty slots are not live."""

    token_B: Any  # int32, the last one sampled, not yet in the cache
    position_B: Any  # int32, where that token belongs
    remaining_B: Any  # int32, tokens still to be sampled
    live_B: Any  # bool
    temperature_B: Any  # float32
    id_words_B2: Any  # uint32
    history_BS: Any = None  # int32, the row's text up to that token; None without drafts


@flax.struct.dataclass
class Prefilled:
    """Last hidden states of P prompts, keys and values of their rows of T tokens (or L arrays [1, B, T, K, H])."""

    hidden_PD: jax.Array
    key_LBTKH: Any
    value_LBTKH: Any


def no_rows(B: int, history: int = 0) -> Rows:
    """B empty slots, on the host, with texts of `history` tokens if that is not 0."""
    zeros_B = np.zeros((B,), np.int32)
    return Rows(
        token_B=zeros_B,
        position_B=zeros_B.copy(),
        remaining_B=zeros_B.copy(),
        live_B=np.zeros((B,), np.bool_),
        temperature_B=np.zeros((B,), np.float32),
        id_words_B2=np.zeros((B, 2), np.uint32),
        history_BS=np.zeros((B, history), np.int32) if history else None,
    )


@dataclasses.dataclass(frozen=True)
class Movers:
    """The programs that copy rows into buffers of one axis order: decoding.py's; what is written to is donated."""

    insert: Callable[..., jax.Array]
    insert_spans: Callable[..., jax.Array]
    move: Callable[..., jax.Array]
    resize: Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Programs:
    """The jitted programs.

    prefill(params, tokens_BT, positions_BT, segment_ids_BT, last_P) -> Prefilled; `last_P` are the indices of the
      prompts' last tokens in the flattened [B * T]
    first(params, key, hidden_ND, temperature_N, id_words_N2, lengths_N) -> (tokens_N, logprobs_N)
    decode(params, key, caches, rows) -> (caches, rows, tokens_BC, logprobs_BC, steps): up to C tokens for each slot of
      `caches`, the last tiers; -1 for none. Caches and rows are donated. A live row waits while
      its next position is outside its slot.
    speculate: as `decode`, with drafts verified in each step, and counts_3 instead of `steps`: steps, rows running in
      them, tokens of drafts. C is a multiple of a step's tokens.
    enter(rows, slots_N, tokens_N, lengths_N, max_tokens_N, temperature_N, id_words_N2[, prompts_NT]) -> rows, with new
      ones that have drawn their first token; prompts with drafts
    arrange(rows, sources_B) -> rows, where slot b has what slot `sources_B[b]` had (-1: an empty one)
    movers: by the axis order of the buffer (LayerCaches.layouts).
    """

    prefill: Callable[..., Prefilled]
    first: Callable[..., tuple[jax.Array, jax.Array]]
    decode: Callable[..., tuple[tuple[decoding.LayerCaches, ...], Rows, jax.Array, jax.Array, jax.Array]]
    speculate: Callable[..., tuple[tuple[decoding.LayerCaches, ...], Rows, jax.Array, jax.Array, jax.Array]]
    enter: Callable[..., Rows]
    arrange: Callable[..., Rows]
    movers: Mapping[str, Movers]


def build(
    graphdef: nnx.GraphDef[Transformer],
    eos_ids: tuple[int, ...],
    top_p: float,
    top_k: int,
    chunk: int,
    mesh: Mesh | None,
    tuning: Tuning | None = None,
    drafts: int = 0,
) -> Programs:
    """The programs for one model, set of end tokens, sampling filter, chunk length in tokens and tokens of a draft."""
    tuning = tuning or Tuning()
    draw = functools.partial(sampling.sample, top_p=top_p, top_k=top_k, draw=tuning.draw)
    layouts = attention.cache_layouts(tuning.implementation)
    caches = _cache_sharding(mesh, layouts[0])  # the values' too: axes that are split have the same places in both

    def decoding_with(drafts: int) -> Callable[..., Any]:
        return jax.jit(
            functools.partial(_decode, graphdef, draw, eos_ids, chunk, drafts, mesh, tuning),
            donate_argnames=("caches", "rows"),
            compiler_options=compiler_options(mesh),
            out_shardings=None if mesh is None else (caches, batch_sharding(mesh), None, None, None),
        )

    return Programs(
        prefill=_prefill_of(graphdef, mesh),
        first=_first_of(graphdef, top_p, top_k, tuning.draw),
        decode=decoding_with(0),
        speculate=decoding_with(drafts),
        enter=jax.jit(functools.partial(_enter, eos_ids), donate_argnums=0, out_shardings=_row_sharding(mesh)),
        arrange=_arrange_of(mesh),
        movers={layout: _movers_of(mesh, layout) for layout in layouts},
    )


# Samplers that differ only in slots, chunk or end tokens share these, and what is compiled for them.
@functools.lru_cache(maxsize=8)
def _prefill_of(graphdef: nnx.GraphDef[Transformer], mesh: Mesh | None) -> Callable[..., Prefilled]:
    return jax.jit(functools.partial(_prefill, graphdef), compiler_options=compiler_options(mesh))


@functools.lru_cache(maxsize=8)
def _first_of(
    graphdef: nnx.GraphDef[Transformer], top_p: float, top_k: int, draw: str
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    sample = functools.partial(sampling.sample, top_p=top_p, top_k=top_k, draw=draw)
    return jax.jit(functools.partial(_first, graphdef, sample))


@functools.lru_cache(maxsize=8)
def _arrange_of(mesh: Mesh | None) -> Callable[..., Rows]:
    return jax.jit(_arrange, out_shardings=_row_sharding(mesh))


@functools.lru_cache(maxsize=8)
def _movers_of(mesh: Mesh | None, layout: str) -> Movers:
    sharding = _cache_sharding(mesh, layout)

    def jitted(function: Callable[..., jax.Array], donates: bool, static: tuple[str, ...] = ()) -> Callable[..., Any]:
        of_layout = functools.partial(function, layout=layout)
        return jax.jit(
            of_layout, static_argnames=static, donate_argnums=(0,) if donates else (), out_shardings=sharding
        )

    return Movers(
        insert=jitted(decoding.insert_rows, donates=True),
        insert_spans=jitted(decoding.insert_spans, donates=True, static=("width",)),
        move=jitted(decoding.move_rows, donates=True),
        resize=jitted(decoding.resize_rows, donates=False, static=("length",)),
    )


# Fixes the output shardings. Otherwise the compiler may describe the same sharding in several ways, and every program
# that takes the cache is compiled again for each.
def _cache_sharding(mesh: Mesh | None, layout: str) -> NamedSharding | None:
    return None if mesh is None else NamedSharding(mesh, spec(decoding.cache_axes(layout)))


def _row_sharding(mesh: Mesh | None) -> NamedSharding | None:
    return None if mesh is None else batch_sharding(mesh)


def _prefill(
    graphdef: nnx.GraphDef[Transformer],
    params: Any,
    tokens_BT: jax.Array,
    positions_BT: jax.Array,
    segment_ids_BT: jax.Array,
    last_P: jax.Array,
) -> Prefilled:
    batch = (tokens_BT, positions_BT, segment_ids_BT)
    if isinstance(params, serving.Weights):
        hidden_BTD, keys, values = serving.prefill(params, *batch)
        key_LBTKH, value_LBTKH = ([layer_BTKH[None] for layer_BTKH in layers] for layers in (keys, values))
    else:
        hidden_BTD, key_LBTKH, value_LBTKH = nnx.merge(graphdef, params).prefill(*batch)
    hidden_PD = hidden_BTD.reshape(-1, hidden_BTD.shape[-1])[last_P]
    return Prefilled(hidden_PD=hidden_PD, key_LBTKH=key_LBTKH, value_LBTKH=value_LBTKH)


def _first(
    graphdef: nnx.GraphDef[Transformer],
    draw: Draw,
    params: Any,
    key: jax.Array,
    hidden_ND: jax.Array,
    temperature_N: jax.Array,
    id_words_N2: jax.Array,
    lengths_N: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    weights = serving.of_params(graphdef, params)
    keys_N = sampling.row_keys(key, id_words_N2, lengths_N)
    tokens_N, logprobs_N = draw(weights.logits(hidden_ND), temperature_N, keys_N)
    return readable(tokens_N, weights.mesh), readable(logprobs_N, weights.mesh)


def _enter(
    eos_ids: tuple[int, ...],
    rows: Rows,
    slots_N: jax.Array,
    tokens_N: jax.Array,
    lengths_N: jax.Array,
    max_tokens_N: jax.Array,
    temperature_N: jax.Array,
    id_words_N2: jax.Array,
    prompts_NT: jax.Array | None = None,
) -> Rows:
    history_NS = None
    if prompts_NT is not None:
        (N, T), S = prompts_NT.shape, rows.history_BS.shape[1]
        history_NS = jnp.pad(prompts_NT, ((0, 0), (0, S - T)))
        history_NS = drafting.placed(history_NS, lengths_N, tokens_N[:, None], jnp.ones((N, 1), jnp.bool_))
    new = Rows(
        token_B=tokens_N,
        position_B=lengths_N,
        remaining_B=max_tokens_N - 1,
        live_B=(max_tokens_N > 1) & ~jnp.isin(tokens_N, jnp.asarray(eos_ids, jnp.int32)),
        temperature_B=temperature_N,
        id_words_B2=id_words_N2,
        history_BS=history_NS,
    )
    return jax.tree.map(lambda old, entered: old.at[slots_N].set(entered, mode="drop"), rows, new)


def _arrange(rows: Rows, sources_B: jax.Array) -> Rows:
    arranged = jax.tree.map(lambda array: array.at[sources_B].get(mode="clip"), rows)
    return dataclasses.replace(arranged, live_B=arranged.live_B & (sources_B >= 0))


def _in_order(tree: Any, order_B: np.ndarray) -> Any:
    """Arrays of rows, in this order."""
    return tree if np.all(order_B[1:] > order_B[:-1]) else jax.tree.map(lambda array: array[order_B], tree)


def _decode(
    graphdef: nnx.GraphDef[Transformer],
    draw: Draw,
    eos_ids: tuple[int, ...],
    chunk: int,
    drafts: int,
    mesh: Mesh | None,
    tuning: Tuning,
    params: Any,
    key: jax.Array,
    caches: tuple[decoding.LayerCaches, ...],
    rows: Rows,
) -> tuple[tuple[decoding.LayerCaches, ...], Rows, jax.Array, jax.Array, jax.Array]:
    weights_before = None if tuning.slices_inside else serving.of_params(graphdef, params)
    order_B = decoding.row_order(caches, mesh)
    capacity_B = np.concatenate([np.full(tier.slots, tier.length, np.int32) for tier in caches])[order_B]
    B, most = len(capacity_B), chunk // (drafts + 1)
    resting = rows.token_B.shape[0] - B  # slots of tiers that have no part in this chunk
    before = jax.tree.map(lambda array: array[:resting], rows)
    now = jax.tree.map(lambda array: array[resting:], rows)
    history_BS, first_B = now.history_BS, now.position_B + 1
    # Without drafts the texts are written once for the chunk, and not brought into the order of its rows.
    now = _in_order(now if drafts else dataclasses.replace(now, history_BS=None), order_B)
    shared = steps.Chunk(draw, key, jnp.asarray(eos_ids, jnp.int32), capacity_B, now.position_B, mesh)

    def advance(step: jax.Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        weights = weights_before or serving.of_params(graphdef, params)
        if drafts:
            return steps.verify_drafts(shared, drafts, weights, carry)
        return steps.draw_next(shared, weights, step, carry)

    width = most * (drafts + 1)
    carry = (caches, now, jnp.full((B, width), -1, jnp.int32), jnp.zeros((B, width), jnp.float32))
    carry = (*carry, jnp.zeros((2,), jnp.int32)) if drafts else carry
    if tuning.fixed_steps:
        taken, carry = jnp.int32(most), jax.lax.fori_loop(0, most, advance, carry)
    else:
        taken, carry = jax.lax.while_loop(
            lambda state: (state[0] < most) & jnp.any(shared.running(state[1][1])),
            lambda state: (state[0] + 1, advance(*state)),
            (jnp.int32(0), carry),
        )
    caches, now, tokens_BC, logprobs_BC, *counts = carry
    now, tokens_BC, logprobs_BC = _in_order((now, tokens_BC, logprobs_BC), np.argsort(order_B))
    if drafts:
        taken = readable(jnp.concatenate((taken[None], *counts)), mesh)
    elif history_BS is not None:
        history_BS = drafting.placed(history_BS, first_B, tokens_BC, tokens_BC >= 0)
        now = dataclasses.replace(now, history_BS=history_BS)
    rows = jax.tree.map(lambda *parts: jnp.concatenate(parts), before, now) if resting else now
    return caches, rows, readable(tokens_BC, mesh), readable(logprobs_BC, mesh), taken
