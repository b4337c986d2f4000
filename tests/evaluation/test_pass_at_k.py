"""pass@k, intervals and McNemar's test against hand cases and published figures."""

import itertools

import pytest

from azr_jax.evaluation.scoring import intervals, pass_at_k


def test_pass_at_k_is_the_share_of_k_subsets_with_a_correct_sample():
    for samples, correct, k in itertools.product((1, 4, 6), range(5), (1, 2, 4)):
        if k > samples or correct > samples:
            continue
        right = [number < correct for number in range(samples)]
        subsets = list(itertools.combinations(right, k))
        assert pass_at_k.pass_at_k(samples, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("samples", "correct", "k"), [(1, 0, 2), (4, 5, 1), (4, -1, 1), (4, 2, 0)])
def test_pass_at_k_refuses_what_makes_no_sense(samples, correct, k):
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k.pass_at_k(samples, correct, k)


def test_wilson_interval():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert intervals.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert intervals.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert intervals.wilson(20, 20)[1] == 1.0


def test_interval_of_several_samples_is_over_problems():
    mean, low, high = pass_at_k.interval([(4, 4), (4, 0), (4, 2), (4, 2)], 1)
    assert mean == 0.5
    assert 0 < low < 0.2 and 0.8 < high < 1
    # Without any spread the normal interval would have no width.
    assert pass_at_k.interval([(3, 0)] * 20, 1) == (0.0, *intervals.wilson(0, 20))
    assert pass_at_k.interval([(3, 0)], 1) == (0.0, *intervals.wilson(0, 1))


def test_a_paired_interval_has_a_width_where_all_problems_differ_alike():
    most = intervals.wilson(0, 50)[1]
    assert pass_at_k.paired_interval([0.0] * 50) == pytest.approx((-most, most))
    assert pass_at_k.paired_interval([1.0] * 50) == pytest.approx((1 - 2 * most, 1.0))
    assert pass_at_k.paired_interval([-0.1, 0.2 - 0.3] * 25) == pytest.approx((-0.1 - 0.9 * most, -0.1 + 1.1 * most))
    assert pass_at_k.paired_interval([0.0, 1.0, 0.5]) == pass_at_k.bootstrap([0.0, 1.0, 0.5])


def test_mcnemar_is_the_exact_binomial_test():
    assert pass_at_k.mcnemar(0, 0) == 1.0
    assert pass_at_k.mcnemar(5, 0) == pytest.approx(2 / 32)
    assert pass_at_k.mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 1024)
    assert pass_at_k.mcnemar(3, 3) == 1.0
