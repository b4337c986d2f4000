"""Remarks on settings that may not mean what the user intended, printed before anything is loaded."""

from __future__ import annotations

import math

from azr_jax.config import Config

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
    if config.learner.estimator == "rloo" and not config.selfplay.train_on_estimates:
        lines.append(
            "learner.estimator='rloo': every prompt has one response, so that there is no baseline and the advantage is"
            " the reward itself; set selfplay.train_on_estimates=True, or use 'trrpp'"
        )
    if config.checkpoint.best_metric.startswith("eval/") and math.lcm(every, saved) >= config.steps:
        lines.append(
            f"checkpoint.best_metric={config.checkpoint.best_metric!r}: no step is both scored (evaluation.every="
            f"{every}) and saved (checkpoint.every={saved}), so that no save is kept for it; make them multiples"
        )
    return lines
