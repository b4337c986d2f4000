"""Rewards as pure functions: the paper's Eqs. 1-4, the schedules and solver rewards by name, and the control.

An extension is a function of the same signature and an entry in `REWARD_SCHEDULES` or `SOLVER_REWARDS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence

from azr_jax.config import RewardSettings
from azr_jax.types import Role


def solver_reward(formatted: bool, correct: bool) -> float:
    """Eq. 2: 1 when correct; -0.5 when well formatted but wrong or not runnable; -1 otherwise.

    Raises:
      ValueError: correct and not formatted, which no parser and executor together can say.
    """
    if correct and not formatted:
        raise ValueError("correct=True with formatted=False: an answer that could not be parsed cannot be correct")
    if correct:
        return 1.0
    return -0.5 if formatted else -1.0


def propose_eq3(acc: float | None, valid: bool) -> float:
    """Eq. 3 (original): 1 - acc when 0 < acc < 1; -0.5 when acc is 0 or 1; -1 when not valid.

    Args:
      acc: mean correctness of the m solver samples, in [0, 1]; None only when not valid.
      valid: whether the proposal parsed and ran.

    Raises:
      ValueError: a valid proposal without an acc in [0, 1].
    """
    if not valid:
        return -1.0
    acc = _checked(acc)
    return 1.0 - acc if 0.0 < acc < 1.0 else -0.5


def propose_eq4(acc: float | None, valid: bool) -> float:
    """Eq. 4 (revised): 0.5 + 2 acc (1 - acc) when valid; -1 otherwise. Arguments and errors as `propose_eq3`."""
    if not valid:
        return -1.0
    acc = _checked(acc)
    return 0.5 + 2.0 * acc * (1.0 - acc)


def _checked(acc: float | None) -> float:
    if acc is None or not 0.0 <= acc <= 1.0:
        raise ValueError(
            f"acc={acc!r} of a valid proposal: must be in [0, 1]; drop a proposal whose samples all failed for"
            " infrastructure before rewarding it"
        )
    return acc


def schedule_eq3(acc: float | None, valid: bool, step: int, settings: RewardSettings) -> float:
    """Eq. 3 at every step."""
    return propose_eq3(acc, valid)


def schedule_eq4(acc: float | None, valid: bool, step: int, settings: RewardSettings) -> float:
    """Eq. 4 at every step."""
    return propose_eq4(acc, valid)


def schedule_switch(acc: float | None, valid: bool, step: int, settings: RewardSettings) -> float:
    """The paper's combination: Eq. 3 for steps 1 to `switch_step` (64), Eq. 4 from the step after it (65)."""
    return propose_eq3(acc, valid) if step <= settings.switch_step else propose_eq4(acc, valid)


def solver_plain(formatted: bool, correct: bool, outcome: str, settings: RewardSettings) -> float:
    """Eq. 2 whatever the outcome word (`wrong`, an executor status or a parsing reason) says."""
    return solver_reward(formatted, correct)


ProposerReward = Callable[[float | None, bool, int, RewardSettings], float]
SolverReward = Callable[[bool, bool, str, RewardSettings], float]

# (acc, valid, step, settings) -> reward of a proposal; steps count from 1.
REWARD_SCHEDULES: dict[str, ProposerReward] = {
    "eq3": schedule_eq3,
    "eq4": schedule_eq4,
    "switch": schedule_switch,
}

# (formatted, correct, outcome, settings) -> reward of a solution.
SOLVER_REWARDS: dict[str, SolverReward] = {
    "plain": solver_plain,
}


def weighted(role: Role, value: float, lambda_solve: float) -> float:
    """Eq. 1: maximise E[r_propose + lambda r_solve]; a solver's value times lambda, a proposer's as it is.

    The value may be a reward or an advantage. An estimator that whitens within each task (trrpp, grpo) divides a
    factor on the rewards out again, so for those it has to be the advantage.
    """
    return lambda_solve * value if role is Role.SOLVE else value


def permuted(rewards: Sequence[float], groups: Sequence[Hashable], rng: random.Random) -> list[float]:
    """The control experiment: rewards shuffled among the responses of the same group (task type and role).

    Every group keeps its rewards, so their mean and variance stay, and what a response did no longer matters.

    Raises:
      ValueError: not one group for each reward.
    """
    if len(rewards) != len(groups):
        raise ValueError(f"{len(rewards)} rewards and {len(groups)} groups: give each reward its group")
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    result = list(rewards)
    for indices in members.values():
        sources = indices.copy()
        rng.shuffle(sources)
        for target, source in zip(indices, sources, strict=True):
            result[target] = rewards[source]
    return result
