"""Alerts on a step's metrics: what is wrong, what it usually means, and what to try. No jax."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from azr_jax.config import Config, MonitoringSettings

# An alert that lasts, or comes back, is repeated after this many steps.
REPEAT_STEPS = 16
_MOSTLY = 0.5  # a share above this is most


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """One problem at a step."""

    name: str
    finding: str
    meaning: str
    advice: str

    def __str__(self) -> str:
        return f"{self.finding}. It usually means: {self.meaning}. Try: {self.advice}."


Metrics = Mapping[str, float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class _Cause:
    """An explanation that the step's own metrics or the run's settings give."""

    holds: Callable[[Metrics, Config], bool]
    meaning: str
    advice: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Rule:
    """`causes` are checked in order; `meaning` and `advice` apply if none of them holds.

    LANGUAGE in `key` stands for each of the run's; the first that is off counts.
    """

    name: str
    key: str
    is_off: Callable[[float, MonitoringSettings], bool]
    finding: Callable[[float, MonitoringSettings], str]
    meaning: str
    advice: str
    causes: tuple[_Cause, ...] = ()


def _above(key: str, share: float) -> Callable[[Metrics, Config], bool]:
    return lambda metrics, config: (metrics.get(key) or 0.0) > share


def _cut_off(role: str, responses: str) -> _Cause:
    return _Cause(
        _above(f"{role}/length_capped", _MOSTLY),
        f"most {responses} are cut off at the length limit, before they have answered",
        "raise sampler.max_response_tokens; sampler.stop=('</answer>',) ends responses that run on after their answer",
    )


_LAG = _Cause(
    _above("sample/lag_tokens", 0.0),
    "part of the tokens is of the policy before the last update (pipeline.lag), which moved it far",
    "a lower learner.lr, or pipeline.lag=0; ppo/solve_*/mismatch_mean is without the lag",
)


_RULES = (
    _Rule(
        "valid_proposals",
        "propose/valid",
        lambda value, limit: value < limit.alert_valid_below,
        lambda value, limit: f"{value:.1%} of the proposals are valid, under {limit.alert_valid_below:.1%}",
        "the model has lost the format, or repeats what the buffer has, or an interpreter is broken",
        "read the proposals in transcripts.jsonl and propose/outcome/*; run `python -m executors doctor`; go back to an"
        " earlier save with a lower learner.lr",
        (
            _cut_off("propose", "proposals"),
            _Cause(
                _above("propose/outcome/duplicate", _MOSTLY),
                "most proposals repeat what the buffer has",
                "raise selfplay.references or sampler.temperature; look at propose/*/program/*",
            ),
            _Cause(
                _above("propose/error/syntax", _MOSTLY),
                "most programs do not compile: the model writes another language or another version of it",
                "read the proposals in transcripts.jsonl; `python -m executors doctor` says which version is installed",
            ),
        ),
    ),
    _Rule(
        "empty_responses",
        "sample/empty",
        lambda value, limit: value > _MOSTLY,
        lambda value, limit: f"{value:.1%} of the responses are empty",
        "the model ends at once: its prompts lack its chat template, or it has collapsed",
        "read the prompts in transcripts.jsonl; model.chat_template='model' for an instruct model; go back to an"
        " earlier save",
    ),
    _Rule(
        "nothing_solved",
        "propose/acc_zero",
        lambda value, limit: value > limit.alert_acc_zero_above,
        lambda value, limit: f"P(acc=0) is {value:.1%}, over {limit.alert_acc_zero_above:.1%}",
        "every valid proposal is too hard, so that the proposer gets one and the same reward, or the solver's answers"
        " are cut off or lack the format",
        "look at solve/error/*, solve/length_capped and solve/formatted; keep selfplay.estimate_temperature at 1;"
        " reward.proposer='eq4' or 'adaptive'",
        (
            _cut_off("solve", "solutions"),
            _Cause(
                lambda metrics, config: config.selfplay.estimate_temperature > config.sampler.temperature,
                "acc is estimated at a higher temperature than solvers are trained at",
                "selfplay.estimate_temperature as sampler.temperature",
            ),
        ),
    ),
    _Rule(
        "all_solved",
        "propose/acc_one",
        lambda value, limit: value > limit.alert_acc_one_above,
        lambda value, limit: f"P(acc=1) is {value:.1%}, over {limit.alert_acc_one_above:.1%}",
        "every valid proposal is too easy: solvers have nothing to learn from it",
        "reward.proposer='eq3', which pays for hard tasks; more selfplay.estimate_samples tell tasks apart",
    ),
    _Rule(
        "same_outputs",
        "propose/LANGUAGE/program/distinct_outputs",
        lambda value, limit: value < limit.alert_distinct_outputs_below,
        lambda value, limit: (
            f"the valid programs gave few different values: {value:.1%}, under {limit.alert_distinct_outputs_below:.1%}"
        ),
        "the proposer writes programs that do nothing with their input, such as those that return nothing: any input is"
        " then right for abduction",
        "read the proposals in transcripts.jsonl; selfplay.constant_programs='-1' with selfplay.probes=8 refuses such"
        " programs (reward.proposer='eq3' alone did not prevent it: docs/results/smollm2.md); go back to an earlier"
        " save",
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
        (
            _Cause(
                lambda metrics, config: config.sampler.top_p < 1.0 or config.sampler.top_k > 0,
                "sampler.top_p or sampler.top_k cuts the distribution that is sampled, and the whole one is trained",
                "sampler.top_p=1.0 and sampler.top_k=0",
            ),
            _LAG,
        ),
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
        (_LAG,),
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
    _Rule(
        "no_advantage",
        "ppo/zero_advantage",
        lambda value, limit: value >= 1.0,
        lambda value, limit: "every advantage of this step is 0: nothing was learned from its rewards",
        "all responses of each group earned the same, or each group has one response",
        "look at solve/accuracy and propose/acc; raise selfplay.batch_per_task or selfplay.estimate_samples",
    ),
)


def alerts(metrics: Metrics, config: Config) -> list[Alert]:
    """The alerts of one step's metrics; a metric that is absent or not a number gives none."""
    limits, raised = config.monitoring, []
    for rule in _RULES:
        values = [metrics.get(rule.key.replace("LANGUAGE", language)) for language in config.languages]
        off = [value for value in values if value is not None and math.isfinite(value) and rule.is_off(value, limits)]
        if off:
            cause = next((cause for cause in rule.causes if cause.holds(metrics, config)), rule)
            raised.append(Alert(rule.name, rule.finding(off[0], limits), cause.meaning, cause.advice))
    return raised


class Watch:
    """Reports an alert when it begins, and again no sooner than REPEAT_STEPS later, even if it comes and goes."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._said: dict[str, int] = {}

    def new_alerts(self, step: int, metrics: Metrics) -> list[Alert]:
        """The alerts of this step that should be reported now."""
        raised = alerts(metrics, self._config)
        new = [alert for alert in raised if step - self._said.get(alert.name, step - REPEAT_STEPS) >= REPEAT_STEPS]
        self._said |= {alert.name: step for alert in new}
        return new
