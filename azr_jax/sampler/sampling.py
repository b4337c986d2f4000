"""From logits to tokens: temperature, top-k, top-p, and a random stream for each row that its batch cannot change."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def row_keys(key: jax.Array, id_words_B2: jax.Array, positions_B: jax.Array) -> jax.Array:
    """The key of each row: fold_in(fold_in(fold_in(key, low word), high word), position of the token to be drawn)."""

    def one(words_2: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, words_2[0]), words_2[1]), position)

    return jax.vmap(one)(id_words_B2, positions_B)


def sample(
    logits_BV: jax.Array, temperature_B: jax.Array, keys_B: jax.Array, top_p: float = 1.0, top_k: int = 0
) -> tuple[jax.Array, jax.Array]:
    """(tokens_B int32, logprobs_B float32) by the Gumbel-max trick, one stream of noise a row.

    A log-probability is that of exactly the distribution the token was drawn from: after temperature, top-k and
    top-p. For greedy rows (temperature 0) it is the model's own, at temperature 1 and unfiltered.
    """
    logits_BV = logits_BV.astype(jnp.float32)
    random_B = temperature_B > 0
    scaled_BV = logits_BV / jnp.where(random_B, temperature_B, 1.0)[:, None]
    if top_k > 0 or top_p < 1.0:
        scaled_BV = jnp.where(random_B[:, None], filtered(scaled_BV, top_p, top_k), scaled_BV)
    tokens_B = jax.lax.cond(
        jnp.any(random_B),
        lambda: jnp.argmax(scaled_BV + jnp.where(random_B[:, None], _noise(keys_B, scaled_BV.shape[1]), 0.0), axis=-1),
        lambda: jnp.argmax(scaled_BV, axis=-1),
    ).astype(jnp.int32)
    # A one-hot sum and not a gather: the vocabulary axis may lie across devices.
    chosen_BV = jax.lax.broadcasted_iota(jnp.int32, scaled_BV.shape, 1) == tokens_B[:, None]
    chosen_B = jnp.sum(jnp.where(chosen_BV, scaled_BV, 0.0), axis=-1)
    return tokens_B, chosen_B - jax.nn.logsumexp(scaled_BV, axis=-1)


def filtered(logits_BV: jax.Array, top_p: float, top_k: int) -> jax.Array:
    """The logits with what top-k and then top-p exclude at -inf.

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
