"""Benchmarks inside training: the current weights' pass@1, greedy, on what `evaluation.benchmarks` names (Fig. 2)."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import logging

from azr_jax.config import Config
from azr_jax.evaluation import sampling, scores
from azr_jax.evaluation.judging import Judge, suffix_of
from azr_jax.evaluation.problems import AnyProblem
from azr_jax.hosts.hosts import Hosts
from azr_jax.sampler.engine import Sampler


@dataclasses.dataclass(frozen=True)
class Benchmarks:
    """The problems of each (benchmark, language) that a run is scored on; they are loaded once, at its start."""

    config: Config
    problems: dict[tuple[str, str], list[AnyProblem]]

    @classmethod
    def load(cls, config: Config) -> Benchmarks:
        """Every benchmark in every language of the run.

        Raises:
          ValueError: an unknown benchmark, or a language that no benchmark is in.
          FileNotFoundError: the data is missing, with the command that downloads it.
        """
        settings = config.evaluation
        problems: dict[tuple[str, str], list[AnyProblem]] = {}
        if settings.benchmarks:
            from azr_jax.evaluation import datasets  # imports tensorflow-datasets, which takes seconds

            for benchmark in settings.benchmarks:
                for language in config.languages:
                    found = datasets.load(benchmark, suffix_of(language), settings.benchmark_data)
                    problems[benchmark, language] = found[: settings.benchmark_limit or None]
        return cls(config, problems)

    def score(self, sampler: Sampler, params: Any, hosts: Hosts, prompt: str = "") -> dict[str, float]:
        """`eval/BENCHMARK/LANGUAGE/pass_at_1`, its 95% interval's ends `low` and `high`, and `problems`, their number.

        `prompt`: completion or chat, by default `evaluation.benchmark_prompt`. Each of several hosts judges its share.
        What the executors failed on is in none of these, and an error in the log.
        """
        metrics = {}
        settings = self.config
        how = sampling.Sampling(
            prompt or settings.evaluation.benchmark_prompt,
            samples=1,
            temperature=settings.sampler.eval_temperature,
            max_tokens=settings.sampler.max_response_tokens,
            seed=settings.seed,
        )
        for (benchmark, language), problems in self.problems.items():
            workers = settings.executor.workers or None
            with Judge(suffix_of(language), workers=workers, allow_tier=settings.executor.allow_tier) as judge:
                judged = sampling.judged_samples(sampler, params, [judge], problems, how, hosts=hosts)
                judgements = [samples[0].judgements[0] for _, samples in judged]
            passed = [int(each.passed) for each in judgements if not each.infrastructure]
            counts = [(1, each) for part in hosts.exchange("judged", passed) for each in part]
            name = f"eval/{benchmark}/{language}"
            if broken := len(problems) - len(counts):
                text = "%s: the executors failed on %d of %d problems, which are left out: `python -m executors doctor`"
                logging.error(text, name, broken, len(problems))
            if not counts:
                continue
            estimate, low, high = scores.interval(counts, 1)
            metrics |= {f"{name}/pass_at_1": estimate, f"{name}/low": low, f"{name}/high": high}
            metrics[f"{name}/problems"] = float(len(counts))
        return metrics
