"""Additions by the host to an update's minibatches after the old policy has scored them: a KL penalty, GAE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from azr_jax.config import LearnerSettings
from azr_jax.learner import advantages
from azr_jax.learner.objective import Experience


def with_kl_penalty(experience: Experience, settings: LearnerSettings) -> Experience:
    """The KL penalty in the reward: r_t = -kl_coef * (old_t - ref_t) on every token, added to the response's reward.

    InstructGPT (arXiv 2203.02155), Eq. 2. With "gae" it goes into the rewards. Without a critic, whose advantages are
    one number a response, a token's advantage falls by the penalties from it on (gamma 1): A_t - kl_coef *
    sum_(u >= t) (old_u - ref_u). These are not whitened, so that kl_coef means the same whatever the rewards are.
    """
    batch = experience.batch
    mask_RT = batch.loss_mask_RT.astype(bool)
    gap_RT = experience.old_logprobs_RT - experience.ref_logprobs_RT
    penalty_RT = np.where(mask_RT, settings.kl_coef * gap_RT, 0.0).astype(np.float32)
    if settings.estimator == "gae":
        return experience._replace(batch=batch._replace(rewards_RT=batch.rewards_RT - penalty_RT))
    from_here_RT = _by_rows(advantages.gae, penalty_RT, np.zeros_like(penalty_RT), mask_RT, 1.0, 1.0)
    return experience._replace(batch=batch._replace(advantages_RT=batch.advantages_RT - from_here_RT))


def with_gae(
    experience: Sequence[Experience], values: Sequence[np.ndarray], settings: LearnerSettings
) -> tuple[list[Experience], dict[str, float]]:
    """Advantages by GAE, whitened over the tokens of all minibatches together, and the returns to regress on."""
    batch = jax.tree.map(lambda *parts: np.concatenate(parts), *[part.batch for part in experience])
    mask_RT = batch.loss_mask_RT.astype(bool)
    values_RT = np.where(mask_RT, np.concatenate(values), np.float32(0.0))
    raw_RT = _by_rows(advantages.gae, batch.rewards_RT, values_RT, mask_RT, settings.gamma, settings.gae_lambda)
    returns_RT = raw_RT + values_RT
    whitened_RT = _by_rows(advantages.whitened_tokens, raw_RT, mask_RT)
    variance = float(np.var(returns_RT[mask_RT]))
    unexplained = float(np.var((returns_RT - values_RT)[mask_RT]))
    measured = {
        "ppo/value_mean": float(values_RT[mask_RT].mean()),
        "ppo/return_mean": float(returns_RT[mask_RT].mean()),
        "ppo/explained_variance": 1.0 - unexplained / variance if variance > 0 else 0.0,
    }
    ends = np.cumsum([len(part.batch.tokens_RT) for part in experience])[:-1]
    split = zip(experience, np.split(whitened_RT, ends), np.split(returns_RT, ends), strict=True)
    parts = [
        part._replace(batch=part.batch._replace(advantages_RT=advantages_RT), returns_RT=own_RT)
        for part, advantages_RT, own_RT in split
    ]
    return parts, measured


def _by_rows(estimate: Callable[..., jax.Array], *arguments: Any) -> np.ndarray:
    """`estimate` of arrays [R, T] and numbers, padded with empty rows, so that few R are compiled."""
    rows = len(arguments[0])
    unused = ((0, advantages.padded_size(rows) - rows), (0, 0))
    filled = (np.pad(argument, unused) if isinstance(argument, np.ndarray) else argument for argument in arguments)
    return np.asarray(estimate(*filled))[:rows]
