import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_learner import batch, settings

from azr_jax.config_checks import CHOICES
from azr_jax.learner import losses, objective


def random_logprobs(seed: int = 0):
    rng = np.random.default_rng(seed)
    old = -rng.exponential(1.0, (3, 7)).astype(np.float32)
    new = old + 0.4 * rng.standard_normal((3, 7)).astype(np.float32)
    return new, old, rng.standard_normal((3, 7)).astype(np.float32)


def test_clipped_surrogate_by_hand():
    # Ratios 1.5 and 0.5 at epsilon 0.2, for a good and a bad action each.
    ratio, advantages = np.array([1.5, 1.5, 0.5, 0.5], np.float32), np.array([2.0, -2.0, 2.0, -2.0], np.float32)
    np.testing.assert_allclose(losses.clipped_surrogate(ratio, advantages, 0.2), [-2.4, 3.0, -1.0, 1.6], rtol=1e-6)
    # A higher upper clip moves the good action's bound alone.
    higher = losses.clipped_surrogate(ratio, advantages, 0.2, 0.28)
    np.testing.assert_allclose(higher, [-2.56, 3.0, -1.0, 1.6], rtol=1e-6)


def test_dual_clip_by_hand_bounds_what_a_bad_action_costs():
    ratio, advantages = np.array([10.0, 10.0, 2.0], np.float32), np.array([1.0, -1.0, -1.0], np.float32)
    np.testing.assert_allclose(losses.clipped_surrogate(ratio, advantages, 0.2), [-1.2, 10.0, 2.0], rtol=1e-6)
    dual = losses.clipped_surrogate(ratio, advantages, 0.2, 0.0, 3.0)
    np.testing.assert_allclose(dual, [-1.2, 3.0, 2.0], rtol=1e-6)
    slope = jax.grad(lambda ratio: losses.clipped_surrogate(ratio, -1.0, 0.2, 0.0, 3.0))
    assert slope(10.0) == 0.0 and slope(2.0) == 1.0


def test_cispo_by_hand_keeps_the_gradient_of_clipped_tokens():
    new, advantages = np.log([1.5, 0.5, 1.0], dtype=np.float32), np.array([2.0, 2.0, -1.0], np.float32)
    value = losses.cispo(jnp.exp(new), new, advantages, 0.2, 0.28)
    np.testing.assert_allclose(value, -np.array([1.28, 0.8, 1.0]) * advantages * new, rtol=1e-6)
    slopes = jax.grad(lambda new: losses.cispo(jnp.exp(new), new, advantages, 0.2, 0.28).sum())(new)
    np.testing.assert_allclose(slopes, [-2.56, -1.6, 1.0], rtol=1e-6)
    # PPO's are 0 for the first.
    slopes = jax.grad(lambda new: losses.clipped_surrogate(jnp.exp(new), advantages, 0.2, 0.28).sum())(new)
    assert slopes[0] == 0.0


@pytest.mark.parametrize("jitted", [False, True])
def test_losses_match_numpy(jitted):
    wrap = jax.jit if jitted else lambda function: function
    new, old, advantages = random_logprobs()
    log_ratio = new.astype(np.float64) - old
    ratio = np.exp(log_ratio)
    surrogate = -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    np.testing.assert_allclose(
        wrap(lambda new, old, a: losses.clipped_surrogate(losses.importance_ratio(new, old), a, 0.2))(
            new, old, advantages
        ),
        surrogate,
        rtol=1e-5,
        atol=1e-6,
    )
    mean = np.broadcast_to(log_ratio.mean(axis=1, keepdims=True), log_ratio.shape)
    expected = {
        "truncate": np.minimum(ratio, 1.1),
        "token_mask": np.where((ratio >= 0.9) & (ratio <= 1.1), ratio, 0.0),
        "sequence_mask": ((np.exp(mean) >= 0.9) & (np.exp(mean) <= 1.1)) * 1.0,
    }
    assert set(expected) == set(losses.IMPORTANCE_WEIGHTS) == set(CHOICES["learner.importance"])
    for name, weights in expected.items():
        measured = wrap(losses.IMPORTANCE_WEIGHTS[name])(log_ratio, mean, 0.9, 1.1)
        np.testing.assert_allclose(measured, weights, rtol=1e-5, err_msg=name)
    values = {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": np.exp(-log_ratio) - 1 + log_ratio}
    for name, estimates in (values | {"k3+": values["k3"]}).items():
        np.testing.assert_allclose(wrap(losses.KL_ESTIMATORS[name])(new, old), estimates, atol=2e-6, err_msg=name)
    np.testing.assert_allclose(wrap(losses.value_error)(new, old), 0.5 * (new - old) ** 2, rtol=1e-5)


@pytest.mark.parametrize(("high", "dual"), [(0.0, 0.0), (0.28, 0.0), (0.0, 1.5), (0.28, 1.1)])
def test_clip_higher_dual_clip_and_cispo_match_numpy_in_value_and_gradient(high, dual):
    new, old, advantages = random_logprobs()
    ratio = np.exp(new.astype(np.float64) - old)
    clipped = np.clip(ratio, 0.8, 1.0 + (high or 0.2))
    surrogate = np.minimum(ratio * advantages, clipped * advantages)
    flows = ratio * advantages <= clipped * advantages
    if dual:
        flows &= (advantages >= 0.0) | (surrogate > dual * advantages)
        surrogate = np.where(advantages < 0.0, np.maximum(surrogate, dual * advantages), surrogate)

    def ppo(new):
        return losses.clipped_surrogate(losses.importance_ratio(new, old), advantages, 0.2, high, dual)

    np.testing.assert_allclose(ppo(new), -surrogate, rtol=1e-5, atol=1e-6)
    slopes = jax.grad(lambda new: ppo(new).sum())(new)
    np.testing.assert_allclose(slopes, np.where(flows, -ratio * advantages, 0.0), rtol=1e-5, atol=1e-6)

    def cispo(new):
        return losses.cispo(losses.importance_ratio(new, old), new, advantages, 0.2, high)

    np.testing.assert_allclose(cispo(new), -clipped * advantages * new, rtol=1e-5, atol=1e-6)
    slopes = jax.grad(lambda new: cispo(new).sum())(new)
    np.testing.assert_allclose(slopes, -clipped * advantages, rtol=1e-5, atol=1e-6)


def test_surrogate_gradient_is_the_policy_gradient_at_ratio_one_and_zero_when_clipped():
    def loss(new, old, advantage):
        return losses.clipped_surrogate(losses.importance_ratio(new, old), advantage, 0.2)

    slope = jax.grad(loss)
    assert slope(-1.0, -1.0, 3.0) == -3.0
    assert slope(0.5, 0.0, 3.0) == 0.0  # ratio 1.65 is past the clip, and the action was good
    assert slope(0.5, 0.0, -3.0) > 0.0  # but a bad action is still pushed down
    assert slope(-0.5, 0.0, -3.0) == 0.0


def test_the_ratio_is_finite_and_its_gradient_does_not_vanish():
    assert np.isfinite(losses.importance_ratio(jnp.float32(0.0), jnp.float32(-500.0)))
    assert losses.importance_ratio(jnp.float32(-np.inf), jnp.float32(0.0)) == 0.0
    assert np.isnan(losses.importance_ratio(jnp.float32(np.nan), jnp.float32(-1.0)))
    slope = jax.grad(losses.bounded_exp)
    assert slope(25.0) == slope(20.5) == pytest.approx(np.exp(20), rel=1e-5)
    np.testing.assert_allclose(slope(3.0), np.exp(3.0), rtol=1e-6)


def categorical(seed: int = 0, size: int = 6):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.standard_normal(size), jnp.float32), jax.nn.log_softmax(
        jnp.asarray(rng.standard_normal(size))
    )


@pytest.mark.parametrize("name", ["k1", "k2", "k3+"])
def test_kl_gradients_are_on_average_those_of_the_kl(name):
    logits, ref = categorical()

    def kl(logits):
        new = jax.nn.log_softmax(logits)
        return (jnp.exp(new) * (new - ref)).sum()

    def expected_estimate(logits):
        new = jax.nn.log_softmax(logits)
        # The mean over tokens sampled from the policy, through which no gradient goes.
        return (jax.lax.stop_gradient(jnp.exp(new)) * losses.KL_ESTIMATORS[name](new, ref)).sum()

    numeric = [(kl(logits.at[i].add(1e-2)) - kl(logits.at[i].add(-1e-2))) / 2e-2 for i in range(len(logits))]
    np.testing.assert_allclose(jax.grad(expected_estimate)(logits), numeric, atol=1e-3)
    if name != "k2":
        np.testing.assert_allclose(expected_estimate(logits), kl(logits), rtol=1e-5)


def test_the_plain_k1_estimator_has_no_useful_gradient():
    logits, ref = categorical()

    def plain(logits):
        new = jax.nn.log_softmax(logits)
        return (jax.lax.stop_gradient(jnp.exp(new)) * (new - ref)).sum()

    np.testing.assert_allclose(jax.grad(plain)(logits), 0.0, atol=1e-6)


@pytest.mark.parametrize("log_ratio", [-25.0, -3.0, 0.5, 3.0, 25.0])
@pytest.mark.parametrize("name", losses.KL_ESTIMATORS)
def test_kl_gradients_by_finite_differences_also_far_out(name, log_ratio):
    """`log_ratio` is ref - new. What is differentiated is k2 for those that borrow its gradient."""
    own = {"k1": losses.kl_k2, "k3+": losses.kl_k2}.get(name, losses.KL_ESTIMATORS[name])
    slope = float(jax.grad(losses.KL_ESTIMATORS[name])(-30.0, -30.0 + log_ratio))
    low, high = (float(own(jnp.float32(-30.0 + d), jnp.float32(-30.0 + log_ratio))) for d in (-1 / 64, 1 / 64))
    np.testing.assert_allclose(slope, (high - low) * 32, rtol=2e-3, atol=1e-5)
    assert slope * log_ratio < 0.0  # towards the reference, whatever the distance


def test_kl_k3_estimates_the_kl():
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.4, 0.4, 0.2])
    estimate = (p * np.asarray(losses.kl_k3(np.log(p), np.log(q)))).sum()
    np.testing.assert_allclose(estimate, (p * np.log(p / q)).sum(), rtol=1e-5)


def spans(packed):
    """(row, start, stop) of each response in a batch."""
    for row, (mask_T, ids_T) in enumerate(zip(packed.loss_mask_RT, packed.segment_ids_RT, strict=True)):
        for segment in range(1, ids_T.max() + 1):
            places = np.flatnonzero((ids_T == segment) & (mask_T == 1))
            yield row, places[0], places[-1] + 1


def test_response_means_are_of_each_response_alone():
    packed = batch(20)
    values = np.random.default_rng(0).standard_normal(packed.tokens_RT.shape).astype(np.float32)
    values[packed.loss_mask_RT == 0] = np.nan
    means = np.asarray(losses.response_means(values, packed.loss_mask_RT, packed.segment_ids_RT))
    count = 0
    for row, start, stop in spans(packed):
        np.testing.assert_allclose(means[row, start:stop], values[row, start:stop].mean(), atol=1e-6)
        count += 1
    assert count == 20 and not means[packed.loss_mask_RT == 0].any()


def test_a_sequence_ratio_is_gspos_in_value_and_gradient():
    chosen = settings(ratio="sequence", clip_epsilon=0.1, clip_epsilon_high=0.2, entropy_coef=0.0, importance_cap=0.0)
    packed = batch(12)
    rng = np.random.default_rng(1)
    old = -rng.exponential(1.0, packed.tokens_RT.shape).astype(np.float32)
    new = old + 0.3 * rng.standard_normal(old.shape).astype(np.float32)
    zeros = np.zeros_like(old)
    experience = objective.Experience(packed, old, zeros, zeros)

    def loss(new):
        scores = objective.Scores(new, zeros, zeros)
        return objective.objective(scores, experience, jnp.bool_(False), jnp.float32(1.0), chosen)[0]

    expected, slopes = 0.0, np.zeros_like(old)
    for row, start, stop in spans(packed):
        ratio = np.exp((new - old)[row, start:stop].mean(dtype=np.float64))
        advantage = packed.advantages_RT[row, start]
        clipped = np.clip(ratio, 0.9, 1.2)
        expected += -min(ratio * advantage, clipped * advantage) * (stop - start)
        if ratio * advantage <= clipped * advantage:
            slopes[row, start:stop] = -advantage * ratio  # n tokens of weight 1, each 1 / n of the mean
    np.testing.assert_allclose(loss(new), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(new), slopes, atol=1e-5)


@pytest.mark.parametrize("high", [0.0, 0.4])
def test_the_clipped_share_is_of_the_clips_in_use(high):
    chosen = settings(clip_epsilon=0.2, clip_epsilon_high=high)
    packed = batch(12)
    zeros = np.zeros(packed.tokens_RT.shape, np.float32)
    new = (0.3 * np.random.default_rng(1).standard_normal(zeros.shape)).astype(np.float32)
    experience = objective.Experience(packed, zeros, zeros, zeros)
    scores = objective.Scores(new, zeros, zeros)
    _, statistics = objective.objective(scores, experience, jnp.bool_(False), jnp.float32(1.0), chosen)
    ratio = np.exp(new[packed.loss_mask_RT == 1])
    assert statistics["sum"]["clip_fraction"] == ((ratio < 0.8) | (ratio > 1.0 + (high or 0.2))).sum()


@pytest.mark.parametrize("importance", losses.IMPORTANCE_WEIGHTS)
def test_importance_weights_scale_the_gradient_and_carry_none(importance):
    chosen = settings(importance=importance, importance_low=0.9, importance_cap=1.1, entropy_coef=0.0)
    packed = batch(12)
    rng = np.random.default_rng(1)
    new = (packed.sampler_logprobs_RT + 0.2 * rng.standard_normal(packed.tokens_RT.shape)).astype(np.float32)
    zeros = np.zeros_like(new)
    experience = objective.Experience(packed, zeros, zeros, zeros)

    def loss(new):
        scores = objective.Scores(new, zeros, zeros)
        return objective.objective(scores, experience, jnp.bool_(True), jnp.float32(1.0), chosen)

    log_ratio = new - packed.sampler_logprobs_RT
    expected = np.zeros_like(new)
    for row, start, stop in spans(packed):
        own = log_ratio[row, start:stop]
        ratio, mean = np.exp(own), np.exp(own.mean())
        weights = {
            "truncate": np.minimum(ratio, 1.1),
            "token_mask": np.where((ratio >= 0.9) & (ratio <= 1.1), ratio, 0.0),
            "sequence_mask": np.full(stop - start, float(0.9 <= mean <= 1.1)),
        }[importance]
        expected[row, start:stop] = -weights * packed.advantages_RT[row, start:stop]
    np.testing.assert_allclose(jax.grad(lambda new: loss(new)[0])(new), expected, atol=1e-5)
    sums = loss(new)[1]["sum"]
    assert sums["importance_masked"] == ((expected == 0) & (packed.loss_mask_RT == 1)).sum()
    mask = packed.loss_mask_RT == 1
    np.testing.assert_allclose(sums["mismatch_prob_error"], np.exp(np.abs(log_ratio[mask])).sum(), rtol=1e-5)


def test_masks_keep_padding_out_even_when_it_is_nan():
    values, mask = np.array([[1.0, np.nan], [2.0, 5.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert losses.masked_sum(values, mask) == 3.0
    assert losses.masked_max(values, mask) == 2.0
    groups = np.array([[1, 0], [4, 4]])
    np.testing.assert_array_equal(losses.group_sums(values, mask, groups), [0, 1, 0, 0, 2, 0])
    assert np.isnan(losses.masked_sum(values, np.ones((2, 2))))


def test_the_configs_names_are_the_estimators():
    assert set(CHOICES["learner.kl_estimator"]) == set(losses.KL_ESTIMATORS)
