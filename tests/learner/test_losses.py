import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_learner import batch

from azr_jax.learner import losses


def random_logprobs(seed: int = 0):
    rng = np.random.default_rng(seed)
    old = -rng.exponential(1.0, (3, 7)).astype(np.float32)
    new = old + 0.4 * rng.standard_normal((3, 7)).astype(np.float32)
    return new, old, rng.standard_normal((3, 7)).astype(np.float32)


def test_clipped_surrogate_by_hand():
    # Ratios 1.5 and 0.5 at epsilon 0.2, for a good and a bad action each.
    new = np.log([1.5, 1.5, 0.5, 0.5], dtype=np.float32)
    loss = losses.clipped_surrogate(new, np.zeros(4, np.float32), np.array([2.0, -2.0, 2.0, -2.0], np.float32), 0.2)
    np.testing.assert_allclose(loss, [-2.4, 3.0, -1.0, 1.6], rtol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
def test_losses_match_numpy(jitted):
    wrap = jax.jit if jitted else lambda function: function
    new, old, advantages = random_logprobs()
    ratio = np.exp(new.astype(np.float64) - old)
    surrogate = -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    np.testing.assert_allclose(wrap(losses.clipped_surrogate)(new, old, advantages, 0.2), surrogate, rtol=1e-5)
    np.testing.assert_allclose(
        wrap(losses.truncated_importance_weights)(new, old, 1.1), np.minimum(ratio, 1.1), rtol=1e-5
    )
    k3 = np.exp(old.astype(np.float64) - new) - 1 - (old - new)
    np.testing.assert_allclose(wrap(losses.kl_k3)(new, old), k3, atol=1e-6)
    np.testing.assert_allclose(wrap(losses.value_error)(new, old), 0.5 * (new - old) ** 2, rtol=1e-5)


def test_surrogate_gradient_is_the_policy_gradient_at_ratio_one_and_zero_when_clipped():
    slope = jax.grad(lambda new, old, advantage: losses.clipped_surrogate(new, old, advantage, 0.2))
    assert slope(-1.0, -1.0, 3.0) == -3.0
    assert slope(0.5, 0.0, 3.0) == 0.0  # ratio 1.65 is past the clip, and the action was good
    assert slope(0.5, 0.0, -3.0) > 0.0  # but a bad one is still pushed down
    assert slope(-0.5, 0.0, -3.0) == 0.0


def test_importance_weights_carry_no_gradient():
    gradient = jax.grad(lambda old: losses.truncated_importance_weights(old, -1.0, 2.0))(-1.2)
    assert gradient == 0.0
    assert losses.truncated_importance_weights(jnp.float32(0.0), jnp.float32(-5.0), 2.0) == 2.0


def test_ratio_stays_finite():
    assert np.isfinite(losses.importance_ratio(jnp.float32(0.0), jnp.float32(-500.0)))
    assert np.isnan(losses.importance_ratio(jnp.float32(np.nan), jnp.float32(-1.0)))


def test_kl_k3_estimates_the_kl():
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.4, 0.4, 0.2])
    estimate = (p * np.asarray(losses.kl_k3(np.log(p), np.log(q)))).sum()
    np.testing.assert_allclose(estimate, (p * np.log(p / q)).sum(), rtol=1e-5)


def test_weights_and_denominators():
    packed = batch(9)
    responses = (packed.rewards_RT != 0).sum()
    assert losses.loss_denominator(packed, "token") == packed.loss_mask_RT.sum()
    np.testing.assert_allclose(losses.loss_denominator(packed, "sequence"), responses, rtol=1e-6)
    np.testing.assert_array_equal(losses.loss_weights(packed, "token"), packed.loss_mask_RT)
    with pytest.raises(ValueError, match="loss_aggregation='mean'"):
        losses.loss_denominator(packed, "mean")


def test_masks_keep_padding_out_even_when_it_is_nan():
    values, mask = np.array([[1.0, np.nan], [2.0, 5.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert losses.masked_sum(values, mask) == 3.0
    assert losses.masked_max(values, mask) == 2.0
    groups = np.array([[1, 0], [4, 4]])
    np.testing.assert_array_equal(losses.group_sums(values, mask, groups), [0, 1, 0, 0, 2, 0])
    assert np.isnan(losses.masked_sum(values, np.ones((2, 2))))
