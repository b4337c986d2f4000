"""The decode step inside a chunk's program: one token for each running row, or a verified draft."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from azr_jax.model.sharding import constrain
from azr_jax.sampler import decoding, drafting, sampling, serving

if TYPE_CHECKING:
    from azr_jax.sampler.programs import Rows

Draw = Callable[..., tuple[jax.Array, jax.Array]]
# (caches, rows, tokens_BC, logprobs_BC[, counts_2]) of a chunk so far: rows are those of the caches, C its tokens.
Carry = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """What the steps of a decode chunk share, inside its program."""

    draw: Draw
    key: jax.Array
    ends: jax.Array
    capacity_B: np.ndarray
    start_B: jax.Array  # each row's position before the chunk
    mesh: Mesh | None

    def running(self, rows: Rows) -> jax.Array:
        """Which rows draw a token in this step."""
        return rows.live_B & (rows.position_B < self.capacity_B)

    def hidden(
        self, weights: serving.Weights, tokens: jax.Array, at: jax.Array, caches: Any, running: jax.Array
    ) -> tuple[jax.Array, Any]:
        """`decoding.decode_step` of the running rows' tokens (or of some positions of theirs)."""
        # What is not running gets a position outside the cache, so it writes nothing.
        fed = jnp.where(running, at, int(self.capacity_B.max()))
        hidden, caches = decoding.decode_step(weights, tokens, fed, caches)
        return hidden, tuple(
            tier.map(lambda buffer, layout: constrain(buffer, self.mesh, decoding.cache_axes(layout)))
            for tier in caches
        )


def draw_next(shared: Chunk, weights: serving.Weights, step: jax.Array, carry: Carry) -> Carry:
    """One token for each running row."""
    caches, rows, tokens_BC, logprobs_BC = carry
    running_B = shared.running(rows)
    hidden_BD, caches = shared.hidden(weights, rows.token_B, rows.position_B, caches, running_B)
    keys_B = sampling.row_keys(shared.key, rows.id_words_B2, rows.position_B + 1)
    temperature_B = jnp.where(running_B, rows.temperature_B, 0.0)
    drawn_B, logprob_B = shared.draw(weights.logits(hidden_BD), temperature_B, keys_B)
    tokens_BC = tokens_BC.at[:, step].set(jnp.where(running_B, drawn_B, -1))
    logprobs_BC = logprobs_BC.at[:, step].set(jnp.where(running_B, logprob_B, 0.0))
    return caches, _advanced(shared, rows, running_B, drawn_B, running_B), tokens_BC, logprobs_BC


def verify_drafts(shared: Chunk, drafts: int, weights: serving.Weights, carry: Carry) -> Carry:
    """Up to `drafts` + 1 tokens for each running row: see drafting.py."""
    caches, rows, tokens_BC, logprobs_BC, counts_2 = carry
    running_B = shared.running(rows)
    draft_BD, found_B = drafting.lookup(rows.history_BS, rows.position_B, drafts)
    fed_BT = jnp.concatenate((rows.token_B[:, None], draft_BD), axis=1)
    B, T = fed_BT.shape
    at_BT = rows.position_B[:, None] + jnp.arange(T, dtype=jnp.int32)
    inside_BT = running_B[:, None] & (at_BT < shared.capacity_B[:, None])
    hidden_BTD, caches = shared.hidden(weights, fed_BT, at_BT, caches, inside_BT)
    keys_M = sampling.row_keys(shared.key, jnp.repeat(rows.id_words_B2, T, axis=0), at_BT.reshape(-1) + 1)
    temperature_M = jnp.repeat(jnp.where(running_B, rows.temperature_B, 0.0), T)
    logits_MV = weights.logits(hidden_BTD.reshape(B * T, -1))
    drawn_BT, logprob_BT = (array_M.reshape(B, T) for array_M in shared.draw(logits_MV, temperature_M, keys_M))
    count_B = jnp.where(found_B, drafting.agreed(drawn_BT, draft_BD, jnp.isin(drawn_BT, shared.ends)), 1)
    count_B = jnp.where(running_B, jnp.minimum(jnp.minimum(count_B, rows.remaining_B), inside_BT.sum(axis=1)), 0)
    kept_BT = jnp.arange(T, dtype=jnp.int32) < count_B[:, None]
    drawn_before_B = rows.position_B - shared.start_B
    tokens_BC = drafting.placed(tokens_BC, drawn_before_B, drawn_BT, kept_BT)
    logprobs_BC = drafting.placed(logprobs_BC, drawn_before_B, logprob_BT, kept_BT)
    history_BS = drafting.placed(rows.history_BS, rows.position_B + 1, drawn_BT, kept_BT)
    last_B = jnp.take_along_axis(drawn_BT, jnp.maximum(count_B - 1, 0)[:, None], axis=1)[:, 0]
    rows = _advanced(shared, dataclasses.replace(rows, history_BS=history_BS), running_B, last_B, count_B)
    counts_2 += jnp.stack((running_B.sum(), drafts * (running_B & found_B).sum())).astype(jnp.int32)
    return caches, rows, tokens_BC, logprobs_BC, counts_2


def _advanced(shared: Chunk, rows: Rows, running_B: jax.Array, last_B: jax.Array, count_B: jax.Array) -> Rows:
    """The rows after `count_B` more tokens of each, of which `last_B` are the last."""
    ended_B = (rows.remaining_B <= count_B) | jnp.isin(last_B, shared.ends)
    return dataclasses.replace(
        rows,
        token_B=jnp.where(running_B, last_B, rows.token_B),
        position_B=rows.position_B + count_B,
        remaining_B=rows.remaining_B - count_B,
        live_B=rows.live_B & ~(running_B & ended_B),
    )
