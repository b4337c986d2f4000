"""Remarks on settings that may not mean what the user intended, printed before anything is loaded."""

from __future__ import annotations

import math
import operator
from typing import Any

from azr_jax.config import Config
from azr_jax.selfplay.ring import draw_rule

# How the keys of a step's metrics begin (docs/metrics.md); `eval/` are those of steps that are scored.
_GROUPS = ("propose", "solve", "ppo", "sample", "exec", "time", "buffer", "reward", "device", "host")


def check_best_metric(config: Config) -> None:
    """Raises ValueError if no step of the run can have `checkpoint.best_metric`."""
    name, settings = config.checkpoint.best_metric, config.evaluation
    group, _, rest = name.partition("/")
    if not name or (group in _GROUPS and rest):
        return
    wrong = f"checkpoint.best_metric={name!r}"
    if group != "eval":
        raise ValueError(f"{wrong}: no metric of that name; docs/metrics.md lists them")
    if not settings.every:
        raise ValueError(f"{wrong}: evaluation.every=0, so that no step is scored; set it above 0")
    scored = ("heldout",) if settings.heldout else ()
    if rest.partition("/")[0] not in (*scored, *settings.benchmarks):
        raise ValueError(f"{wrong}: not scored; set evaluation.heldout or evaluation.benchmarks to score it")


def remarks(config: Config) -> list[str]:
    """A line for each combination of settings that works and is rarely intended."""
    sampler, every, saved = config.sampler, config.evaluation.every, config.checkpoint.every
    lines = []
    if sampler.top_p < 1.0 or sampler.top_k > 0:
        lines.append(
            f"sampler.top_p={sampler.top_p}, top_k={sampler.top_k}: responses are sampled from a part of the"
            " distribution and the whole of it is trained (ppo/mismatch_mean shows it); use 1.0 and 0"
        )
    if config.checkpoint.best_metric.startswith("eval/") and math.lcm(every, saved) >= config.steps:
        lines.append(
            f"checkpoint.best_metric={config.checkpoint.best_metric!r}: no step is both scored (evaluation.every="
            f"{every}) and saved (checkpoint.every={saved}), so that no save is kept for it; make them multiples"
        )
    return lines + _of_groups(config) + _without_effect(config)


def _of_groups(config: Config) -> list[str]:
    """Baselines of a prompt's own responses, of which a proposer's prompt has one."""
    estimator = config.learner.estimator
    if estimator == "rloo" and not config.selfplay.train_on_estimates:
        return [
            "learner.estimator='rloo': every prompt has one response, so that there is no baseline and the advantage is"
            " the reward itself; set selfplay.train_on_estimates=True, or use 'trrpp'"
        ]
    if estimator in ("grpo", "dr_grpo"):
        return [
            f"learner.estimator={estimator!r}: a proposer's prompt has one response, as has a task drawn from the"
            " buffers, so that their advantage is 0: only estimates are learned from, and reward.proposer has no"
            " effect; 'trrpp' and 'role' compare responses to different prompts"
        ]
    return []


def _without_effect(config: Config) -> list[str]:
    """Settings that others turn off, or that come too late."""
    lines = [
        f"{key}={value!r} does not have the effect it asks for: {why}"
        for applies, why, neutral in (*_of_learner(config), *_of_tasks(config))
        for key, default in neutral.items()
        if applies and (value := operator.attrgetter(key)(config)) != default
    ]
    learner, updates = config.learner, _updates(config)
    if learner.lr_schedule != "constant" and not learner.lr_end and learner.lr_decay_steps < updates:
        lines.append(
            f"learner.lr_decay_steps={learner.lr_decay_steps}: there are {updates} optimizer steps, and the rate is 0"
            " after these; count optimizer steps, not steps, or set learner.lr_end above 0"
        )
    if draw_rule(config.selfplay).has_band and config.selfplay.solver_tasks == "after":
        lines.append(
            "selfplay.solver_tasks='after': a step's new tasks are drawn before their estimates are known, so that"
            " selfplay.band_low and band_high choose among older tasks alone; 'before' draws them a step later"
        )
    if learner.minibatches == "task_type" and not config.selfplay.seed_problems:
        lines.append(
            "selfplay.seed_problems=0: until a proposer has written an induction problem no solver learns induction;"
            " with learner.minibatches='task_type' a step that has no response of a type has one optimizer step fewer"
        )
    return lines


def _updates(config: Config) -> int:
    """Optimizer steps of the run, if every task type has a response in every step."""
    return config.steps * config.learner.epochs * config.minibatches_per_step


# Whether it applies, why, and the keys with the value that asks for nothing.
_Reasons = list[tuple[bool, str, dict[str, Any]]]


def _of_learner(config: Config) -> _Reasons:
    learner, steps, updates = config.learner, config.steps, _updates(config)
    is_on_policy = learner.epochs * learner.minibatch_count == 1 and learner.recompute_old_logprobs
    return [
        (
            is_on_policy,
            "a step has one optimizer step, at which the ratio to the old policy is 1; raise learner.minibatches",
            {
                "learner.clip_epsilon_high": 0.0,
                "learner.dual_clip": 0.0,
                "learner.ratio": "token",
                "learner.policy_loss": "ppo",
            },
        ),
        (
            not learner.recompute_old_logprobs,
            "with learner.recompute_old_logprobs=False the ratio itself corrects for the sampler",
            {"learner.importance": "truncate"},
        ),
        (
            not is_on_policy and learner.clip_epsilon >= 0.1,
            f"the mean over a response hardly leaves learner.clip_epsilon={learner.clip_epsilon}; GSPO's is 3e-4",
            {"learner.ratio": "token"},
        ),
        (
            learner.importance == "sequence_mask" and learner.importance_low <= 0.9 and learner.importance_cap >= 1.1,
            f"the mean over a response hardly leaves {learner.importance_low} to {learner.importance_cap}; set"
            " learner.importance_low and importance_cap near 1, such as 0.999 and 1.001",
            {"learner.importance": "truncate"},
        ),
        (not learner.kl_coef, "learner.kl_coef is 0", {"learner.kl_in": "loss", "learner.kl_estimator": "k3"}),
        (
            learner.kl_coef > 0.0 and learner.kl_in == "reward",
            "learner.kl_in='reward' takes k1",
            {"learner.kl_estimator": "k3"},
        ),
        (
            learner.estimator != "gae",
            "learner.estimator is not 'gae'",
            {"learner.gamma": 1.0, "learner.gae_lambda": 1.0, "learner.value_coef": 0.5},
        ),
        (
            learner.loss_aggregation != "microbatch",
            "learner.loss_aggregation is not 'microbatch'",
            {"learner.microbatch_responses": 16},
        ),
        (
            learner.importance == "truncate",
            "learner.importance='truncate' has no lower bound",
            {"learner.importance_low": 0.5},
        ),
        (
            learner.lr_schedule == "constant",
            "learner.lr_schedule is 'constant'",
            {"learner.lr_end": 0.0, "learner.lr_decay_steps": 0},
        ),
        (0 < steps < learner.propose_every, f"proposers would learn after steps={steps}", {"learner.propose_every": 1}),
        (0 < updates < learner.warmup_steps, f"there are {updates} optimizer steps", {"learner.warmup_steps": 0}),
    ]


def _of_tasks(config: Config) -> _Reasons:
    compares, selfplay, reward = config.reward.novelty > 0.0, config.selfplay, config.reward
    begins = {"switch": reward.switch_step, "linear": reward.linear_from}.get(reward.proposer, 0)
    return [
        (
            selfplay.estimate_samples == 1 or selfplay.estimate_temperature == 0.0,
            f"with selfplay.estimate_samples={selfplay.estimate_samples} at selfplay.estimate_temperature="
            f"{selfplay.estimate_temperature} acc is 0 or 1, and every valid proposal earns the same",
            {"reward.proposer": ""},
        ),
        (
            0 < config.steps <= begins,
            f"Eq. 4 would come after step {begins}, and the run has steps={config.steps}",
            {"reward.proposer": ""},
        ),
        (reward.overlong != "penalty", "reward.overlong is not 'penalty'", {"reward.overlong_tokens": 1024}),
        (not config.pipeline.lag, "pipeline.lag is 0", {"pipeline.early_share": 0.5}),
        (not compares, "reward.novelty is 0", {"reward.novelty_by": "tokens"}),
        (
            not compares and not selfplay.probes,
            "reward.novelty and selfplay.probes are 0",
            {"reward.novelty_recent": 0},
        ),
        (
            not selfplay.composite_share,
            "selfplay.composite_share is 0",
            {"selfplay.composite_from": 0, "selfplay.composite_to": 0},
        ),
        (
            0 < config.steps <= selfplay.composite_from and config.steps < selfplay.composite_to,
            f"the share would rise after steps={config.steps}",
            {"selfplay.composite_share": 0.0},
        ),
    ]
