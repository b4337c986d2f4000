"""The jitted programs of the sampler and the state they pass along: prefill, admit, decode chunk, resize.

Each is compiled once for every shape it meets; the host keeps shapes to a few buckets.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import CACHE_AXES, batch_sharding, constrain
from azr_jax.model.transformer import Transformer
from azr_jax.sampler import decoding, sampling


@flax.struct.dataclass
class Slots:
    """What the device holds of every slot. `position_B` is where `token_B`, the last one sampled, belongs."""

    caches: decoding.LayerCaches
    token_B: jax.Array  # int32
    position_B: jax.Array  # int32
    remaining_B: jax.Array  # int32, tokens still to be sampled
    live_B: jax.Array  # bool
    temperature_B: jax.Array  # float32
    id_words_B2: jax.Array  # uint32


@flax.struct.dataclass
class Admission:
    """N prefilled rows on their way to slots; pad entries have a slot number past the last."""

    rows_N: jax.Array | np.ndarray  # int32, row of the prefill
    slots_N: jax.Array | np.ndarray  # int32
    prompt_tokens_N: jax.Array | np.ndarray  # int32
    max_tokens_N: jax.Array | np.ndarray  # int32
    temperature_N: jax.Array | np.ndarray  # float32
    id_words_N2: jax.Array | np.ndarray  # uint32


@flax.struct.dataclass
class Prefilled:
    """Last hidden state and keys and values of B prompts padded to T tokens."""

    hidden_BD: jax.Array
    key_LBTKH: jax.Array
    value_LBTKH: jax.Array


@dataclasses.dataclass(frozen=True)
class Programs:
    """Jitted. State arguments that are replaced are donated.

    prefill(params, tokens_BT, lengths_B) -> Prefilled
    admit(params, key, slots, prefilled, admission) -> (slots, tokens_N, logprobs_N): the first token of every row
    decode(params, key, slots, keep_B) -> (slots, tokens_BC, logprobs_BC, steps): up to C tokens a slot, -1 where none;
      rows that are not in `keep_B` are stopped first
    resize(slots, sources_B, length) -> slots: slot b takes over slot sources_B[b]; -1 makes an empty slot
    """

    prefill: Callable[..., Any]
    admit: Callable[..., Any]
    decode: Callable[..., Any]
    resize: Callable[..., Any]


def build(
    graphdef: nnx.GraphDef[Transformer],
    eos_ids: tuple[int, ...],
    top_p: float,
    top_k: int,
    chunk: int,
    mesh: Mesh | None,
) -> Programs:
    """The four programs for one model, set of end tokens, sampling filter and chunk length in tokens."""
    draw = functools.partial(sampling.sample, top_p=top_p, top_k=top_k)
    return Programs(
        prefill=jax.jit(functools.partial(_prefill, graphdef)),
        admit=jax.jit(functools.partial(_admit, graphdef, draw, eos_ids, mesh), donate_argnames="slots"),
        decode=jax.jit(functools.partial(_decode, graphdef, draw, eos_ids, chunk, mesh), donate_argnames="slots"),
        resize=jax.jit(functools.partial(_resize, mesh), static_argnames="length"),
    )


def init_slots(config: ModelConfig, slots: int, length: int, dtype: Any, mesh: Mesh | None) -> Slots:
    """Empty slots with caches of `length` positions.

    Raises:
      ValueError: a number of slots or heads that the mesh does not divide.
    """
    caches = decoding.init_caches(config, slots, length, dtype, mesh)
    sharding = None if mesh is None else batch_sharding(mesh)

    def zeros(shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return jnp.zeros(shape, dtype, device=sharding)

    return Slots(
        caches=caches,
        token_B=zeros((slots,), jnp.int32),
        position_B=zeros((slots,), jnp.int32),
        remaining_B=zeros((slots,), jnp.int32),
        live_B=zeros((slots,), jnp.bool_),
        temperature_B=zeros((slots,), jnp.float32),
        id_words_B2=zeros((slots, 2), jnp.uint32),
    )


def _prefill(graphdef: nnx.GraphDef[Transformer], params: Any, tokens_BT: jax.Array, lengths_B: jax.Array) -> Prefilled:
    model = nnx.merge(graphdef, params)
    positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1], dtype=jnp.int32), tokens_BT.shape)
    segment_ids_BT = (positions_BT < lengths_B[:, None]).astype(jnp.int32)
    hidden_BTD, key_LBTKH, value_LBTKH = model.prefill(tokens_BT, positions_BT, segment_ids_BT)
    last_B11 = jnp.maximum(lengths_B - 1, 0)[:, None, None]
    hidden_BD = jnp.take_along_axis(hidden_BTD, last_B11, axis=1)[:, 0]
    return Prefilled(hidden_BD=hidden_BD, key_LBTKH=key_LBTKH, value_LBTKH=value_LBTKH)


def _admit(
    graphdef: nnx.GraphDef[Transformer],
    draw: Callable[..., tuple[jax.Array, jax.Array]],
    eos_ids: tuple[int, ...],
    mesh: Mesh | None,
    params: Any,
    key: jax.Array,
    slots: Slots,
    prefilled: Prefilled,
    admission: Admission,
) -> tuple[Slots, jax.Array, jax.Array]:
    model = nnx.merge(graphdef, params)
    keys_N = sampling.row_keys(key, admission.id_words_N2, admission.prompt_tokens_N)
    logits_NV = model.logits(prefilled.hidden_BD[admission.rows_N])
    tokens_N, logprobs_N = draw(logits_NV, admission.temperature_N, keys_N)
    remaining_N = admission.max_tokens_N - 1
    new = {
        "token_B": tokens_N,
        "position_B": admission.prompt_tokens_N,
        "remaining_B": remaining_N,
        "live_B": (remaining_N > 0) & ~_is_end(tokens_N, eos_ids),
        "temperature_B": admission.temperature_N,
        "id_words_B2": admission.id_words_N2,
    }
    rows = {name: getattr(slots, name).at[admission.slots_N].set(row, mode="drop") for name, row in new.items()}
    caches = decoding.insert_rows(
        slots.caches, prefilled.key_LBTKH, prefilled.value_LBTKH, admission.rows_N, admission.slots_N
    )
    return _pin(Slots(caches=caches, **rows), mesh), tokens_N, logprobs_N


def _decode(
    graphdef: nnx.GraphDef[Transformer],
    draw: Callable[..., tuple[jax.Array, jax.Array]],
    eos_ids: tuple[int, ...],
    chunk: int,
    mesh: Mesh | None,
    params: Any,
    key: jax.Array,
    slots: Slots,
    keep_B: jax.Array,
) -> tuple[Slots, jax.Array, jax.Array, jax.Array]:
    model = nnx.merge(graphdef, params)
    B, S = slots.token_B.shape[0], slots.caches.length

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        step, slots, _, _ = carry
        return (step < chunk) & jnp.any(slots.live_B)

    def advance(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, slots, tokens_BC, logprobs_BC = carry
        # A finished row is fed position S: outside the cache, so it writes nothing.
        fed_B = jnp.where(slots.live_B, slots.position_B, S)
        hidden_BD, caches = decoding.decode_step(model, slots.token_B, fed_B, slots.caches)
        position_B = slots.position_B + slots.live_B
        temperature_B = jnp.where(slots.live_B, slots.temperature_B, 0.0)
        keys_B = sampling.row_keys(key, slots.id_words_B2, position_B)
        drawn_B, logprob_B = draw(model.logits(hidden_BD), temperature_B, keys_B)
        remaining_B = slots.remaining_B - slots.live_B
        advanced = slots.replace(
            caches=caches,
            token_B=jnp.where(slots.live_B, drawn_B, slots.token_B),
            position_B=position_B,
            remaining_B=remaining_B,
            live_B=slots.live_B & (remaining_B > 0) & ~_is_end(drawn_B, eos_ids),
        )
        tokens_BC = tokens_BC.at[:, step].set(jnp.where(slots.live_B, drawn_B, -1))
        logprobs_BC = logprobs_BC.at[:, step].set(jnp.where(slots.live_B, logprob_B, 0.0))
        return step + 1, _pin(advanced, mesh), tokens_BC, logprobs_BC

    slots = slots.replace(live_B=slots.live_B & keep_B)
    start = (jnp.int32(0), slots, jnp.full((B, chunk), -1, jnp.int32), jnp.zeros((B, chunk), jnp.float32))
    steps, slots, tokens_BC, logprobs_BC = jax.lax.while_loop(unfinished, advance, start)
    return slots, tokens_BC, logprobs_BC, steps


def _resize(mesh: Mesh | None, slots: Slots, sources_B: jax.Array, length: int) -> Slots:
    rows = {
        field.name: getattr(slots, field.name).at[sources_B].get(mode="clip")
        for field in dataclasses.fields(slots)
        if field.name != "caches"
    }
    rows["live_B"] &= sources_B >= 0
    return _pin(Slots(caches=decoding.resize_caches(slots.caches, sources_B, length), **rows), mesh)


def _is_end(tokens: jax.Array, eos_ids: tuple[int, ...]) -> jax.Array:
    return jnp.isin(tokens, jnp.asarray(eos_ids, jnp.int32))


def _pin(slots: Slots, mesh: Mesh | None) -> Slots:
    """Keeps rows over data and fsdp, so that outputs lie as the donated inputs do."""
    if mesh is None:
        return slots
    caches = jax.tree.map(lambda buffer: constrain(buffer, mesh, CACHE_AXES[1:]), slots.caches)
    rows = {
        field.name: jax.lax.with_sharding_constraint(getattr(slots, field.name), batch_sharding(mesh))
        for field in dataclasses.fields(slots)
        if field.name != "caches"
    }
    return Slots(caches=caches, **rows)
