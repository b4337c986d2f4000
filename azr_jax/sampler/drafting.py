"""Speculation without a draft model: a row's own text is looked up for what may follow, and verified in one step.

A draft is what followed the most recent earlier place in prompt and response with the same last tokens (prompt lookup,
Saxena 2023). The model computes the last token and the draft together. Each position's token is drawn with the key that
it would have without drafts, and kept as long as the draft agreed: the tokens are those of decoding one at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

ORDER = 3  # tokens at most that a draft's place has in common with the end of the text


class Counts(NamedTuple):
    """Steps with drafts, once for each row that took part; tokens drawn in them; tokens of the drafts."""

    steps: int = 0
    drawn: int = 0
    drafted: int = 0

    @property
    def kept_share(self) -> float:
        """Of the drafts' tokens; 0 without any."""
        return (self.drawn - self.steps) / self.drafted if self.drafted else 0.0


def lookup(history_BS: jax.Array, position_B: jax.Array, drafts: int) -> tuple[jax.Array, jax.Array]:
    """(drafts [B, drafts], found_B) for rows whose last token is at `position_B` of their text.

    The place is the most recent of those with the longest run, up to ORDER, in common with the end. What followed it is
    repeated if it is shorter than the draft. Rows without such a place get any tokens, and False.
    """
    S = history_BS.shape[1]
    places_S = jnp.arange(S, dtype=jnp.int32)
    common_BS = jnp.ones(history_BS.shape, jnp.bool_)
    run_BS = jnp.zeros(history_BS.shape, jnp.int32)
    for back in range(ORDER):
        last_B1 = jnp.take_along_axis(history_BS, jnp.maximum(position_B - back, 0)[:, None], axis=1)
        before_BS = jnp.pad(history_BS, ((0, 0), (back, 0)))[:, :S]
        common_BS &= (before_BS == last_B1) & (places_S >= back)
        run_BS += common_BS
    earlier_BS = places_S < position_B[:, None]
    score_BS = jnp.where(earlier_BS & (run_BS > 0), run_BS * S + places_S, -1)
    place_B = jnp.argmax(score_BS, axis=1).astype(jnp.int32)
    period_B1 = jnp.maximum(position_B - place_B, 1)[:, None]
    following_BD = place_B[:, None] + 1 + jnp.arange(drafts, dtype=jnp.int32) % period_B1
    return jnp.take_along_axis(history_BS, jnp.minimum(following_BD, S - 1), axis=1), score_BS.max(axis=1) >= 0


def agreed(drawn_BT: jax.Array, draft_BD: jax.Array, ends_BT: jax.Array) -> jax.Array:
    """How many of the tokens drawn at each row's T = D + 1 positions count: up to the first that is not the draft's.

    That one was drawn after right tokens, so it counts too. None counts after an end token (`ends_BT`).
    """
    right_BD = (drawn_BT[:, :-1] == draft_BD) & ~ends_BT[:, :-1]
    return 1 + jnp.cumprod(right_BD, axis=1, dtype=jnp.int32).sum(axis=1)


def placed(array_BS: jax.Array, first_B: jax.Array, values_BT: jax.Array, kept_BT: jax.Array) -> jax.Array:
    """`array_BS` with `values_BT` at places `first_B`, `first_B` + 1, ... of each row, where they are kept."""
    B, T = values_BT.shape
    places_BT = jnp.where(kept_BT, first_B[:, None] + jnp.arange(T, dtype=jnp.int32), array_BS.shape[1])
    return array_BS.at[jnp.arange(B, dtype=jnp.int32)[:, None], places_BT].set(values_BT, mode="drop")
