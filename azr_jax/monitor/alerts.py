"""What is off in a step's metrics, what it usually means, and what to try. No jax."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from azr_jax.config import MonitoringSettings

# An alert that lasts, or comes back, is said again after this many steps.
REPEAT_STEPS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is off at a step."""

    name: str
    finding: str
    meaning: str
    advice: str

    def __str__(self) -> str:
        return f"{self.finding}. It usually means: {self.meaning}. Try: {self.advice}."


@dataclasses.dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    key: str
    is_off: Callable[[float, MonitoringSettings], bool]
    finding: Callable[[float, MonitoringSettings], str]
    meaning: str
    advice: str


_RULES = (
    _Rule(
        "valid_proposals",
        "propose/valid",
        lambda value, limit: value < limit.alert_valid_below,
        lambda value, limit: f"{value:.1%} of the proposals are valid, under {limit.alert_valid_below:.1%}",
        "the model has lost the format, or repeats what the buffer has, or an interpreter is broken",
        "read the proposals in transcripts.jsonl and propose/outcome/*; run `python -m executors doctor`; go back to an"
        " earlier save with a lower learner.lr",
    ),
    _Rule(
        "nothing_solved",
        "propose/acc_zero",
        lambda value, limit: value > limit.alert_acc_zero_above,
        lambda value, limit: f"P(acc=0) is {value:.1%}, over {limit.alert_acc_zero_above:.1%}",
        "every valid proposal is too hard, so that the proposer gets one and the same reward, or the solver's answers"
        " are cut off or lack the format",
        "look at solve/error/*, sample/length_capped and solve/formatted; keep selfplay.estimate_temperature at 1;"
        " reward.proposer='eq4' or 'adaptive'",
    ),
    _Rule(
        "mismatch",
        "ppo/mismatch_mean",
        lambda value, limit: value > limit.alert_mismatch_above,
        lambda value, limit: (
            f"sampler and trainer differ by {value:.3g} nats a token, more than {limit.alert_mismatch_above:.3g}"
        ),
        "they compute the same weights differently: another precision, attention kernel or temperature",
        "learner.recompute_old_logprobs=True, learner.importance_cap=2, model.attention='xla', or"
        " model.compute_dtype='float32' for a few steps to see which it is",
    ),
    _Rule(
        "probability_error",
        "ppo/mismatch_prob_error",
        lambda value, limit: value > limit.alert_prob_error_above,
        lambda value, limit: (
            f"sampled probabilities are off by a factor of {value:.3g} in the mean, more than"
            f" {limit.alert_prob_error_above:.3g}"
        ),
        "sampler and trainer compute the same weights differently, on some tokens by much",
        "learner.importance='token_mask', or what the alert on nats a token says",
    ),
    _Rule(
        "entropy_collapse",
        "ppo/entropy",
        lambda value, limit: value < limit.alert_entropy_below,
        lambda value, limit: f"the policy's entropy is {value:.3g} nats, under {limit.alert_entropy_below:.3g}",
        "the policy has become nearly certain of every token; samples of one task are copies, and advantages vanish",
        "go back to an earlier save; raise learner.entropy_coef or lower learner.lr; look at reward.proposer",
    ),
    _Rule(
        "not_finite",
        "ppo/nonfinite",
        lambda value, limit: value > 0,
        lambda value, limit: f"{value:.0f} updates of this step had a loss or gradient that is not finite: skipped",
        "the learning rate is too high or an activation overflowed",
        "lower learner.lr or learner.gradient_clip",
    ),
)


def alerts(metrics: Mapping[str, float | None], settings: MonitoringSettings) -> list[Alert]:
    """What is off in one step's metrics; a metric that is absent or not a number says nothing."""
    found = []
    for rule in _RULES:
        value = metrics.get(rule.key)
        if value is not None and math.isfinite(value) and rule.is_off(value, settings):
            found.append(Alert(rule.name, rule.finding(value, settings), rule.meaning, rule.advice))
    return found


class Watch:
    """Says an alert when it begins, and again no sooner than REPEAT_STEPS later, whether it lasts or comes and goes."""

    def __init__(self, settings: MonitoringSettings) -> None:
        self._settings = settings
        self._said: dict[str, int] = {}

    def new_alerts(self, step: int, metrics: Mapping[str, float]) -> list[Alert]:
        """The alerts of this step that are to be said now."""
        found = alerts(metrics, self._settings)
        new = [one for one in found if step - self._said.get(one.name, step - REPEAT_STEPS) >= REPEAT_STEPS]
        self._said |= {one.name: step for one in new}
        return new
