"""The losses of PPO and related methods as pure functions of arrays of tokens; padding never enters a sum.

Nothing here averages over the contents of one microbatch: losses are summed with weights that were made on the
host for the whole minibatch (aggregation.py), so that the split does not matter.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from azr_jax.learner.packing import SELFPLAY_GROUPS
from azr_jax.model.cudnn_attention import MOST_SEGMENTS

# exp overflows float32 above 88; past this log-ratio it is continued by its tangent.
_MAX_LOG_RATIO = 20.0


def clipped_surrogate(
    ratio_RT: jax.Array,
    advantages_RT: jax.Array,
    clip_epsilon: float,
    clip_epsilon_high: float = 0.0,
    dual_clip: float = 0.0,
) -> jax.Array:
    """The negative clipped surrogate of each token, to be minimised.

    -min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon_high) * A); PPO (arXiv 1707.06347), Eq. 7. At ratio 1 its
    gradient is the policy gradient's.
    epsilon_high above epsilon is "clip-higher" of DAPO (arXiv 2503.14476), Eq. 10: unlikely tokens may rise further.
    With dual_clip c, where A < 0 the surrogate is max(min(...), c * A): the loss of a bad token with a large ratio is
    bounded. Ye et al., Mastering complex control in MOBA games (arXiv 1912.09729); there c = 3.

    Args:
      ratio_RT: policy to old policy, with gradient.
      advantages_RT: likewise shaped.
      clip_epsilon: lower clip.
      clip_epsilon_high: upper clip; 0: `clip_epsilon`.
      dual_clip: c, above 1; 0: none.
    """
    clipped_RT = jnp.clip(ratio_RT, 1.0 - clip_epsilon, 1.0 + (clip_epsilon_high or clip_epsilon))
    surrogate_RT = jnp.minimum(ratio_RT * advantages_RT, clipped_RT * advantages_RT)
    if dual_clip:
        floored_RT = jnp.maximum(surrogate_RT, dual_clip * advantages_RT)
        surrogate_RT = jnp.where(advantages_RT < 0.0, floored_RT, surrogate_RT)
    return -surrogate_RT


def cispo(
    ratio_RT: jax.Array,
    logprobs_RT: jax.Array,
    advantages_RT: jax.Array,
    clip_epsilon: float,
    clip_epsilon_high: float = 0.0,
) -> jax.Array:
    """The negative of each token's sg(clip(ratio, 1 - epsilon, 1 + epsilon_high)) * A * log p, to be minimised.

    MiniMax-M1 (arXiv 2506.13585), Eqs. 4 and 5: the clip bounds a weight without gradient, so that no token loses its
    gradient as in PPO. There the lower clip is off: clip_epsilon=1 does that. Arguments as in `clipped_surrogate`;
    logprobs_RT carries the gradient.
    """
    weight_RT = jnp.clip(ratio_RT, 1.0 - clip_epsilon, 1.0 + (clip_epsilon_high or clip_epsilon))
    return -jax.lax.stop_gradient(weight_RT) * advantages_RT * logprobs_RT


def bounded_exp(x_RT: jax.Array) -> jax.Array:
    """exp(x) up to x = 20, beyond it the tangent there: finite, with a gradient that never vanishes."""
    return jnp.exp(jnp.minimum(x_RT, _MAX_LOG_RATIO)) * (1.0 + jnp.maximum(x_RT - _MAX_LOG_RATIO, 0.0))


def importance_ratio(logprobs_RT: jax.Array, old_logprobs_RT: jax.Array) -> jax.Array:
    """exp(logprobs - old_logprobs), finite whatever the two are."""
    return bounded_exp(logprobs_RT - old_logprobs_RT)


def response_means(values_RT: jax.Array, mask_RT: jax.Array, segment_ids_RT: jax.Array) -> jax.Array:
    """On each response token, the mean of `values_RT` over its response; 0 elsewhere. [R, T].

    exp of it, of log-ratios, is the length-normalised ratio of a whole response: s = (p(y) / p_old(y)) ^ (1 / |y|),
    GSPO (arXiv 2507.18071), Eq. 7.
    """

    def row(values_T: jax.Array, mask_T: jax.Array, segments_T: jax.Array) -> jax.Array:
        count = MOST_SEGMENTS + 1
        sums_S = jax.ops.segment_sum(jnp.where(mask_T != 0.0, values_T, 0.0), segments_T, count)
        tokens_S = jax.ops.segment_sum(mask_T, segments_T, count)
        return jnp.where(mask_T != 0.0, (sums_S / jnp.maximum(tokens_S, 1.0))[segments_T], 0.0)

    return jax.vmap(row)(values_RT, mask_RT, segment_ids_RT)


def truncated_weights(log_ratio_RT: jax.Array, mean_RT: jax.Array, low: float, cap: float) -> jax.Array:
    """min(r, cap), r = exp(log_ratio). `mean_RT` and `low` are not used.

    Truncated importance sampling (Ionides 2008; for RL with separate samplers, Yao et al. 2025, "Your efficient RL
    framework secretly brings you off-policy RL training").
    """
    return jnp.minimum(bounded_exp(log_ratio_RT), cap)


def token_mask_weights(log_ratio_RT: jax.Array, mean_RT: jax.Array, low: float, cap: float) -> jax.Array:
    """`r` where low <= r <= cap, 0 elsewhere, r = exp(log_ratio): drops tokens on which sampler and trainer disagree.

    IcePop's masked importance sampling (Ring-1T report, arXiv 2510.18855), there 0.5 and 5.
    """
    ratio_RT = bounded_exp(log_ratio_RT)
    return jnp.where((ratio_RT >= low) & (ratio_RT <= cap), ratio_RT, 0.0)


def sequence_mask_weights(log_ratio_RT: jax.Array, mean_RT: jax.Array, low: float, cap: float) -> jax.Array:
    """1 where low <= exp(mean_RT) <= cap, 0 elsewhere: drops responses on which sampler and trainer disagree.

    The geometric mean of a response's ratios, as in verl's rollout correction (geometric rejection); its bounds are
    near 1, such as 0.999 and 1.001.
    """
    ratio_RT = bounded_exp(mean_RT)
    return ((ratio_RT >= low) & (ratio_RT <= cap)).astype(jnp.float32)


# Weights without gradient that correct for a sampler whose numbers differ from the trainer's. log_ratio_RT: trainer
# minus sampler log-probability of each token; mean_RT: its mean over the token's response (`response_means`).
IMPORTANCE_WEIGHTS: dict[str, Callable[[jax.Array, jax.Array, float, float], jax.Array]] = {
    "truncate": truncated_weights,
    "token_mask": token_mask_weights,
    "sequence_mask": sequence_mask_weights,
}


def kl_k1(logprobs_RT: jax.Array, ref_logprobs_RT: jax.Array) -> jax.Array:
    """`new - ref`, with the gradient of `kl_k2`: unbiased value, of either sign.

    The gradient of `new - ref` itself, that of log p, has mean 0 on tokens of the policy.
    """
    return _with_k2_gradient(logprobs_RT - ref_logprobs_RT, logprobs_RT, ref_logprobs_RT)


def kl_k2(logprobs_RT: jax.Array, ref_logprobs_RT: jax.Array) -> jax.Array:
    """(new - ref)^2 / 2: biased, but its gradient (new - ref) grad log p is unbiased for that of KL(new || ref)."""
    return 0.5 * jnp.square(logprobs_RT - ref_logprobs_RT)


def kl_k3(logprobs_RT: jax.Array, ref_logprobs_RT: jax.Array) -> jax.Array:
    """exp(ref - new) - 1 - (ref - new): an unbiased, never negative estimate of KL(new || ref) on tokens of `new`.

    Schulman, "Approximating KL divergence" (2020), k3; as a loss term, DeepSeekMath (arXiv 2402.03300), Eq. 4. The
    gradient is its own, (1 - exp(ref - new)) grad log p, whose mean is that of KL(ref || new).
    """
    difference_RT = ref_logprobs_RT - logprobs_RT
    return bounded_exp(difference_RT) - 1.0 - difference_RT


def kl_k3_plus(logprobs_RT: jax.Array, ref_logprobs_RT: jax.Array) -> jax.Array:
    """The value of `kl_k3` with the gradient of `kl_k2`, which is unbiased for that of KL(new || ref)."""
    return _with_k2_gradient(kl_k3(logprobs_RT, ref_logprobs_RT), logprobs_RT, ref_logprobs_RT)


def _with_k2_gradient(values_RT: jax.Array, logprobs_RT: jax.Array, ref_logprobs_RT: jax.Array) -> jax.Array:
    carrier_RT = kl_k2(logprobs_RT, ref_logprobs_RT)
    return jax.lax.stop_gradient(values_RT - carrier_RT) + carrier_RT


# Estimates of KL(policy || reference) on tokens of the policy, Schulman (2020); they differ in value and gradient.
KL_ESTIMATORS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "k1": kl_k1,
    "k2": kl_k2,
    "k3": kl_k3,
    "k3+": kl_k3_plus,
}


def value_error(values_RT: jax.Array, returns_RT: jax.Array) -> jax.Array:
    """0.5 * (V - return) ** 2 of each token. Deviation from many PPO codes: no clipping around the old value."""
    return 0.5 * jnp.square(values_RT - returns_RT)


def masked_sum(values_RT: jax.Array, weights_RT: jax.Array) -> jax.Array:
    """Weighted sum that padding cannot reach, not even as NaN times 0."""
    return jnp.where(weights_RT != 0.0, values_RT * weights_RT, 0.0).sum()


def masked_max(values_RT: jax.Array, mask_RT: jax.Array) -> jax.Array:
    """The largest value under the mask; 0 where the mask is empty. For values that are never negative."""
    return jnp.where(mask_RT != 0.0, values_RT, 0.0).max()


def group_sums(values_RT: jax.Array, mask_RT: jax.Array, group_RT: jax.Array) -> jax.Array:
    """Masked sums by task group of self-play, [6]; what is left of all is that of problems."""
    chosen_RT6 = jax.nn.one_hot(group_RT, len(SELFPLAY_GROUPS), dtype=jnp.float32) * mask_RT[..., None]
    return jnp.where(chosen_RT6 != 0.0, values_RT[..., None] * chosen_RT6, 0.0).sum(axis=(0, 1))
