"""The weights of a response's tokens in the loss: one function for each aggregation, NumPy on the host.

The loss of a minibatch is sum over responses b and their tokens t of weight_b * loss_bt, divided by a denominator. A
function here gives (weight_B, denominator); the device program multiplies and divides, and knows no aggregation.

n_b is the number of the response's tokens, s_b its share: 1, or less by `balanced_shares`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azr_jax.learner.packing import TASK_GROUPS
from azr_jax.types import TASK_TYPES

Weights = tuple[np.ndarray, float]


def token(n_B: np.ndarray, groups_B: np.ndarray, s_B: np.ndarray, size: int) -> Weights:
    """Every token of the minibatch weighs the same: sum_bt s_b l_bt / sum_b s_b n_b.

    DAPO (arXiv 2503.14476), section 3.3. `groups_B` and `size` are not used.
    """
    return s_B, float((s_B * n_B).sum())


def sequence(n_B: np.ndarray, groups_B: np.ndarray, s_B: np.ndarray, size: int) -> Weights:
    """Every response weighs the same: sum_b s_b (1 / n_b) sum_t l_bt / sum_b s_b.

    DeepSeekMath (arXiv 2402.03300), Eq. 3; GSPO (arXiv 2507.18071), Eq. 5. `groups_B` and `size` are not used.
    """
    return s_B / n_B, float(s_B.sum())


def task(n_B: np.ndarray, groups_B: np.ndarray, s_B: np.ndarray, size: int) -> Weights:
    """Every task group of the minibatch weighs the same: mean over groups g of sum_(b in g, t) l_bt / sum_(b in g) n_b.

    This project's: in a mean over all tokens, the group with the longest responses dominates. `s_B` and `size` are not
    used: inside a group all shares are equal.
    """
    tokens = {group: float(n_B[groups_B == group].sum()) for group in np.unique(groups_B)}
    return np.array([1.0 / tokens[group] for group in groups_B]), float(len(tokens))


def microbatch(n_B: np.ndarray, groups_B: np.ndarray, s_B: np.ndarray, size: int) -> Weights:
    """Mean over microbatches M of `size` responses in order of their token means: mean_M sum_(b in M, t) l_bt / n_M.

    As the public AZR code (verl's actor: the mean over the tokens of each microbatch, divided by the number of
    microbatches): a response's weight depends on its 15 neighbours. A microbatch counts by the shares of its
    responses: S_M (sum_(b in M, t) s_b l_bt / sum_(b in M) s_b n_b) / sum_M S_M, S_M = sum_(b in M) s_b. One that is
    not full counts for less; AZR's are all full. `groups_B` is not used.
    """
    weights_B = np.zeros(len(n_B))
    for start in range(0, len(n_B), size):
        members = slice(start, start + size)
        weights_B[members] = s_B[members] * s_B[members].sum() / (s_B[members] * n_B[members]).sum()
    return weights_B, float(s_B.sum())


def constant(n_B: np.ndarray, groups_B: np.ndarray, s_B: np.ndarray, size: int) -> Weights:
    """Sums of tokens over a fixed length L: sum_b s_b (1 / L) sum_t l_bt / sum_b s_b, L = `size`.

    Dr. GRPO (arXiv 2503.20783), section 3.2: no division by a response's own length, which favours long failures. L is
    `sampler.max_response_tokens`. `groups_B` is not used.
    """
    return s_B, float(size * s_B.sum())


LOSS_AGGREGATIONS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int], Weights]] = {
    "token": token,
    "sequence": sequence,
    "task": task,
    "microbatch": microbatch,
    "constant": constant,
}


def balanced_shares(groups_B: np.ndarray) -> np.ndarray:
    """Shares with which both roles of a task type count alike, however many responses each has. [B] float64.

    Eq. 1 maximises E[r_propose] + lambda E[r_solve]: two means of equal weight. With `selfplay.train_on_estimates` a
    type has 64 proposals and up to 64 + 64 * 8 solutions, and without shares the proposer's part falls from a half to a
    tenth. A group of k responses gets the share k_propose / k for each, where k_propose counts the type's proposals; a
    type without proposals keeps 1, and so do problems, which have none.

    Args:
      groups_B: [B] index in TASK_GROUPS: the types of the proposer, then those of the solver, then problems.
    """
    types = len(TASK_TYPES)
    counts = np.bincount(groups_B, minlength=len(TASK_GROUPS))
    groups = np.arange(len(TASK_GROUPS))
    proposals = np.where(groups < 2 * types, counts[groups % types], 0)
    shares = np.where((counts > 0) & (proposals > 0), proposals / np.maximum(counts, 1), 1.0)
    return shares[groups_B]
