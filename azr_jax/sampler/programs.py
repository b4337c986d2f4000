"""The jitted programs of the sampler: prefill, first tokens, decode chunk, and moving rows into and between caches.

Each is compiled once for every shape it meets; the host keeps shapes to a few buckets. What moves rows handles one
layer's buffer a call: one program over all layers takes many times as long to compile and runs no faster.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from azr_jax.model.sharding import CACHE_AXES, constrain, readable
from azr_jax.model.transformer import Transformer
from azr_jax.sampler import decoding, sampling

Draw = Callable[..., tuple[jax.Array, jax.Array]]


@flax.struct.dataclass
class Rows:
    """What a decode chunk needs of every slot: host arrays, sent anew with each chunk. Empty slots are not live."""

    token_B: Any  # int32, the last one sampled, not yet in the cache
    position_B: Any  # int32, where that token belongs
    remaining_B: Any  # int32, tokens still to be sampled
    live_B: Any  # bool
    temperature_B: Any  # float32
    id_words_B2: Any  # uint32


@flax.struct.dataclass
class Prefilled:
    """Last hidden state, keys and values of B prompts padded to T tokens."""

    hidden_BD: jax.Array
    key_LBTKH: jax.Array
    value_LBTKH: jax.Array


@dataclasses.dataclass(frozen=True)
class Programs:
    """Jitted.

    prefill(params, tokens_BT, lengths_B) -> Prefilled
    first(params, key, hidden_ND, temperature_N, id_words_N2, lengths_N) -> (tokens_N, logprobs_N)
    decode(params, key, caches, rows) -> (caches, tokens_BC, logprobs_BC, steps): up to C tokens a slot, -1 where none;
      ends early when no row is live. The caches are donated.
    insert, resize: decoding.insert_rows (donates the buffer) and decoding.resize_rows
    """

    prefill: Callable[..., Prefilled]
    first: Callable[..., tuple[jax.Array, jax.Array]]
    decode: Callable[..., tuple[decoding.LayerCaches, jax.Array, jax.Array, jax.Array]]
    insert: Callable[..., jax.Array]
    resize: Callable[..., jax.Array]


def build(
    graphdef: nnx.GraphDef[Transformer],
    eos_ids: tuple[int, ...],
    top_p: float,
    top_k: int,
    chunk: int,
    mesh: Mesh | None,
) -> Programs:
    """The programs for one model, set of end tokens, sampling filter and chunk length in tokens."""
    insert, resize = _movers(mesh)
    decode = functools.partial(_decode, graphdef, _draw(top_p, top_k), eos_ids, chunk, mesh)
    return Programs(
        prefill=_prefill_of(graphdef),
        first=_first_of(graphdef, top_p, top_k),
        decode=jax.jit(decode, donate_argnames="caches"),
        insert=insert,
        resize=resize,
    )


# Samplers that differ only in slots, chunk or end tokens share these, and what is compiled for them.
@functools.lru_cache(maxsize=8)
def _prefill_of(graphdef: nnx.GraphDef[Transformer]) -> Callable[..., Prefilled]:
    return jax.jit(functools.partial(_prefill, graphdef))


@functools.lru_cache(maxsize=8)
def _first_of(
    graphdef: nnx.GraphDef[Transformer], top_p: float, top_k: int
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    return jax.jit(functools.partial(_first, graphdef, _draw(top_p, top_k)))


@functools.lru_cache(maxsize=8)
def _movers(mesh: Mesh | None) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    def insert(buffer_BKSH: jax.Array, *arguments: jax.Array) -> jax.Array:
        return constrain(decoding.insert_rows(buffer_BKSH, *arguments), mesh, CACHE_AXES[1:])

    def resize(buffer_BKSH: jax.Array, sources_B: jax.Array, length: int) -> jax.Array:
        return constrain(decoding.resize_rows(buffer_BKSH, sources_B, length), mesh, CACHE_AXES[1:])

    return jax.jit(insert, donate_argnums=0), jax.jit(resize, static_argnames="length")


def _draw(top_p: float, top_k: int) -> Draw:
    return functools.partial(sampling.sample, top_p=top_p, top_k=top_k)


def _prefill(graphdef: nnx.GraphDef[Transformer], params: Any, tokens_BT: jax.Array, lengths_B: jax.Array) -> Prefilled:
    model = nnx.merge(graphdef, params)
    positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1], dtype=jnp.int32), tokens_BT.shape)
    segment_ids_BT = (positions_BT < lengths_B[:, None]).astype(jnp.int32)
    hidden_BTD, key_LBTKH, value_LBTKH = model.prefill(tokens_BT, positions_BT, segment_ids_BT)
    last_B11 = jnp.maximum(lengths_B - 1, 0)[:, None, None]
    hidden_BD = jnp.take_along_axis(hidden_BTD, last_B11, axis=1)[:, 0]
    return Prefilled(hidden_BD=hidden_BD, key_LBTKH=key_LBTKH, value_LBTKH=value_LBTKH)


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
    model = nnx.merge(graphdef, params)
    tokens_N, logprobs_N = draw(model.logits(hidden_ND), temperature_N, sampling.row_keys(key, id_words_N2, lengths_N))
    return readable(tokens_N, model.mesh), readable(logprobs_N, model.mesh)


def _decode(
    graphdef: nnx.GraphDef[Transformer],
    draw: Draw,
    eos_ids: tuple[int, ...],
    chunk: int,
    mesh: Mesh | None,
    params: Any,
    key: jax.Array,
    caches: decoding.LayerCaches,
    rows: Rows,
) -> tuple[decoding.LayerCaches, jax.Array, jax.Array, jax.Array]:
    model = nnx.merge(graphdef, params)
    B, S = rows.token_B.shape[0], caches.length
    ends = jnp.asarray(eos_ids, jnp.int32)

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        step, live_B = carry[0], carry[3]
        return (step < chunk) & jnp.any(live_B)

    def advance(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, caches, token_B, live_B, tokens_BC, logprobs_BC = carry
        # Live rows have drawn one token in each step so far. A finished row is fed position S: it writes nothing.
        fed_B = jnp.where(live_B, rows.position_B + step, S)
        hidden_BD, caches = decoding.decode_step(model, token_B, fed_B, caches)
        caches = jax.tree.map(lambda buffer: constrain(buffer, mesh, CACHE_AXES[1:]), caches)
        keys_B = sampling.row_keys(key, rows.id_words_B2, fed_B + 1)
        drawn_B, logprob_B = draw(model.logits(hidden_BD), jnp.where(live_B, rows.temperature_B, 0.0), keys_B)
        tokens_BC = tokens_BC.at[:, step].set(jnp.where(live_B, drawn_B, -1))
        logprobs_BC = logprobs_BC.at[:, step].set(jnp.where(live_B, logprob_B, 0.0))
        live_B = live_B & (step + 1 < rows.remaining_B) & ~jnp.isin(drawn_B, ends)
        return step + 1, caches, drawn_B, live_B, tokens_BC, logprobs_BC

    outputs = (jnp.full((B, chunk), -1, jnp.int32), jnp.zeros((B, chunk), jnp.float32))
    start = (jnp.int32(0), caches, rows.token_B, rows.live_B, *outputs)
    steps, caches, _, _, tokens_BC, logprobs_BC = jax.lax.while_loop(unfinished, advance, start)
    return caches, readable(tokens_BC, mesh), readable(logprobs_BC, mesh), steps
