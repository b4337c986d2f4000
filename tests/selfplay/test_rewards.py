import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_jax.config import from_mapping
from azr_jax.selfplay.estimates import accuracy, accuracy_histogram, accuracy_metrics
from azr_jax.selfplay.rewards import (
    EQ4_WEIGHTS,
    REWARD_SCHEDULES,
    SOLVER_REWARDS,
    RewardState,
    adaptive_weight,
    advanced,
    error_kind,
    linear_weight,
    overlong_penalty,
    permuted,
    propose_eq3,
    propose_eq4,
    solver_reward,
    state_metrics,
    weighted,
)
from azr_jax.types import Role, TaskType
from configs import base

SETTINGS = from_mapping(base.get_config().to_dict()).reward


@pytest.mark.parametrize(
    ("formatted", "correct", "reward"), [(True, True, 1.0), (True, False, -0.5), (False, False, -1.0)]
)
def test_eq2_hand_table(formatted, correct, reward):
    assert solver_reward(formatted, correct) == reward
    assert SOLVER_REWARDS["plain"](formatted, correct, "syntax_error", RewardState(), SETTINGS) == reward


def test_eq2_refuses_a_correct_answer_that_has_no_format():
    with pytest.raises(ValueError, match="formatted"):
        solver_reward(False, True)


# acc of m = 8 samples; Eq. 4 is 0.5 + 2 acc (1 - acc).
HAND = [
    (0.0, True, -0.5, 0.5),
    (0.125, True, 0.875, 0.71875),
    (0.25, True, 0.75, 0.875),
    (0.5, True, 0.5, 1.0),
    (0.75, True, 0.25, 0.875),
    (0.875, True, 0.125, 0.71875),
    (1.0, True, -0.5, 0.5),
    (None, False, -1.0, -1.0),
    (0.5, False, -1.0, -1.0),
]


@pytest.mark.parametrize(("acc", "valid", "eq3", "eq4"), HAND)
def test_eq3_and_eq4_hand_table(acc, valid, eq3, eq4):
    assert propose_eq3(acc, valid) == eq3
    assert propose_eq4(acc, valid) == eq4


@pytest.mark.parametrize(("acc", "valid", "eq3", "eq4"), HAND)
@pytest.mark.parametrize("step", [1, 64, 65, 500])
def test_schedules_by_name_and_the_switch_at_64_65(acc, valid, eq3, eq4, step):
    state = RewardState(step)
    assert REWARD_SCHEDULES["eq3"](acc, valid, state, SETTINGS) == eq3
    assert REWARD_SCHEDULES["eq4"](acc, valid, state, SETTINGS) == eq4
    assert REWARD_SCHEDULES["switch"](acc, valid, state, SETTINGS) == (eq3 if step <= 64 else eq4)


def test_the_switch_step_is_a_setting():
    never_eq3 = dataclasses.replace(SETTINGS, switch_step=0)
    assert REWARD_SCHEDULES["switch"](0.0, True, RewardState(), never_eq3) == 0.5
    assert REWARD_SCHEDULES["switch"](0.0, True, RewardState(), SETTINGS) == -0.5


@pytest.mark.parametrize("acc", [None, -0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", REWARD_SCHEDULES)
def test_a_valid_proposal_needs_an_acc(acc, name):
    with pytest.raises(ValueError, match="acc="):
        REWARD_SCHEDULES[name](acc, True, RewardState(), SETTINGS)


@given(acc=st.floats(0, 1))
def test_eq4_is_symmetric_and_never_below_an_invalid_proposal(acc):
    assert propose_eq4(acc, True) == pytest.approx(propose_eq4(1 - acc, True))
    assert 0.5 <= propose_eq4(acc, True) <= 1.0
    assert propose_eq3(acc, True) > propose_eq3(acc, False)


@pytest.mark.parametrize(("step", "weight"), [(1, 0.0), (32, 0.0), (48, 0.25), (64, 0.5), (96, 1.0), (500, 1.0)])
def test_linear_goes_from_eq3_to_eq4_between_its_steps(step, weight):
    settings = dataclasses.replace(SETTINGS, linear_from=32, linear_to=96)
    assert linear_weight(RewardState(step), settings) == weight
    reward = REWARD_SCHEDULES["linear"](0.25, True, RewardState(step), settings)
    assert reward == pytest.approx((1 - weight) * 0.75 + weight * 0.875)
    assert REWARD_SCHEDULES["linear"](None, False, RewardState(step), settings) == -1.0


@pytest.mark.parametrize(
    ("accuracy", "weight"), [(None, 0.0), (0.0, 0.0), (0.3, 0.0), (0.45, 0.5), (0.6, 1.0), (1.0, 1.0)]
)
def test_adaptive_follows_the_running_accuracy(accuracy, weight):
    state = RewardState(7, solver_accuracy=accuracy)
    settings = dataclasses.replace(SETTINGS, adaptive_low=0.3, adaptive_high=0.6)
    assert adaptive_weight(state, settings) == pytest.approx(weight)
    assert REWARD_SCHEDULES["adaptive"](0.0, True, state, settings) == pytest.approx(-0.5 + weight)


@given(accuracies=st.lists(st.none() | st.floats(0, 1), max_size=40), acc=st.floats(0, 1))
def test_adaptive_is_continuous_and_comes_back_when_accuracy_falls(accuracies, acc):
    state = RewardState()
    most = SETTINGS.smoothing / (SETTINGS.adaptive_high - SETTINGS.adaptive_low)
    assert REWARD_SCHEDULES["adaptive"](acc, True, state, SETTINGS) == propose_eq3(acc, True)
    apart = abs(propose_eq3(acc, True) - propose_eq4(acc, True))
    for measured in accuracies:
        following = advanced(state, measured, None, SETTINGS)
        # From the first step on: the first measurement is no jump either.
        assert abs(adaptive_weight(following, SETTINGS) - adaptive_weight(state, SETTINGS)) <= most + 1e-9
        before, after = (REWARD_SCHEDULES["adaptive"](acc, True, moment, SETTINGS) for moment in (state, following))
        assert abs(after - before) <= most * apart + 1e-9
        state = following
    assert state.step == len(accuracies) + 1
    low, high = sorted((propose_eq3(acc, True), propose_eq4(acc, True)))
    assert low - 1e-9 <= REWARD_SCHEDULES["adaptive"](acc, True, state, SETTINGS) <= high + 1e-9
    for _ in range(200):
        state = advanced(state, 1.0, None, SETTINGS)
    assert REWARD_SCHEDULES["adaptive"](acc, True, state, SETTINGS) == propose_eq4(acc, True)
    for _ in range(200):
        state = advanced(state, 0.0, None, SETTINGS)
    assert REWARD_SCHEDULES["adaptive"](acc, True, state, SETTINGS) == propose_eq3(acc, True)


@given(acc=st.floats(0, 1), step=st.integers(1, 600))
def test_linear_is_continuous_and_switch_jumps_once(acc, step):
    most = 1 / (SETTINGS.linear_to - SETTINGS.linear_from)
    now, following = RewardState(step), RewardState(step + 1)
    assert 0 <= linear_weight(following, SETTINGS) - linear_weight(now, SETTINGS) <= most + 1e-9
    jump = EQ4_WEIGHTS["switch"](following, SETTINGS) - EQ4_WEIGHTS["switch"](now, SETTINGS)
    assert jump == (1.0 if step == SETTINGS.switch_step else 0.0)


@given(
    acc=st.floats(0, 1),
    step=st.integers(1, 200),
    accuracy=st.none() | st.floats(0, 1),
    name=st.sampled_from(sorted(EQ4_WEIGHTS)),
)
def test_each_mixing_schedule_is_its_weight(acc, step, accuracy, name):
    state = RewardState(step, accuracy)
    weight = EQ4_WEIGHTS[name](state, SETTINGS)
    expected = (1 - weight) * propose_eq3(acc, True) + weight * propose_eq4(acc, True)
    assert REWARD_SCHEDULES[name](acc, True, state, SETTINGS) == pytest.approx(expected)
    assert REWARD_SCHEDULES[name](None, False, state, SETTINGS) == -1.0
    assert state_metrics(state, dataclasses.replace(SETTINGS, proposer=name))["propose/eq4_weight"] == weight


def test_what_schedules_go_by_is_in_the_metrics():
    settings = dataclasses.replace(SETTINGS, proposer="learnability")
    assert state_metrics(RewardState(), settings) == {}
    assert state_metrics(RewardState(2, 0.4, 0.1), settings) == {
        "solve/running_solver_accuracy": 0.4,
        "solve/running_syntax_share": 0.1,
    }


def test_running_means_by_hand():
    settings = dataclasses.replace(SETTINGS, smoothing=0.25, adaptive_low=0.2, graded_shift_share=0.4)
    state = advanced(RewardState(), None, None, settings)
    assert state == RewardState(2, None, None)
    state = advanced(advanced(state, 0.4, 0.2, settings), 0.8, None, settings)
    # 0.75 x 0.2 + 0.25 x 0.4 = 0.25, then 0.75 x 0.25 + 0.25 x 0.8; 0.75 x 0.4 + 0.25 x 0.2.
    assert state == RewardState(4, pytest.approx(0.3875), pytest.approx(0.35))


@pytest.mark.parametrize(("acc", "reward"), [(0.0, 0.0), (0.25, 0.1875), (0.5, 0.25), (1.0, 0.0)])
def test_learnability(acc, reward):
    assert REWARD_SCHEDULES["learnability"](acc, True, RewardState(), SETTINGS) == reward
    assert REWARD_SCHEDULES["learnability"](None, False, RewardState(), SETTINGS) == -1.0


# Whatever the language, the outcome is one of the executor's words or a parsing reason.
KINDS = [
    (False, False, "no_answer", "format"),
    (True, False, "syntax_error", "syntax"),
    (True, False, "runtime_error", "runtime"),
    (True, False, "timeout", "runtime"),
    (True, False, "memory", "runtime"),
    (True, False, "forbidden", "syntax"),
    (True, False, "wrong", "wrong"),
    (True, True, "correct", None),
]


@pytest.mark.parametrize(("formatted", "correct", "outcome", "kind"), KINDS)
def test_error_kinds(formatted, correct, outcome, kind):
    assert error_kind(formatted, correct, outcome) == kind


@pytest.mark.parametrize("name", ["graded", "graded_shift"])
@given(share=st.none() | st.floats(0, 1))
def test_graded_rewards_keep_their_order(name, share):
    state = RewardState(3, syntax_share=share)
    rewards = [SOLVER_REWARDS[name](*case[:3], state, SETTINGS) for case in KINDS]
    unformatted, syntax, runtime, timeout, memory, no_value, wrong, correct = rewards
    assert unformatted == -1.0 < syntax < runtime < wrong < 0.0 < correct == 1.0
    assert runtime == timeout == memory and syntax == no_value


def test_graded_shift_moves_the_gap_from_form_to_meaning():
    def gaps(share):
        state = RewardState(3, syntax_share=share)
        syntax, runtime, wrong = (
            SOLVER_REWARDS["graded_shift"](True, False, outcome, state, SETTINGS)
            for outcome in ("syntax_error", "runtime_error", "wrong")
        )
        return runtime - syntax, wrong - runtime

    form, meaning = gaps(SETTINGS.graded_shift_share)
    assert form > 4 * meaning
    assert gaps(None) == gaps(1.0) == (form, meaning)
    form, meaning = gaps(0.0)
    assert meaning > 4 * form


@given(shares=st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=40))
def test_graded_shift_is_continuous_over_training(shares):
    state = RewardState()
    reach = 0.8 * max(SETTINGS.graded_wrong - SETTINGS.graded_runtime, SETTINGS.graded_runtime - SETTINGS.graded_syntax)
    most = reach * SETTINGS.smoothing / SETTINGS.graded_shift_share
    for share in shares:
        following = advanced(state, None, share, SETTINGS)
        for outcome in ("syntax_error", "runtime_error", "wrong"):
            before, after = (
                SOLVER_REWARDS["graded_shift"](True, False, outcome, moment, SETTINGS) for moment in (state, following)
            )
            assert abs(after - before) <= most + 1e-9
        state = following


def test_eq1_weights_the_solver_alone():
    assert weighted(Role.SOLVE, -0.5, 2.0) == -1.0
    assert weighted(Role.PROPOSE, -0.5, 2.0) == -0.5


@given(
    pairs=st.lists(st.tuples(st.floats(-1, 1), st.sampled_from([(t, r) for t in TaskType for r in Role]))),
    seed=st.integers(),
)
def test_permuted_keeps_each_groups_rewards(pairs, seed):
    rewards, groups = [reward for reward, _ in pairs], [group for _, group in pairs]
    shuffled = permuted(rewards, groups, random.Random(seed))
    assert Counter(zip(groups, shuffled, strict=True)) == Counter(zip(groups, rewards, strict=True))
    assert shuffled == permuted(rewards, groups, random.Random(seed))


def test_permuted_shuffles_and_needs_a_group_each():
    rewards = [float(n) for n in range(64)]
    assert permuted(rewards, ["a"] * 64, random.Random(0)) != rewards
    with pytest.raises(ValueError, match="groups"):
        permuted(rewards, ["a"], random.Random(0))


def test_acc_counts_unparsed_answers_and_leaves_out_infrastructure():
    assert accuracy([True, False, None, True, False]) == 0.5
    assert accuracy([False] * 8) == 0.0
    assert accuracy([None, None]) is None


def test_equal_samples_put_all_mass_at_both_ends_and_the_metrics_show_it():
    chances = [0.25, 0.75] * 100
    rng = random.Random(0)
    greedy = [accuracy([chance > 0.5] * 8) for chance in chances]
    sampled = [accuracy([rng.random() < chance for _ in range(8)]) for chance in chances]
    metrics = accuracy_metrics(greedy, 250)
    assert metrics == {
        "invalid_rate": pytest.approx(0.2),
        "acc": 0.5,
        "acc_zero": 0.5,
        "acc_one": 0.5,
        "acc_between": 0.0,
    }
    assert {propose_eq3(acc, True) for acc in greedy} == {-0.5}
    # 0.75^8 + 0.25^8 = 0.1 of such proposals still look all right or all wrong.
    assert accuracy_metrics(sampled, 200)["acc_between"] == pytest.approx(0.9, abs=0.07)
    assert sum(propose_eq3(acc, True) for acc in sampled) / len(sampled) > 0.3


def test_accuracy_metrics_of_nothing():
    assert accuracy_metrics([], 0) == {}
    assert accuracy_metrics([], 3) == {"invalid_rate": 1.0}
    with pytest.raises(ValueError, match="2 valid proposals of 1"):
        accuracy_metrics([0.5, 0.5], 1)


def test_the_histogram_of_acc_has_every_bin_and_rounds_to_the_nearest():
    metrics = accuracy_histogram([0.0, 0.25, 0.25, 1.0, 2 / 3], 4)
    assert metrics == {
        "acc_histogram/0_of_4": 0.2,
        "acc_histogram/1_of_4": 0.4,
        "acc_histogram/2_of_4": 0.0,
        "acc_histogram/3_of_4": 0.2,
        "acc_histogram/4_of_4": 0.2,
    }
    assert accuracy_histogram([], 4) == {}


@pytest.mark.parametrize(("acc", "reward"), [(0.0, 0.0), (0.125, 0.125), (0.5, 0.5), (0.75, 0.25), (1.0, 0.0)])
def test_uncertainty_by_hand(acc, reward):
    assert REWARD_SCHEDULES["uncertainty"](acc, True, RewardState(), SETTINGS) == reward
    assert REWARD_SCHEDULES["uncertainty"](None, False, RewardState(), SETTINGS) == -1.0


@pytest.mark.parametrize(("tokens", "penalty"), [(0, 0.0), (90, 0.0), (95, -0.5), (100, -1.0), (101, -1.0)])
def test_the_overlong_penalty_by_hand(tokens, penalty):
    assert overlong_penalty(tokens, limit=100, last=10) == penalty
