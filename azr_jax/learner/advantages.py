"""Advantage estimators as pure functions, each with its equation. They take NumPy or JAX arrays and can be jitted.

Without a critic a response has one advantage, the same for each of its tokens; these estimators share the signature
(rewards_B, tasks_B, prompts_B, lengths_B) and run once on the host. `gae` has one advantage a token and runs inside the
update, where the values are. A group of one response, and one whose rewards are all equal, has advantages 0 (`rloo` of
one response: its reward).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from azr_jax.types import TASK_TYPES

# Rewards of a group that differ by no more than rounding are equal: dividing by their std would amplify the rounding.
_EQUAL_REWARDS = 1e-6


def trrpp(rewards_B: ArrayLike, tasks_B: ArrayLike, prompts_B: ArrayLike, lengths_B: ArrayLike) -> jax.Array:
    """Task-relative REINFORCE++: rewards whitened within each (role, task type) group.

    A_b = (r_b - mean_g) / std_g over the responses of b's task g, std of the population; 0 where std_g is 0.

    Absolute Zero Reasoner (arXiv 2505.03335), Eq. 8, on REINFORCE++ (arXiv 2501.03262). Each response counts once;
    AZR's code whitens over tokens (`trrpp_tokens`).

    Args:
      rewards_B: [B] rewards.
      tasks_B: [B] integers naming each response's task, any values.
      prompts_B: [B] integers naming each response's prompt; not used.
      lengths_B: [B] tokens of each response; not used.

    Returns:
      [B] float32 advantages.
    """
    del prompts_B, lengths_B
    return _whitened(jnp.asarray(rewards_B, jnp.float32), _same(tasks_B))


def trrpp_tokens(rewards_B: ArrayLike, tasks_B: ArrayLike, prompts_B: ArrayLike, lengths_B: ArrayLike) -> jax.Array:
    """Task-relative REINFORCE++ as AZR's code computes it: whitened over the tokens of each (role, task type) group.

    Every token's return is its response's reward (gamma 1, reward on the last token). With n_b the response's tokens,
    N = sum n_b, over the group:
      mean = sum n_b r_b / N;  var = sum n_b (r_b - mean)^2 / (N - 1);  A_b = (r_b - mean) / sqrt(var + 1e-8).
    So a group with long failures has a mean pulled towards them. 0 where all rewards are equal.

    The public Absolute Zero Reasoner's trainer (verl's masked_whiten in each group). Arguments as in `trrpp`;
    prompts_B is not used.
    """
    del prompts_B
    rewards_B, lengths_B = jnp.asarray(rewards_B, jnp.float32), jnp.asarray(lengths_B, jnp.float32)
    same_BB = _same(tasks_B)
    n_BB = jnp.where(same_BB, lengths_B[None, :], 0.0)
    N_B = n_BB.sum(axis=1)
    means_B = jnp.where(same_BB, n_BB * rewards_B[None, :], 0.0).sum(axis=1) / jnp.maximum(N_B, 1.0)
    squares_BB = n_BB * jnp.square(rewards_B[None, :] - means_B[:, None])
    variances_B = jnp.where(same_BB, squares_BB, 0.0).sum(axis=1) / jnp.maximum(N_B - 1.0, 1.0)
    scaled_B = (rewards_B - means_B) / jnp.sqrt(variances_B + 1e-8)
    return jnp.where(_varied(rewards_B, same_BB) | jnp.isnan(rewards_B), scaled_B, 0.0)


def role(rewards_B: ArrayLike, tasks_B: ArrayLike, prompts_B: ArrayLike, lengths_B: ArrayLike) -> jax.Array:
    """As `trrpp`, but whitened within each role: proposer and solver, the task types (and problems) together.

    A task type whose responses do better than the others' is pushed up as a whole. Arguments as in `trrpp`.
    """
    roles_B = jnp.minimum(jnp.asarray(tasks_B) // len(TASK_TYPES), 1)  # -1 of what fills up stays apart
    return trrpp(rewards_B, roles_B, prompts_B, lengths_B)


def grpo(rewards_B: ArrayLike, tasks_B: ArrayLike, prompts_B: ArrayLike, lengths_B: ArrayLike) -> jax.Array:
    """Group relative: rewards whitened within the responses to one prompt.

    A_b = (r_b - mean_q) / std_q over the responses of b's prompt q, std of the population; 0 where std_q is 0, and so
    0 for a prompt with one response.

    DeepSeekMath (arXiv 2402.03300), section 4.1.2. Arguments as in `trrpp`; tasks_B is not used.
    """
    del tasks_B, lengths_B
    return _whitened(jnp.asarray(rewards_B, jnp.float32), _same(prompts_B))


def dr_grpo(rewards_B: ArrayLike, tasks_B: ArrayLike, prompts_B: ArrayLike, lengths_B: ArrayLike) -> jax.Array:
    """Group relative without the division by the deviation: A_b = r_b - mean_q over the responses of b's prompt q.

    Dr. GRPO, Understanding R1-Zero-like training (arXiv 2503.20783), section 3.2: dividing by the deviation weighs
    prompts that are nearly always or never solved more. Its loss has learner.loss_aggregation='constant'. Arguments as
    in `trrpp`; tasks_B is not used.
    """
    del tasks_B, lengths_B
    rewards_B, same_BB = jnp.asarray(rewards_B, jnp.float32), _same(prompts_B)
    centred_B = rewards_B - jnp.where(same_BB, rewards_B[None, :], 0.0).sum(axis=1) / same_BB.sum(axis=1)
    return jnp.where(_varied(rewards_B, same_BB) | jnp.isnan(rewards_B), centred_B, 0.0)


def rloo(rewards_B: ArrayLike, tasks_B: ArrayLike, prompts_B: ArrayLike, lengths_B: ArrayLike) -> jax.Array:
    """REINFORCE leave-one-out: the baseline is the mean reward of the other responses to the prompt.

    A_b = r_b - 1 / (k - 1) * sum of r_j over the other k - 1 responses j of b's prompt. With k = 1 there is no other
    response, the baseline is empty and A_b = r_b (plain REINFORCE: unbiased, of high variance).

    Back to Basics (arXiv 2402.14740), section 4.1. Arguments as in `trrpp`; tasks_B is not used.
    """
    del tasks_B, lengths_B
    rewards_B = jnp.asarray(rewards_B, jnp.float32)
    others_BB = _same(prompts_B) & ~jnp.eye(rewards_B.shape[0], dtype=jnp.bool_)
    counts_B = others_BB.sum(axis=1)
    sums_B = jnp.where(others_BB, rewards_B[None, :], 0.0).sum(axis=1)
    return rewards_B - sums_B / jnp.maximum(counts_B, 1)


@jax.jit
def gae(rewards_BT: ArrayLike, values_BT: ArrayLike, mask_BT: ArrayLike, gamma: float, gae_lambda: float) -> jax.Array:
    """Generalised advantage estimation, a token at a time.

    delta_t = r_t + gamma * V_{t+1} - V_t;  A_t = delta_t + gamma * lambda * A_{t+1}, with V and A 0 after the last
    token of a response. A response stopped by its length limit ends like any other, without a bootstrapped value: its
    reward is final, since nothing more is ever sampled after it.

    Schulman et al., High-dimensional continuous control using generalized advantage estimation (arXiv 1506.02438),
    Eq. 11 and 12.

    Args:
      rewards_BT: [B, T] rewards; a response's reward is on its last token.
      values_BT: [B, T] values of the states in which each token was chosen.
      mask_BT: [B, T] true on response tokens. A row may hold several responses; a false entry separates any two.
      gamma: discount a token.
      gae_lambda: the estimator's lambda; 1 gives returns minus values, 0 one-step errors.

    Returns:
      [B, T] float32 advantages, 0 outside the mask. Advantages plus values are the returns to regress on.
    """
    mask_TB = jnp.asarray(mask_BT, jnp.bool_).T
    rewards_TB = jnp.asarray(rewards_BT, jnp.float32).T
    values_TB = jnp.asarray(values_BT, jnp.float32).T

    def backward(carry: tuple[jax.Array, jax.Array], token: tuple[jax.Array, jax.Array, jax.Array]):
        next_advantage_B, next_value_B = carry
        reward_B, value_B, mask_B = token
        delta_B = reward_B + gamma * next_value_B - value_B
        advantage_B = jnp.where(mask_B, delta_B + gamma * gae_lambda * next_advantage_B, 0.0)
        return (advantage_B, jnp.where(mask_B, value_B, 0.0)), advantage_B

    zeros_B = jnp.zeros(rewards_TB.shape[1], jnp.float32)
    _, advantages_TB = jax.lax.scan(backward, (zeros_B, zeros_B), (rewards_TB, values_TB, mask_TB), reverse=True)
    return advantages_TB.T


@jax.jit
def whitened_tokens(advantages_BT: ArrayLike, mask_BT: ArrayLike) -> jax.Array:
    """Advantages with mean 0 and standard deviation 1 over all masked tokens; 0 where they are all equal. [B, T].

    As PPO does with GAE (The 37 implementation details of PPO, item 7; there per minibatch, here over the batch).
    """
    advantages_BT, mask_BT = jnp.asarray(advantages_BT, jnp.float32), jnp.asarray(mask_BT, jnp.bool_)
    count = jnp.maximum(mask_BT.sum(), 1)
    centred_BT = jnp.where(mask_BT, advantages_BT - jnp.where(mask_BT, advantages_BT, 0.0).sum() / count, 0.0)
    std = jnp.sqrt(jnp.square(centred_BT).sum() / count)
    return jnp.where(std > _EQUAL_REWARDS, centred_BT / jnp.maximum(std, _EQUAL_REWARDS), 0.0)


ADVANTAGE_ESTIMATORS: dict[str, Callable[..., jax.Array]] = {
    "trrpp": trrpp,
    "trrpp_tokens": trrpp_tokens,
    "role": role,
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "gae": gae,
}


def sequence_advantages(
    estimator: str, rewards: Sequence[float], tasks: Sequence[int], prompts: Sequence[int], lengths: Sequence[int]
) -> np.ndarray:
    """The advantage of each response, for `TrainSequence.advantage`. [B] float32.

    For "gae" these are zeros: the update replaces them with token-level advantages.

    Raises:
      ValueError: an unknown estimator or arguments of different lengths.
    """
    if estimator not in ADVANTAGE_ESTIMATORS:
        raise ValueError(f"learner.estimator={estimator!r}: use one of {', '.join(ADVANTAGE_ESTIMATORS)}")
    if not len(rewards) == len(tasks) == len(prompts) == len(lengths):
        raise ValueError(
            f"rewards, tasks, prompts and lengths have {len(rewards)}, {len(tasks)}, {len(prompts)} and"
            f" {len(lengths)} entries: give one for each response"
        )
    if estimator == "gae":
        return np.zeros(len(rewards), np.float32)
    # The padding responses form a separate group, which changes no other advantages.
    unused = padded_size(len(rewards)) - len(rewards)
    rewards_B = np.pad(np.asarray(rewards, np.float32), (0, unused))
    integers = (np.pad(np.asarray(of, np.int32), (0, unused), constant_values=-1) for of in (tasks, prompts, lengths))
    return np.asarray(ADVANTAGE_ESTIMATORS[estimator](rewards_B, *integers))[: len(rewards)]


def padded_size(count: int) -> int:
    """The least of 0, 1, 2, 3, 4, 6, 8, 12, 16, ... (powers of two and halfway) that holds `count`.

    A program is compiled for each size, and the number of responses or rows varies by step.
    """
    power = 1 << max(count - 1, 0).bit_length()
    return 3 * power // 4 if count <= 3 * power // 4 else power


def _same(groups_B: ArrayLike) -> jax.Array:
    """[B, B], true where two responses are of one group. B is some hundreds: the square is small."""
    groups_B = jnp.asarray(groups_B)
    return groups_B[:, None] == groups_B[None, :]


def _whitened(rewards_B: jax.Array, same_BB: jax.Array) -> jax.Array:
    counts_B = same_BB.sum(axis=1)
    means_B = jnp.where(same_BB, rewards_B[None, :], 0.0).sum(axis=1) / counts_B
    squares_BB = jnp.square(rewards_B[None, :] - means_B[:, None])
    stds_B = jnp.sqrt(jnp.where(same_BB, squares_BB, 0.0).sum(axis=1) / counts_B)
    varied_B = _varied(rewards_B, same_BB)
    # A NaN reward must not become 0: it must reach the loss, where the update is skipped and counted.
    return jnp.where(varied_B | jnp.isnan(rewards_B), (rewards_B - means_B) / jnp.where(varied_B, stds_B, 1.0), 0.0)


def _varied(rewards_B: jax.Array, same_BB: jax.Array) -> jax.Array:
    """[B], true where the rewards of the response's group differ by more than rounding."""
    highest_B = jnp.where(same_BB, rewards_B[None, :], -jnp.inf).max(axis=1, initial=-jnp.inf)
    lowest_B = jnp.where(same_BB, rewards_B[None, :], jnp.inf).min(axis=1, initial=jnp.inf)
    return highest_B - lowest_B > _EQUAL_REWARDS
