"""The objective of one microbatch on the device: forward pass, loss and statistics as sums that add up over splits."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from azr_jax.config import LearnerSettings
from azr_jax.learner import losses
from azr_jax.learner.packing import Batch


class Experience(NamedTuple):
    """A batch and its scores by the policy at the update's start, [R, T] float32 each (0 where not used)."""

    batch: Batch
    old_logprobs_RT: Any
    ref_logprobs_RT: Any
    returns_RT: Any


class Scores(NamedTuple):
    """The policy on a batch's targets, [R, T] float32: log-probabilities, entropies (nats), values (0: no head)."""

    logprobs_RT: jax.Array
    entropy_RT: jax.Array
    values_RT: jax.Array


def score(
    graphdef: Any,
    params: Any,
    value_head: dict[str, jax.Array] | None,
    batch: Batch,
    logit_chunk: int,
    temperature: float,
    sums: Any = None,
) -> Scores:
    """The forward pass. The head's gradient reaches the trunk, as in PPO with a shared network.

    If `sums` (a tree as `params`) is given, the returned gradients of the layers are added to it: sums + this
    microbatch's gradient.
    """
    model = nnx.merge(graphdef, params)
    added = None if sums is None else nnx.merge(graphdef, sums).layers.stacked()
    hidden_RTD = model.hidden(batch.tokens_RT, batch.positions_RT, batch.segment_ids_RT, added)
    logprobs_RT, entropy_RT = model.token_logprobs(hidden_RTD, batch.targets_RT, logit_chunk, temperature)
    if value_head is None:
        return Scores(logprobs_RT, entropy_RT, jnp.zeros_like(logprobs_RT))
    values_RT = jnp.einsum("RTD,D->RT", hidden_RTD.astype(jnp.float32), value_head["kernel_D"]) + value_head["bias"]
    return Scores(logprobs_RT, entropy_RT, values_RT)


def objective(
    scores: Scores, experience: Experience, first: jax.Array, denominator: jax.Array, settings: LearnerSettings
) -> tuple[jax.Array, dict[str, dict[str, jax.Array]]]:
    """One microbatch's share of the minibatch's loss, and its statistics.

    loss = sum over tokens of weight * (importance weight * policy loss - entropy_coef * entropy
    + kl_coef * KL estimate(new || ref) + value_coef * value error) / denominator.

    Args:
      scores: of the current policy, with gradient.
      experience: the microbatch; `weights_RT` of its batch are the tokens' weights (aggregation.py).
      first: bool scalar, true before the update's first optimizer step. The current policy is then the old policy and
        its own log-probabilities are the old ones, so that the ratio is exactly 1 whatever the compiler does to a
        second program that recomputes them.
      denominator: float32 scalar of the whole minibatch.
      settings: the learner's.

    Returns:
      (loss, {"sum": {...}, "max": {...}, "group": {...}}): sums and maxima over tokens, sums by task group [6].
    """
    batch, mask_RT = experience.batch, experience.batch.loss_mask_RT
    logprobs_RT = scores.logprobs_RT
    fixed_RT = jax.lax.stop_gradient(logprobs_RT)
    if settings.recompute_old_logprobs:
        old_RT = jnp.where(first, fixed_RT, experience.old_logprobs_RT)
        trainer_RT = old_RT
    else:
        # The bypass: the sampler's logprobs are the old policy's, and the ratio itself corrects for the mismatch.
        old_RT, trainer_RT = batch.sampler_logprobs_RT, fixed_RT
    importance_RT = _importance_weights(old_RT, batch, settings)
    terms = {
        "policy_loss": (1.0, importance_RT * _policy_loss(logprobs_RT, old_RT, batch, settings)),
        "entropy_loss": (-settings.entropy_coef, scores.entropy_RT),
    }
    if settings.kl_coef > 0 and settings.kl_in == "loss":
        estimate = losses.KL_ESTIMATORS[settings.kl_estimator]
        terms["kl_loss"] = (settings.kl_coef, estimate(logprobs_RT, experience.ref_logprobs_RT))
    if settings.estimator == "gae":
        terms["value_loss"] = (settings.value_coef, losses.value_error(scores.values_RT, experience.returns_RT))
    parts = {
        name: coefficient * losses.masked_sum(values_RT, batch.weights_RT) / denominator
        for name, (coefficient, values_RT) in terms.items()
    }
    loss = jnp.sum(jnp.stack(list(parts.values())))
    statistics = _statistics(fixed_RT, old_RT, trainer_RT, importance_RT, experience, settings)
    # The gap between the recomputing pass and this program, for the same policy.
    gap = losses.masked_max(jnp.abs(experience.old_logprobs_RT - fixed_RT), mask_RT)
    statistics["max"]["recompute_gap"] = jnp.where(first, gap, 0.0)
    statistics["sum"] |= {"loss": loss, **parts}
    entropy_RT = jax.lax.stop_gradient(scores.entropy_RT)
    statistics["sum"]["entropy"] = losses.masked_sum(entropy_RT, mask_RT)
    statistics["group"]["entropy"] = losses.group_sums(entropy_RT, mask_RT, batch.group_RT)
    return loss, jax.lax.stop_gradient(statistics)


def _policy_ratio(new_RT: jax.Array, old_RT: jax.Array, batch: Batch, settings: LearnerSettings) -> jax.Array:
    """Policy to old policy: of each token, or for `ratio=sequence` of its response, normalised by length."""
    if settings.ratio == "token":
        return losses.importance_ratio(new_RT, old_RT)
    return losses.bounded_exp(losses.response_means(new_RT - old_RT, batch.loss_mask_RT, batch.segment_ids_RT))


def _policy_loss(logprobs_RT: jax.Array, old_RT: jax.Array, batch: Batch, settings: LearnerSettings) -> jax.Array:
    ratio_RT = _policy_ratio(logprobs_RT, old_RT, batch, settings)
    clips = (settings.clip_epsilon, settings.clip_epsilon_high)
    if settings.policy_loss == "cispo":
        return losses.cispo(ratio_RT, logprobs_RT, batch.advantages_RT, *clips)
    return losses.clipped_surrogate(ratio_RT, batch.advantages_RT, *clips, settings.dual_clip)


def _importance_weights(old_RT: jax.Array, batch: Batch, settings: LearnerSettings) -> jax.Array:
    """Weights that correct for the sampler's probabilities, without gradient; 1 if off or part of the ratio."""
    if settings.importance_cap == 0.0 or not settings.recompute_old_logprobs:
        return jnp.ones_like(old_RT)
    log_ratio_RT = old_RT - batch.sampler_logprobs_RT
    mean_RT = log_ratio_RT
    if settings.importance == "sequence_mask":
        mean_RT = losses.response_means(log_ratio_RT, batch.loss_mask_RT, batch.segment_ids_RT)
    weigh = losses.IMPORTANCE_WEIGHTS[settings.importance]
    return jax.lax.stop_gradient(weigh(log_ratio_RT, mean_RT, settings.importance_low, settings.importance_cap))


def _statistics(
    new_RT: jax.Array,
    old_RT: jax.Array,
    trainer_RT: jax.Array,
    importance_RT: jax.Array,
    experience: Experience,
    settings: LearnerSettings,
) -> dict[str, dict[str, jax.Array]]:
    batch, mask_RT = experience.batch, experience.batch.loss_mask_RT
    sampler_RT = batch.sampler_logprobs_RT
    ratio_RT = _policy_ratio(new_RT, old_RT, batch, settings)
    mismatch_RT = jnp.abs(trainer_RT - sampler_RT)
    high = settings.clip_epsilon_high or settings.clip_epsilon
    clipped_RT = (ratio_RT - 1.0 > high) | (1.0 - ratio_RT > settings.clip_epsilon)
    token_means = {
        "ratio": ratio_RT,
        "clip_fraction": clipped_RT.astype(jnp.float32),
        # KL(old || new) on tokens of the old policy, and KL(sampler || trainer) on tokens of the sampler.
        "approx_kl": losses.kl_k3(old_RT, new_RT),
        "mismatch": mismatch_RT,
        "mismatch_kl": losses.kl_k3(sampler_RT, trainer_RT),
        "mismatch_prob_error": losses.bounded_exp(mismatch_RT),
    }
    sums = {name: losses.masked_sum(values_RT, mask_RT) for name, values_RT in token_means.items()}
    sums["tokens"] = mask_RT.sum()
    sums["importance_weight"] = losses.masked_sum(importance_RT, mask_RT)
    sums["importance_masked"] = losses.masked_sum((importance_RT == 0.0).astype(jnp.float32), mask_RT)
    if settings.kl_coef > 0:
        sums["kl_ref"] = losses.masked_sum(losses.kl_k3(new_RT, experience.ref_logprobs_RT), mask_RT)
    groups = {
        name: losses.group_sums(values_RT, mask_RT, batch.group_RT)
        for name, values_RT in token_means.items()
        if name not in ("ratio", "mismatch_prob_error")
    }
    groups["tokens"] = losses.group_sums(jnp.ones_like(mask_RT), mask_RT, batch.group_RT)
    maxima = {
        "ratio": losses.masked_max(ratio_RT, mask_RT),
        "mismatch": losses.masked_max(mismatch_RT, mask_RT),
    }
    return {"sum": sums, "max": maxima, "group": groups}


def add_statistics(
    first: dict[str, dict[str, jax.Array]], second: dict[str, dict[str, jax.Array]]
) -> dict[str, dict[str, jax.Array]]:
    """Statistics of two microbatches together."""
    join = {"sum": jnp.add, "max": jnp.maximum, "group": jnp.add}
    return {kind: jax.tree.map(join[kind], first[kind], second[kind]) for kind in first}
