"""Scores of a run's model on its held-out problems and benchmarks: before, during and after training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azr_jax.config import Config
from azr_jax.evaluation.scoring import heldout
from azr_jax.run.opened import OpenRun


def is_due(config: Config, step: int) -> bool:
    """Whether the model is scored after this step; the end of the run scores it after the last."""
    every = config.evaluation.every
    return every > 0 and step % every == 0 and step < config.steps


def score_before(run: OpenRun, params: Any) -> dict[str, Any]:
    """The starting model's counts by mode and, under "benchmarks" and "pass_at_k", its scores with its prompt."""
    counts: dict[str, Any] = heldout_counts(run, params, "before")
    settings = run.config.evaluation
    if settings.benchmarks and settings.benchmark_base_prompt != "none":
        scores = run.benchmarks.score(run.player.sampler, params, run.hosts, settings.benchmark_base_prompt)
        counts |= {"benchmarks": scores, "pass_at_k": pass_at_k(run, params, settings.benchmark_base_prompt)}
    show(run, 0, counts, counts.get("benchmarks", {}))
    return counts


def score_step(run: OpenRun, params: Any, step: int) -> dict[str, float]:
    """`eval/heldout/...` metrics of the current weights, and `eval/BENCHMARK/LANGUAGE/...`."""
    return _heldout_metrics(heldout_counts(run, params, f"eval/{step}")) | run.benchmarks.score(
        run.player.sampler, params, run.hosts
    )


def show(run: OpenRun, step: int, counts: Mapping[str, Any], scores: Mapping[str, float]) -> None:
    """Sends the scores before and after the run, which no step has, to TensorBoard and Weights & Biases."""
    if run.hosts.is_first:
        by_mode = {mode: values for mode, values in counts.items() if mode not in ("benchmarks", "pass_at_k")}
        run.writers.show(step, {**_heldout_metrics(by_mode), **scores})


def pass_at_k(run: OpenRun, params: Any, prompt: str = "") -> dict[str, Any]:
    """`Benchmarks.pass_at_k`, if `evaluation.pass_at_k` asks for it."""
    wanted = run.config.evaluation.pass_at_k
    return run.benchmarks.pass_at_k(run.player.sampler, params, run.hosts, prompt) if wanted else {}


def _heldout_metrics(counts: Mapping[str, Any]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for mode, values in counts.items():
        metrics |= heldout.metrics(values, f"eval/heldout/{mode}")
    return metrics


def heldout_counts(run: OpenRun, params: Any, name: str) -> dict[str, Any]:
    """Counts by mode ("greedy", "sampled", each also by language); `name` names the random stream of "sampled"."""
    tasks = run.heldout_tasks
    if not tasks:
        return {}
    greedy = heldout.solve_all(run.player, params, tasks, run.config.sampler.eval_temperature, "heldout")
    counts = heldout.count_languages(greedy, "greedy")
    if samples := run.config.evaluation.temperature_samples:
        sampled = heldout.solve_all(run.player, params, tasks * samples, 1.0, f"heldout/{name}")
        counts |= heldout.count_languages(sampled, "sampled")
    return counts
