"""Rewards as pure functions: the paper's Eqs. 1-4, the schedules and solver rewards by name, and the control.

An extension is a function of the same signature and an entry in `REWARD_SCHEDULES` or `SOLVER_REWARDS`. All that a
schedule knows of the run is a `RewardState`, which is saved and restored with the run.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Hashable, Sequence

from azr_jax.config import RewardSettings
from azr_jax.types import Role


def solver_reward(formatted: bool, correct: bool) -> float:
    """Eq. 2: 1 when correct; -0.5 when well formatted but wrong or not runnable; -1 otherwise.

    Raises:
      ValueError: correct and not formatted, which is impossible.
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


@dataclasses.dataclass(frozen=True, slots=True)
class RewardState:
    """The state of reward schedules: the step being rewarded, from 1, and running means over earlier steps.

    solver_accuracy: share of solver responses that were correct. syntax_share: share of well-formatted ones whose
    program or value was a syntax error. None before the first step that had any; `advanced` says where they start.
    """

    step: int = 1
    solver_accuracy: float | None = None
    syntax_share: float | None = None


def advanced(
    state: RewardState, accuracy: float | None, syntax_share: float | None, settings: RewardSettings
) -> RewardState:
    """The state of the next step: a_t = (1 - r) a_(t-1) + r c_t for both means, with r = `smoothing`.

    None leaves the mean unchanged. The means start where the weights start to change (`adaptive_low` for the accuracy,
    `graded_shift_share` for the share of syntax errors), so the first measurement causes no jump.
    """

    def mean(old: float | None, new: float | None, start: float) -> float | None:
        if new is None:
            return old
        return (1.0 - settings.smoothing) * (start if old is None else old) + settings.smoothing * new

    return RewardState(
        state.step + 1,
        mean(state.solver_accuracy, accuracy, settings.adaptive_low),
        mean(state.syntax_share, syntax_share, settings.graded_shift_share),
    )


def switch_weight(state: RewardState, settings: RewardSettings) -> float:
    """Weight of Eq. 4: 0 up to and including `switch_step`, 1 after it. The only weight that jumps."""
    return 0.0 if state.step <= settings.switch_step else 1.0


def linear_weight(state: RewardState, settings: RewardSettings) -> float:
    """Weight of Eq. 4: 0 up to `linear_from`, 1 from `linear_to` on, linear in the step between."""
    return _clipped((state.step - settings.linear_from) / (settings.linear_to - settings.linear_from))


def adaptive_weight(state: RewardState, settings: RewardSettings) -> float:
    """Weight of Eq. 4: w = (a - low) / (high - low), clipped to [0, 1].

    a is the running solver accuracy (`advanced`), low and high are `adaptive_low` and `adaptive_high`. At step 1 w is
    0: Eq. 3. The limits: w = 0 for a <= low, w = 1 for a >= high. From one step to the next w moves by at most
    smoothing / (high - low), because a moves by at most `smoothing` and starts at low: the reward of any proposal is
    continuous over training, from the first step on. When accuracy falls again, w falls with it at the same pace,
    back to Eq. 3 at `adaptive_low`; there is no memory besides the mean's own.
    """
    if state.solver_accuracy is None:
        return 0.0
    return _clipped((state.solver_accuracy - settings.adaptive_low) / (settings.adaptive_high - settings.adaptive_low))


def _clipped(weight: float) -> float:
    return min(1.0, max(0.0, weight))


def _mixed(acc: float | None, valid: bool, weight: float) -> float:
    return (1.0 - weight) * propose_eq3(acc, valid) + weight * propose_eq4(acc, valid)


def schedule_eq3(acc: float | None, valid: bool, state: RewardState, settings: RewardSettings) -> float:
    """Eq. 3 at every step."""
    return propose_eq3(acc, valid)


def schedule_eq4(acc: float | None, valid: bool, state: RewardState, settings: RewardSettings) -> float:
    """Eq. 4 at every step."""
    return propose_eq4(acc, valid)


def schedule_switch(acc: float | None, valid: bool, state: RewardState, settings: RewardSettings) -> float:
    """The paper's combination: Eq. 3 for steps 1 to `switch_step` (64), Eq. 4 from the step after it (65)."""
    return _mixed(acc, valid, switch_weight(state, settings))


def schedule_linear(acc: float | None, valid: bool, state: RewardState, settings: RewardSettings) -> float:
    """(1 - w) Eq. 3 + w Eq. 4 with `linear_weight`."""
    return _mixed(acc, valid, linear_weight(state, settings))


def schedule_adaptive(acc: float | None, valid: bool, state: RewardState, settings: RewardSettings) -> float:
    """(1 - w) Eq. 3 + w Eq. 4 with `adaptive_weight`: the paper's future work."""
    return _mixed(acc, valid, adaptive_weight(state, settings))


def schedule_learnability(acc: float | None, valid: bool, state: RewardState, settings: RewardSettings) -> float:
    """`acc (1 - acc)` if valid, -1 otherwise: the variance of a solver's success, as learnability measures it.

    Unlike Eq. 4 a valid proposal that is always or never solved earns 0, and 0.25 is the most.
    """
    if not valid:
        return -1.0
    acc = _checked(acc)
    return acc * (1.0 - acc)


def schedule_uncertainty(acc: float | None, valid: bool, state: RewardState, settings: RewardSettings) -> float:
    """`min(acc, 1 - acc)` if valid, -1 otherwise: highest where the solver is right half the time.

    The uncertainty reward of R-Zero (arXiv 2508.05004), 1 - 2 |acc - 1/2|, up to a factor of 2.
    """
    if not valid:
        return -1.0
    acc = _checked(acc)
    return min(acc, 1.0 - acc)


# Weight of Eq. 4 in the schedules that mix it with Eq. 3.
EQ4_WEIGHTS: dict[str, Callable[[RewardState, RewardSettings], float]] = {
    "eq3": lambda state, settings: 0.0,
    "eq4": lambda state, settings: 1.0,
    "switch": switch_weight,
    "linear": linear_weight,
    "adaptive": adaptive_weight,
}


def state_metrics(state: RewardState, settings: RewardSettings) -> dict[str, float]:
    """Metrics of a step's reward schedule: `propose/eq4_weight` and the running means, if they exist."""
    metrics = {}
    if settings.proposer in EQ4_WEIGHTS:
        metrics["propose/eq4_weight"] = EQ4_WEIGHTS[settings.proposer](state, settings)
    for key in ("solver_accuracy", "syntax_share"):
        if (value := getattr(state, key)) is not None:
            metrics[f"solve/running_{key}"] = value
    return metrics


ERROR_KINDS = ("format", "syntax", "runtime", "wrong")


def error_kind(formatted: bool, correct: bool, outcome: str) -> str | None:
    """`format`, `syntax`, `runtime` or `wrong`; None if correct. `outcome` is the executor's status,
    which means the same in every language.

    `syntax` is what the language's reader or compiler refuses before anything runs: a program (`syntax_error`), or an
    answer that is no value of the language (`forbidden`). `runtime` is all that ran, or was refused for what it did,
    and gave no value: an exception, a time-out, too much memory and the like.
    """
    if correct:
        return None
    if not formatted:
        return "format"
    return {"syntax_error": "syntax", "forbidden": "syntax", "wrong": "wrong"}.get(outcome, "runtime")


def solver_plain(formatted: bool, correct: bool, outcome: str, state: RewardState, settings: RewardSettings) -> float:
    """Eq. 2, whatever the outcome (`wrong`, an executor status or a parsing reason) is."""
    return solver_reward(formatted, correct)


def solver_graded(formatted: bool, correct: bool, outcome: str, state: RewardState, settings: RewardSettings) -> float:
    """Eq. 2 with its -0.5 graded: `graded_syntax` < `graded_runtime` < `graded_wrong`, all between -1 and 0."""
    return _graded(formatted, correct, outcome, settings.graded_syntax, settings.graded_runtime, settings)


def solver_graded_shift(
    formatted: bool, correct: bool, outcome: str, state: RewardState, settings: RewardSettings
) -> float:
    """`solver_graded` whose weight moves from syntax to meaning as syntax errors become rare.

    u = share / `graded_shift_share`, clipped to [0, 1], of the running share of syntax errors (`advanced`; u is 1 at
    step 1). With s < r < w the three settings, a runtime error costs r + 0.8 u (w - r) and a syntax error
    s + 0.8 (1 - u) (r - s): at u = 1 the wide gap is between syntax errors and the rest, at u = 0 between programs
    that give no value and wrong values. The order never changes, and both are continuous in the share.
    """
    share = 1.0 if state.syntax_share is None else state.syntax_share
    form = _clipped(share / settings.graded_shift_share)
    lowest, middle, highest = settings.graded_syntax, settings.graded_runtime, settings.graded_wrong
    runtime = middle + 0.8 * form * (highest - middle)
    syntax = lowest + 0.8 * (1.0 - form) * (middle - lowest)
    return _graded(formatted, correct, outcome, syntax, runtime, settings)


def _graded(
    formatted: bool, correct: bool, outcome: str, syntax: float, runtime: float, settings: RewardSettings
) -> float:
    plain = solver_reward(formatted, correct)
    kind = error_kind(formatted, correct, outcome)
    return {"syntax": syntax, "runtime": runtime, "wrong": settings.graded_wrong}.get(kind or "", plain)


ProposerReward = Callable[[float | None, bool, RewardState, RewardSettings], float]
SolverReward = Callable[[bool, bool, str, RewardState, RewardSettings], float]

# (acc, valid, state, settings) -> reward of a proposal.
REWARD_SCHEDULES: dict[str, ProposerReward] = {
    "eq3": schedule_eq3,
    "eq4": schedule_eq4,
    "switch": schedule_switch,
    "linear": schedule_linear,
    "adaptive": schedule_adaptive,
    "learnability": schedule_learnability,
    "uncertainty": schedule_uncertainty,
}

# (formatted, correct, outcome, state, settings) -> reward of a solution.
SOLVER_REWARDS: dict[str, SolverReward] = {
    "plain": solver_plain,
    "graded": solver_graded,
    "graded_shift": solver_graded_shift,
}


def by_tests(reward: float, passed: float) -> float:
    """The reward of a whole program that passes a share `passed` of its tests: reward + passed (1 - reward).

    From the solver's `reward` of a well-formatted failure, with no test passed, up to 1 with all.
    """
    return reward + passed * (1.0 - reward)


def weighted(role: Role, value: float, lambda_solve: float) -> float:
    """Eq. 1: maximise E[r_propose + lambda r_solve]; a solver's value times lambda, a proposer's as it is.

    The value may be a reward or an advantage. An estimator that whitens within each task (trrpp, grpo) cancels a
    factor on the rewards, so for those it has to be the advantage.
    """
    return lambda_solve * value if role is Role.SOLVE else value


def overlong_penalty(tokens: int, limit: int, last: int) -> float:
    """The penalty of a response near the length limit: 0, then linear down to -1.

    0 for tokens <= limit - last; ((limit - last) - tokens) / last up to the limit; -1 beyond. "Soft overlong
    punishment", DAPO (arXiv 2503.14476), Eq. 13.
    """
    return _clipped((tokens - (limit - last)) / last) * -1.0


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
