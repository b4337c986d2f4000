"""The sampling distribution, its filters, its log-probabilities and its random streams."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from azr_jax.sampler import sampling
from azr_jax.sampler.requests import id_words

LOGITS_V = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -4.0], np.float32)
DRAWS = 8192


def _draw(
    temperature: float, top_p: float = 1.0, top_k: int = 0, draw: str = "gumbel"
) -> tuple[np.ndarray, np.ndarray]:
    words_B2 = jnp.array([id_words(f"request {i}") for i in range(DRAWS)], jnp.uint32)
    keys_B = sampling.row_keys(jax.random.key(0), words_B2, jnp.full((DRAWS,), 5, jnp.int32))
    logits_BV = jnp.tile(LOGITS_V, (DRAWS, 1))
    tokens_B, logprobs_B = sampling.sample(logits_BV, jnp.full((DRAWS,), temperature), keys_B, top_p, top_k, draw)
    return np.asarray(tokens_B), np.asarray(logprobs_B)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


@pytest.mark.parametrize("draw", sampling.DRAWS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature, draw):
    tokens_B, logprobs_B = _draw(temperature, draw=draw)
    probabilities_V = _softmax(LOGITS_V / temperature)
    np.testing.assert_allclose(logprobs_B, np.log(probabilities_V)[tokens_B], atol=1e-5)
    observed_V = np.bincount(tokens_B, minlength=6)
    expected_V = probabilities_V * DRAWS
    frequent = expected_V >= 5
    chi_square = ((observed_V - expected_V) ** 2 / expected_V)[frequent].sum()
    assert chi_square < 20.5  # 5 degrees of freedom: exceeded with probability 0.001


@pytest.mark.parametrize("draw", sampling.DRAWS)
def test_greedy_takes_the_most_likely_with_its_logprob_at_temperature_one(draw):
    tokens_B, logprobs_B = _draw(0.0, top_p=0.5, top_k=2, draw=draw)
    assert set(tokens_B.tolist()) == {0}
    np.testing.assert_allclose(logprobs_B, np.log(_softmax(LOGITS_V)[0]), atol=1e-5)


@pytest.mark.parametrize(("top_p", "top_k", "kept"), [(1.0, 3, 3), (0.6, 0, 2), (0.5, 0, 1), (0.9, 2, 2), (1e-6, 0, 1)])
@pytest.mark.parametrize("draw", sampling.DRAWS)
def test_filters_keep_the_likeliest_and_logprobs_follow(top_p, top_k, kept, draw):
    tokens_B, logprobs_B = _draw(1.0, top_p, top_k, draw)
    assert set(tokens_B.tolist()) == set(range(kept))
    np.testing.assert_allclose(logprobs_B, np.log(_softmax(LOGITS_V[:kept]))[tokens_B], atol=1e-5)


@pytest.mark.ci
def test_blocks_draw_by_block_and_place_over_a_large_vocabulary():
    """300 tokens are three blocks, the last cut; block and place within it must both follow the softmax."""
    logits_V = np.random.default_rng(5).normal(0, 2, 300).astype(np.float32)
    logits_V[130] = -40.0
    words_B2 = jnp.array([id_words(f"request {i}") for i in range(DRAWS)], jnp.uint32)
    keys_B = sampling.row_keys(jax.random.key(1), words_B2, jnp.full((DRAWS,), 5, jnp.int32))
    draw = jax.jit(lambda logits_BV: sampling.sample(logits_BV, jnp.ones((DRAWS,)), keys_B, draw="blocks"))
    tokens_B, logprobs_B = (np.asarray(x) for x in draw(jnp.tile(logits_V, (DRAWS, 1))))
    probabilities_V = _softmax(logits_V)
    np.testing.assert_allclose(logprobs_B, np.log(probabilities_V)[tokens_B], atol=1e-5)
    observed_V, expected_V = np.bincount(tokens_B, minlength=300), probabilities_V * DRAWS
    assert observed_V[130] == 0
    frequent = expected_V >= 5
    chi_square = ((observed_V - expected_V) ** 2 / expected_V)[frequent].sum()
    assert chi_square < frequent.sum() + 3.3 * np.sqrt(2 * frequent.sum())  # about three deviations
    greedy_B = sampling.sample(jnp.tile(logits_V, (2, 1)), jnp.zeros((2,)), keys_B[:2], draw="blocks")[0]
    assert greedy_B.tolist() == [int(logits_V.argmax())] * 2


def test_a_row_draws_the_same_in_any_company():
    words_B2 = jnp.array([id_words(f"{i}") for i in range(64)], jnp.uint32)
    positions_B = jnp.arange(64, dtype=jnp.int32)
    logits_BV = jnp.asarray(np.random.default_rng(0).normal(size=(64, 50)), jnp.float32)
    order = np.random.default_rng(1).permutation(64)

    def draw(rows: np.ndarray) -> np.ndarray:
        keys_B = sampling.row_keys(jax.random.key(3), words_B2[rows], positions_B[rows])
        return np.asarray(sampling.sample(logits_BV[rows], jnp.ones((len(rows),)), keys_B)[0])

    whole = draw(np.arange(64))
    np.testing.assert_array_equal(draw(order), whole[order])
    np.testing.assert_array_equal(draw(order[:3]), whole[order[:3]])


def test_streams_differ_by_each_part_of_their_name():
    key = jax.random.key(0)
    words = np.array([id_words("a"), id_words("b"), id_words("a")], np.uint32)
    swapped = np.array([id_words("a")[::-1]], np.uint32)
    keys = sampling.row_keys(key, jnp.asarray(words), jnp.array([1, 1, 2], jnp.int32))
    keys = jnp.concatenate([keys, sampling.row_keys(key, jnp.asarray(swapped), jnp.array([1], jnp.int32))])
    assert len({tuple(row) for row in np.asarray(jax.random.key_data(keys)).tolist()}) == 4


def test_id_words_are_stable_over_processes_and_versions():
    assert id_words("a") == (0x399EF840, 0x2F42665B)  # BLAKE2b of "a", 8 bytes, little-endian words
