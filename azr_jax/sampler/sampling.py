"""From logits to tokens: temperature, top-k, top-p, and a random stream for each row, independent of its batch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

_BLOCK = 128


def row_keys(key: jax.Array, id_words_B2: jax.Array, positions_B: jax.Array) -> jax.Array:
    """The key of each row: fold_in(fold_in(fold_in(key, low word), high word), position of the token to be drawn)."""

    def row_key(words_2: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, words_2[0]), words_2[1]), position)

    return jax.vmap(row_key)(id_words_B2, positions_B)


def sample(
    logits_BV: jax.Array,
    temperature_B: jax.Array,
    keys_B: jax.Array,
    top_p: float = 1.0,
    top_k: int = 0,
    draw: str = "gumbel",
) -> tuple[jax.Array, jax.Array]:
    """(tokens_B int32, logprobs_B float32), one random stream a row; `draw` is a key of DRAWS.

    A log-probability is of exactly the distribution the token was drawn from: after temperature, top-k and
    top-p. For greedy rows (temperature 0) it is the model's own, at temperature 1 and unfiltered.
    """
    logits_BV = logits_BV.astype(jnp.float32)
    random_B = temperature_B > 0
    scaled_BV = logits_BV / jnp.where(random_B, temperature_B, 1.0)[:, None]
    if top_k > 0 or top_p < 1.0:
        scaled_BV = jnp.where(random_B[:, None], filtered(scaled_BV, top_p, top_k), scaled_BV)
    return DRAWS[draw](scaled_BV, random_B, keys_B)


def _gumbel(scaled_BV: jax.Array, random_B: jax.Array, keys_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest of logits plus Gumbel noise: a random number for each token of the vocabulary."""
    tokens_B = jax.lax.cond(
        jnp.any(random_B),
        lambda: jnp.argmax(scaled_BV + jnp.where(random_B[:, None], _noise(keys_B, scaled_BV.shape[1]), 0.0), axis=-1),
        lambda: jnp.argmax(scaled_BV, axis=-1),
    ).astype(jnp.int32)
    # A one-hot sum and not a gather: the vocabulary axis may be sharded.
    chosen_BV = jax.lax.broadcasted_iota(jnp.int32, scaled_BV.shape, 1) == tokens_B[:, None]
    chosen_B = jnp.sum(jnp.where(chosen_BV, scaled_BV, 0.0), axis=-1)
    return tokens_B, chosen_B - jax.nn.logsumexp(scaled_BV, axis=-1)


def _blocks(scaled_BV: jax.Array, random_B: jax.Array, keys_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A block of 128 tokens by the blocks' probabilities, then a token of it by theirs: two random numbers a row.

    Reads the logits twice and makes no other array of their size. Gumbel noise takes six such arrays on a GPU, where
    jax hashes counters in a separate kernel on whole arrays.
    """
    B, V = scaled_BV.shape
    padded_BV = jnp.pad(scaled_BV, ((0, 0), (0, -V % _BLOCK)), constant_values=-jnp.inf)
    blocks_BMb = padded_BV.reshape(B, -1, _BLOCK)
    highest_BM = blocks_BMb.max(axis=-1)
    highest_B1 = highest_BM.max(axis=-1, keepdims=True)
    mass_BM = jnp.exp(blocks_BMb - highest_B1[:, :, None]).sum(axis=-1)
    uniform_B2 = jax.vmap(lambda key: jax.random.uniform(key, (2,), jnp.float32))(keys_B)
    block_B = _inverse(mass_BM, uniform_B2[:, 0])
    block_B = jnp.where(random_B, block_B, jnp.argmax(highest_BM, axis=-1))
    inside_Bb = jnp.take_along_axis(blocks_BMb, block_B[:, None, None], axis=1)[:, 0]
    place_B = _inverse(jnp.exp(inside_Bb - inside_Bb.max(axis=-1, keepdims=True)), uniform_B2[:, 1])
    place_B = jnp.where(random_B, place_B, jnp.argmax(inside_Bb, axis=-1))
    chosen_B = jnp.take_along_axis(inside_Bb, place_B[:, None], axis=1)[:, 0]
    tokens_B = (block_B * _BLOCK + place_B).astype(jnp.int32)
    return tokens_B, chosen_B - highest_B1[:, 0] - jnp.log(mass_BM.sum(axis=-1))


def _inverse(mass_BM: jax.Array, uniform_B: jax.Array) -> jax.Array:
    """The entry m where the running sum of `mass` first exceeds `uniform` of the whole; never one without mass."""
    below_BM = jnp.cumsum(mass_BM, axis=-1)
    beyond_BM = (below_BM > uniform_B[:, None] * below_BM[:, -1:]) & (mass_BM > 0)
    # If rounding keeps every partial sum at or below the drawn number, the most likely token is taken.
    return jnp.where(beyond_BM.any(axis=-1), jnp.argmax(beyond_BM, axis=-1), jnp.argmax(mass_BM, axis=-1))


def filtered(logits_BV: jax.Array, top_p: float, top_k: int) -> jax.Array:
    """The logits, with those that top-k and then top-p exclude at -inf.

    top_k 0 keeps all. top_p keeps the fewest most likely tokens whose probability reaches it (Holtzman et al. 2020);
    tokens exactly as likely as the last one kept stay too.
    """
    V = logits_BV.shape[1]
    sorted_BV = jnp.sort(logits_BV, axis=-1, descending=True)
    if 0 < top_k < V:
        least_B1 = sorted_BV[:, top_k - 1 : top_k]
        logits_BV = jnp.where(logits_BV < least_B1, -jnp.inf, logits_BV)
        sorted_BV = jnp.where(sorted_BV < least_B1, -jnp.inf, sorted_BV)
    if top_p < 1.0:
        probabilities_BV = jax.nn.softmax(sorted_BV, axis=-1)
        before_BV = jnp.cumsum(probabilities_BV, axis=-1) - probabilities_BV
        least_B1 = jnp.min(jnp.where(before_BV < top_p, sorted_BV, jnp.inf), axis=-1, keepdims=True)
        logits_BV = jnp.where(logits_BV < least_B1, -jnp.inf, logits_BV)
    return logits_BV


def _noise(keys_B: jax.Array, vocab_size: int) -> jax.Array:
    return jax.vmap(lambda key: jax.random.gumbel(key, (vocab_size,), jnp.float32))(keys_B)


# From (scaled_BV, random_B, keys_B) to (tokens_B, logprobs_B), a random stream a row.
DRAWS: dict[str, Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]] = {
    "gumbel": _gumbel,
    "blocks": _blocks,
}
