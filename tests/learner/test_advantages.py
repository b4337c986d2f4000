import logging

import jax
import numpy as np
import pytest

from azr_jax.config_checks import CHOICES
from azr_jax.learner.advantages import (
    ADVANTAGE_ESTIMATORS,
    dr_grpo,
    gae,
    grpo,
    padded_size,
    rloo,
    role,
    sequence_advantages,
    trrpp,
    trrpp_tokens,
    whitened_tokens,
)


def random_responses(seed: int = 0, count: int = 50):
    rng = np.random.default_rng(seed)
    rewards = rng.choice([-1.0, -0.5, 0.625, 1.0], count).astype(np.float32)
    return rewards, rng.integers(0, 6, count), rng.integers(0, 12, count), rng.integers(1, 40, count)


def whitened_reference(rewards, groups):
    advantages = np.zeros(len(rewards))
    for group in set(groups.tolist()):
        chosen = groups == group
        std = rewards[chosen].std()
        if std > 0:
            advantages[chosen] = (rewards[chosen] - rewards[chosen].mean()) / std
    return advantages


def centred_reference(rewards, groups):
    return np.array([reward - rewards[groups == group].mean() for reward, group in zip(rewards, groups, strict=True)])


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
    advantages = trrpp([1.0, 1.0, -1.0, 1.0, -0.5], [0, 4, 0, 4, 4], [0, 1, 2, 3, 4], [9, 1, 1, 9, 9])
    np.testing.assert_allclose(advantages, [1.0, 0.5**0.5, -1.0, 0.5**0.5, -(2.0**0.5)], rtol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
def test_estimators_match_numpy(jitted):
    rewards, tasks, prompts, lengths = random_responses()
    wrap = jax.jit if jitted else lambda function: function
    for estimator, expected in (
        (trrpp, whitened_reference(rewards, tasks)),
        (grpo, whitened_reference(rewards, prompts)),
        (dr_grpo, centred_reference(rewards, prompts)),
        (rloo, rloo_reference(rewards, prompts)),
    ):
        np.testing.assert_allclose(wrap(estimator)(rewards, tasks, prompts, lengths), expected, atol=1e-5)


def test_trrpp_is_whitened_within_each_task_alone():
    rewards, tasks, prompts, lengths = random_responses(count=200)
    advantages = np.asarray(trrpp(rewards, tasks, prompts, lengths))
    for task in range(6):
        np.testing.assert_allclose(advantages[tasks == task].mean(), 0.0, atol=1e-6)
        np.testing.assert_allclose(advantages[tasks == task].std(), 1.0, atol=1e-5)
    other = np.where(tasks == 3, -7.0 * rewards, rewards)
    np.testing.assert_allclose(
        np.asarray(trrpp(other, tasks, prompts, lengths))[tasks != 3], advantages[tasks != 3], atol=1e-6
    )


def test_equal_rewards_give_exactly_zero():
    # 0.1 * 3 / 3 is not 0.1 in float32: without care the std is tiny and the advantages are 1.
    for estimator in (trrpp, grpo):
        assert not np.any(estimator([0.1, 0.1, 0.1], [2, 2, 2], [5, 5, 5], [1, 2, 3]))


def test_order_of_responses_does_not_matter():
    rewards, tasks, prompts, lengths = random_responses()
    order = np.random.default_rng(1).permutation(len(rewards))
    for estimator in (trrpp, grpo, rloo):
        straight = np.asarray(estimator(rewards, tasks, prompts, lengths))
        np.testing.assert_allclose(
            estimator(rewards[order], tasks[order], prompts[order], lengths[order]), straight[order], atol=1e-6
        )


def test_groups_of_one():
    assert np.asarray(rloo([0.5], [0], [9], [1]))[0] == np.float32(0.5)
    assert np.asarray(grpo([0.5], [0], [9], [1]))[0] == 0.0


def test_rloo_by_hand():
    np.testing.assert_allclose(rloo([1.0, 0.0, -1.0], [0, 0, 0], [7, 7, 7], [1, 1, 1]), [1.5, 0.0, -1.5], rtol=1e-6)


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
    assert sequence_advantages("gae", [1.0, 2.0], [0, 0], [0, 1], [1, 1]).tolist() == [0.0, 0.0]
    advantages = sequence_advantages("trrpp", [1.0, -1.0], [0, 0], [0, 1], [1, 1])
    np.testing.assert_allclose(advantages, [1.0, -1.0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"learner.estimator='ppo'.*trrpp"):
        sequence_advantages("ppo", [1.0], [0], [0], [1])
    with pytest.raises(ValueError, match="2, 1, 2 and 2 entries"):
        sequence_advantages("trrpp", [1.0, 2.0], [0], [0, 1], [1, 1])


def test_trrpp_tokens_by_hand():
    # Group 0: rewards 1 (1 token) and -1 (3 tokens): mean -0.5; squares 2.25 + 3 * 0.25 = 3 over 4 - 1 tokens: var 1.
    advantages = trrpp_tokens([1.0, -1.0, 0.5], [0, 0, 4], [0, 1, 2], [1, 3, 9])
    np.testing.assert_allclose(advantages, [1.5, -0.5, 0.0], rtol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
def test_trrpp_tokens_is_verls_masked_whitening_of_every_token(jitted):
    rewards, tasks, prompts, lengths = random_responses()
    estimator = jax.jit(trrpp_tokens) if jitted else trrpp_tokens
    advantages = np.asarray(estimator(rewards, tasks, prompts, lengths))
    for task in range(6):
        members = tasks == task
        tokens = np.repeat(rewards[members].astype(np.float64), lengths[members])
        whitened = (tokens - tokens.mean()) / np.sqrt(tokens.var(ddof=1) + 1e-8)
        np.testing.assert_allclose(np.repeat(advantages[members], lengths[members]), whitened, atol=1e-5)


def test_over_tokens_long_failures_count_for_less_than_over_responses():
    # 95 short successes, 5 failures at the length limit, as at the paper's sizes.
    rewards, lengths = np.array([1.0] * 95 + [-1.0] * 5), np.array([500] * 95 + [8096] * 5)
    zeros, numbers = np.zeros(100, int), np.arange(100)
    of_responses = np.asarray(trrpp(rewards, zeros, numbers, lengths))
    of_tokens = np.asarray(trrpp_tokens(rewards, zeros, numbers, lengths))
    assert (of_responses * lengths).sum() / lengths.sum() < -1.0
    np.testing.assert_allclose((of_tokens * lengths).sum() / lengths.sum(), 0.0, atol=1e-5)


def test_role_whitens_each_role_over_its_three_types():
    rewards, tasks, prompts, lengths = random_responses()
    expected = whitened_reference(rewards, tasks // 3)
    np.testing.assert_allclose(role(rewards, tasks, prompts, lengths), expected, atol=1e-5)


def test_problems_are_a_group_of_their_own_and_in_the_solvers_role():
    rewards, tasks, prompts, lengths = [1.0, -1.0, 0.5, -0.5, 1.0, 0.0], [3, 3, 6, 6, 0, 0], [0] * 6, [1] * 6
    np.testing.assert_allclose(trrpp(rewards, tasks, prompts, lengths), [1, -1] * 3, atol=1e-5)
    solvers = np.array([1.0, -1.0, 0.5, -0.5])
    expected = [*(solvers / solvers.std()), 1, -1]
    np.testing.assert_allclose(role(rewards, tasks, prompts, lengths), expected, atol=1e-5)


def test_dr_grpo_by_hand_divides_by_no_deviation():
    advantages = dr_grpo([1.0, 0.0, 0.0, 0.4, 0.4, 7.0], [0] * 6, [5, 5, 5, 6, 6, 8], [1] * 6)
    np.testing.assert_allclose(advantages, [2 / 3, -1 / 3, -1 / 3, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("estimator", sorted(set(ADVANTAGE_ESTIMATORS) - {"gae"}))
def test_degenerate_groups_are_finite_and_zero(estimator):
    """Groups of one, equal rewards, rewards of zero, and a response without a token."""
    function = ADVANTAGE_ESTIMATORS[estimator]
    assert not np.any(function([0.0, 0.0], [1, 1], [0, 0], [3, 5]))
    assert not np.any(np.asarray(function([0.1, 0.1, 0.1], [2, 2, 2], [5, 5, 5], [1, 2, 3])))
    alone = np.asarray(function([0.5], [0], [0], [1]))
    assert alone[0] == (0.5 if estimator == "rloo" else 0.0)
    empty = np.asarray(function([1.0, -1.0, 1.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]))
    assert np.isfinite(empty).all()


def test_the_configs_names_are_the_estimators():
    with pytest.raises(ValueError, match=r"learner\.estimator") as caught:
        sequence_advantages("", [], [], [], [])
    assert all(name in str(caught.value) for name in ADVANTAGE_ESTIMATORS)
    assert set(CHOICES["learner.estimator"]) == set(ADVANTAGE_ESTIMATORS)


@pytest.mark.parametrize("estimator", sorted(set(ADVANTAGE_ESTIMATORS) - {"gae"}))
def test_other_numbers_of_responses_need_no_other_programs_and_change_nothing(estimator, caplog):
    responses = random_responses(count=48)
    sequence_advantages(estimator, *responses)
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        for count in (47, 40, 33):
            sequence_advantages(estimator, *(values[:count] for values in responses))
    assert [record.getMessage() for record in caplog.records if "Compiling" in record.msg] == []
    for count in (1, 5, 33, 48):
        some = [values[:count] for values in responses]
        expected = ADVANTAGE_ESTIMATORS[estimator](*some)
        np.testing.assert_allclose(sequence_advantages(estimator, *some), expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 48, 97, 384, 385])
def test_padded_sizes_are_few_and_waste_a_third_at_most(count):
    assert count <= padded_size(count) <= max(count + 1, 1.5 * count)
    assert padded_size(padded_size(count)) == padded_size(count)
