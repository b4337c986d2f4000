"""PPO's losses as pure functions of arrays of tokens, and the weights and denominators that make them one number.

Nothing here averages over what happens to lie in one microbatch: losses are summed with weights, and divided by a
denominator that belongs to the whole minibatch (`loss_denominator`), so that the split does not matter.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from azr_jax.learner.packing import TASK_GROUPS, Batch

# exp overflows float32 above 88; a log-ratio past this is a broken policy, not a number to optimise with.
_MAX_LOG_RATIO = 20.0


def clipped_surrogate(
    logprobs_RT: jax.Array, old_logprobs_RT: jax.Array, advantages_RT: jax.Array, clip_epsilon: float
) -> jax.Array:
    """The negative clipped surrogate of each token, to be minimised.

    -min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon) * A) with ratio = exp(logprobs - old_logprobs).
    PPO (arXiv 1707.06347), Eq. 7; at ratio 1 its gradient is the policy gradient's.
    """
    ratio_RT = importance_ratio(logprobs_RT, old_logprobs_RT)
    clipped_RT = jnp.clip(ratio_RT, 1.0 - clip_epsilon, 1.0 + clip_epsilon)
    return -jnp.minimum(ratio_RT * advantages_RT, clipped_RT * advantages_RT)


def importance_ratio(logprobs_RT: jax.Array, old_logprobs_RT: jax.Array) -> jax.Array:
    """exp(logprobs - old_logprobs), the difference held within +-20 so that the ratio stays finite."""
    return jnp.exp(jnp.clip(logprobs_RT - old_logprobs_RT, -_MAX_LOG_RATIO, _MAX_LOG_RATIO))


def truncated_importance_weights(
    old_logprobs_RT: jax.Array, sampler_logprobs_RT: jax.Array, importance_cap: float
) -> jax.Array:
    """min(exp(old - sampler), cap), without gradient: corrects for a sampler whose numbers differ from the trainer's.

    Truncated importance sampling (Ionides 2008; for RL with separate samplers, Yao et al. 2025, "Your efficient RL
    framework secretly brings you off-policy RL training").
    """
    ratio_RT = importance_ratio(old_logprobs_RT, sampler_logprobs_RT)
    return jax.lax.stop_gradient(jnp.minimum(ratio_RT, importance_cap))


def kl_k3(logprobs_RT: jax.Array, ref_logprobs_RT: jax.Array) -> jax.Array:
    """exp(ref - new) - 1 - (ref - new): an unbiased, never negative estimate of KL(new || ref) on tokens of `new`.

    Schulman, "Approximating KL divergence" (2020), k3; as a loss term, DeepSeekMath (arXiv 2402.03300), Eq. 4.
    """
    difference_RT = jnp.clip(ref_logprobs_RT - logprobs_RT, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    return jnp.exp(difference_RT) - 1.0 - difference_RT


def value_error(values_RT: jax.Array, returns_RT: jax.Array) -> jax.Array:
    """0.5 * (V - return) ** 2 of each token. Deviation from many PPO codes: no clipping around the old value."""
    return 0.5 * jnp.square(values_RT - returns_RT)


def loss_weights(batch: Batch, loss_aggregation: str) -> jax.Array:
    """What each token counts, [R, T]: 1 ("token"), or 1 / the tokens of its response ("sequence"); 0 off responses."""
    return jnp.asarray(_weights(batch, loss_aggregation), jnp.float32)


def loss_denominator(batch: Batch, loss_aggregation: str) -> float:
    """The sum of `loss_weights` over a whole minibatch: its response tokens, or its responses. On the host."""
    return float(np.asarray(_weights(batch, loss_aggregation), np.float64).sum())


def _weights(batch: Batch, loss_aggregation: str) -> jax.Array | np.ndarray:
    weights = {"token": batch.loss_mask_RT, "sequence": batch.sequence_weights_RT}
    if loss_aggregation not in weights:
        raise ValueError(f"learner.loss_aggregation={loss_aggregation!r}: use one of {', '.join(weights)}")
    return weights[loss_aggregation]


def masked_sum(values_RT: jax.Array, weights_RT: jax.Array) -> jax.Array:
    """Weighted sum that padding cannot reach, not even as NaN times 0."""
    return jnp.where(weights_RT != 0.0, values_RT * weights_RT, 0.0).sum()


def masked_max(values_RT: jax.Array, mask_RT: jax.Array) -> jax.Array:
    """The largest value under the mask; 0 where the mask is empty. For values that are never negative."""
    return jnp.where(mask_RT != 0.0, values_RT, 0.0).max()


def group_sums(values_RT: jax.Array, mask_RT: jax.Array, group_RT: jax.Array) -> jax.Array:
    """Masked sums by task group, [6]."""
    chosen_RT6 = jax.nn.one_hot(group_RT, len(TASK_GROUPS), dtype=jnp.float32) * mask_RT[..., None]
    return jnp.where(chosen_RT6 != 0.0, values_RT[..., None] * chosen_RT6, 0.0).sum(axis=(0, 1))
