import numpy as np
import pytest

from azr_jax.config_checks import CHOICES
from azr_jax.learner.aggregation import LOSS_AGGREGATIONS, balanced_shares

# Four responses of 1, 3, 2 and 4 tokens; token losses that tell them apart.
LENGTHS = np.array([1.0, 3.0, 2.0, 4.0])
GROUPS = np.array([0, 0, 3, 3])
LOSSES = [np.array([10.0]), np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0]), np.array([1.0, 1.0, 1.0, 5.0])]
# size 2: the first two responses are a microbatch, the last two the other; constant: a length of 8.
SIZES = {"microbatch": 2, "constant": 8}
BY_HAND = {
    "token": (16 + 10 + 8) / 10,
    "sequence": (10 + 2 + 5 + 2) / 4,
    "task": (16 / 4 + 18 / 6) / 2,
    "microbatch": (16 / 4 + 18 / 6) / 2,
    "constant": 34 / 8 / 4,
}


def aggregate(name, losses=LOSSES, lengths=LENGTHS, groups=GROUPS, shares=None):
    shares = np.ones(len(lengths)) if shares is None else np.array(shares, float)
    weights, denominator = LOSS_AGGREGATIONS[name](lengths, groups, shares, SIZES.get(name, 0))
    return sum(weight * loss.sum() for weight, loss in zip(weights, losses, strict=True)) / denominator


@pytest.mark.parametrize("name", LOSS_AGGREGATIONS)
def test_by_hand(name):
    np.testing.assert_allclose(aggregate(name), BY_HAND[name])


def test_microbatches_go_by_order_and_the_last_counts_by_its_responses():
    # Three responses: a full microbatch of two and one of one, which counts for half as much.
    loss = aggregate("microbatch", LOSSES[:3], LENGTHS[:3], GROUPS[:3])
    np.testing.assert_allclose(loss, (2 * 16 / 4 + 1 * 10 / 2) / 3)
    swapped = aggregate("microbatch", [LOSSES[0], LOSSES[2], LOSSES[1], LOSSES[3]], LENGTHS[[0, 2, 1, 3]])
    assert swapped != aggregate("microbatch")


@pytest.mark.parametrize("name", sorted(set(LOSS_AGGREGATIONS) - {"constant", "task"}))
def test_a_loss_of_one_everywhere_stays_one_whatever_the_shares(name):
    ones = [np.ones(int(length)) for length in LENGTHS]
    np.testing.assert_allclose(aggregate(name, ones, shares=[1.0, 0.5, 0.25, 2.0]), 1.0)


@pytest.mark.parametrize("name", sorted(set(LOSS_AGGREGATIONS) - {"microbatch"}))
def test_a_response_copied_twice_with_half_the_share_changes_nothing(name):
    losses, lengths, groups = [*LOSSES, LOSSES[3]], np.append(LENGTHS, 4.0), np.append(GROUPS, 3)
    copied = aggregate(name, losses, lengths, groups, [1.0, 1.0, 1.0, 0.5, 0.5])
    if name != "task":  # whose groups are equal by their tokens, whatever the shares
        np.testing.assert_allclose(copied, aggregate(name))


def test_balanced_shares_give_both_roles_of_a_type_the_same_weight():
    # Deduction: 2 proposals, 6 solutions; abduction: 1 and 1; induction: solutions alone.
    groups = np.array([0, 0, 3, 3, 3, 3, 3, 3, 1, 4, 5, 5])
    shares = balanced_shares(groups)
    sums = [shares[groups == group].sum() for group in (0, 3, 1, 4, 5)]
    np.testing.assert_allclose(sums, [2, 2, 1, 1, 2])
    # As many estimates as Table 3 has: without shares the proposer's part is a tenth.
    groups = np.repeat(np.arange(6), [64] * 3 + [64 * 9] * 3)
    shares = balanced_shares(groups)
    np.testing.assert_allclose(shares[groups < 3].sum() / shares.sum(), 0.5)
    np.testing.assert_allclose((groups < 3).mean(), 0.1)


def test_problems_count_as_what_they_are_and_take_no_share_of_a_type():
    groups = np.array([0, 0, 3, 3, 3, 3, 6, 6, 6])
    shares = balanced_shares(groups)
    np.testing.assert_allclose(shares, [1, 1, 0.5, 0.5, 0.5, 0.5, 1, 1, 1])
    np.testing.assert_allclose(balanced_shares(groups[:6]), shares[:6])


def test_the_configs_names_are_the_aggregations():
    assert set(CHOICES["learner.loss_aggregation"]) == set(LOSS_AGGREGATIONS)
