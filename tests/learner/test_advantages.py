import jax
import numpy as np
import pytest

from azr_jax.learner.advantages import (
    ADVANTAGE_ESTIMATORS,
    gae,
    grpo,
    rloo,
    sequence_advantages,
    trrpp,
    whitened_tokens,
)


def random_responses(seed: int = 0, count: int = 50):
    rng = np.random.default_rng(seed)
    rewards = rng.choice([-1.0, -0.5, 0.625, 1.0], count).astype(np.float32)
    return rewards, rng.integers(0, 6, count), rng.integers(0, 12, count)


def whitened_reference(rewards, groups):
    advantages = np.zeros(len(rewards))
    for group in set(groups.tolist()):
        chosen = groups == group
        std = rewards[chosen].std()
        if std > 0:
            advantages[chosen] = (rewards[chosen] - rewards[chosen].mean()) / std
    return advantages


def rloo_reference(rewards, prompts):
    advantages = []
    for index, reward in enumerate(rewards):
        others = [rewards[j] for j in range(len(rewards)) if prompts[j] == prompts[index] and j != index]
        advantages.append(reward - (np.mean(others) if others else 0.0))
    return np.array(advantages)


def gae_reference(rewards, values, gamma, gae_lambda):
    """One response at a time, by the defining sum."""
    deltas = rewards + gamma * np.append(values[1:], 0.0) - values
    return np.array(
        [
            sum((gamma * gae_lambda) ** k * delta for k, delta in enumerate(deltas[start:]))
            for start in range(len(deltas))
        ]
    )


def test_trrpp_by_hand():
    # Task 0 has rewards 1 and -1 (mean 0, std 1); task 4 has 1, 1, -0.5 (mean 0.5, std sqrt(0.5)).
    advantages = trrpp([1.0, 1.0, -1.0, 1.0, -0.5], [0, 4, 0, 4, 4], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(advantages, [1.0, 0.5**0.5, -1.0, 0.5**0.5, -(2.0**0.5)], rtol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
def test_estimators_match_numpy(jitted):
    rewards, tasks, prompts = random_responses()
    wrap = jax.jit if jitted else lambda function: function
    for estimator, expected in (
        (trrpp, whitened_reference(rewards, tasks)),
        (grpo, whitened_reference(rewards, prompts)),
        (rloo, rloo_reference(rewards, prompts)),
    ):
        np.testing.assert_allclose(wrap(estimator)(rewards, tasks, prompts), expected, atol=1e-5)


def test_trrpp_is_whitened_in_each_task_and_blind_to_the_others():
    rewards, tasks, prompts = random_responses(count=200)
    advantages = np.asarray(trrpp(rewards, tasks, prompts))
    for task in range(6):
        np.testing.assert_allclose(advantages[tasks == task].mean(), 0.0, atol=1e-6)
        np.testing.assert_allclose(advantages[tasks == task].std(), 1.0, atol=1e-5)
    other = np.where(tasks == 3, -7.0 * rewards, rewards)
    np.testing.assert_allclose(np.asarray(trrpp(other, tasks, prompts))[tasks != 3], advantages[tasks != 3], atol=1e-6)


def test_equal_rewards_give_exactly_zero():
    # 0.1 * 3 / 3 is not 0.1 in float32: without care the std is tiny and the advantages are 1.
    for estimator in (trrpp, grpo):
        assert not np.any(estimator([0.1, 0.1, 0.1], [2, 2, 2], [5, 5, 5]))


def test_order_of_responses_does_not_matter():
    rewards, tasks, prompts = random_responses()
    order = np.random.default_rng(1).permutation(len(rewards))
    for estimator in (trrpp, grpo, rloo):
        straight = np.asarray(estimator(rewards, tasks, prompts))
        np.testing.assert_allclose(estimator(rewards[order], tasks[order], prompts[order]), straight[order], atol=1e-6)


def test_groups_of_one():
    assert np.asarray(rloo([0.5], [0], [9]))[0] == np.float32(0.5)
    assert np.asarray(grpo([0.5], [0], [9]))[0] == 0.0


def test_rloo_by_hand():
    np.testing.assert_allclose(rloo([1.0, 0.0, -1.0], [0, 0, 0], [7, 7, 7]), [1.5, 0.0, -1.5], rtol=1e-6)


def test_gae_by_hand():
    # gamma 0.5, lambda 0.5: delta_1 = 1 - 0.4 = 0.6; delta_0 = 0.5 * 0.4 - 0.2 = 0; A_0 = 0.25 * 0.6.
    advantages = gae([[0.0, 1.0]], [[0.2, 0.4]], [[1, 1]], 0.5, 0.5)
    np.testing.assert_allclose(advantages, [[0.15, 0.6]], rtol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
def test_gae_of_packed_rows_matches_each_response_alone(jitted):
    rng = np.random.default_rng(0)
    runs = {0: [(1, 4), (6, 9)], 1: [(0, 7)]}  # row -> response runs, separated as packing separates them
    mask, values, rewards = np.zeros((2, 10)), rng.standard_normal((2, 10)), np.zeros((2, 10))
    for row, spans in runs.items():
        for start, stop in spans:
            mask[row, start:stop], rewards[row, stop - 1] = 1.0, rng.standard_normal()
    function = jax.jit(gae) if jitted else gae
    advantages = np.asarray(function(rewards, values, mask, 0.9, 0.8))
    for row, spans in runs.items():
        for start, stop in spans:
            expected = gae_reference(rewards[row, start:stop], values[row, start:stop], 0.9, 0.8)
            np.testing.assert_allclose(advantages[row, start:stop], expected, atol=1e-6)
    assert not advantages[mask == 0].any()


def test_gae_with_lambda_one_is_return_minus_value():
    values = np.array([[0.3, -0.2, 0.5]])
    advantages = gae([[0.0, 0.0, 2.0]], values, np.ones((1, 3)), 1.0, 1.0)
    np.testing.assert_allclose(advantages, 2.0 - values, rtol=1e-6)


def test_whitened_tokens_ignores_padding():
    advantages = np.array([[1.0, 3.0, 99.0], [np.nan, 5.0, 7.0]])
    mask = np.array([[1, 1, 0], [0, 1, 1]])
    whitened = np.asarray(whitened_tokens(advantages, mask))
    np.testing.assert_allclose(whitened[mask == 1], (np.array([1.0, 3.0, 5.0, 7.0]) - 4.0) / 5.0**0.5, rtol=1e-6)
    assert not whitened[mask == 0].any()
    assert not np.any(whitened_tokens(np.full((1, 3), 0.1), np.ones((1, 3))))


def test_sequence_advantages_names_what_is_wrong():
    assert sequence_advantages("gae", [1.0, 2.0], [0, 0], [0, 1]).tolist() == [0.0, 0.0]
    np.testing.assert_allclose(sequence_advantages("trrpp", [1.0, -1.0], [0, 0], [0, 1]), [1.0, -1.0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"learner.estimator='ppo'.*trrpp"):
        sequence_advantages("ppo", [1.0], [0], [0])
    with pytest.raises(ValueError, match="train_on_estimates"):
        sequence_advantages("grpo", [1.0, 2.0], [0, 0], [0, 1])
    with pytest.raises(ValueError, match="lengths 2, 1, 2"):
        sequence_advantages("trrpp", [1.0, 2.0], [0], [0, 1])


def test_the_configs_names_are_the_estimators():
    assert set(ADVANTAGE_ESTIMATORS) == {"trrpp", "gae", "grpo", "rloo"}
