"""Benchmarks inside training: the current weights' pass@1, greedy, on `evaluation.benchmarks` (Fig. 2)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from absl import logging

from azr_jax.config import Config
from azr_jax.evaluation.judging.judge import CompletionJudge, Judgement
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files
from azr_jax.evaluation.problems.records import AnyProblem
from azr_jax.evaluation.scoring import answers, pass_at_k, sampling
from azr_jax.hosts.hosts import Hosts
from azr_jax.sampler.engine import Sampler

_Problems = dict[tuple[str, str], list[AnyProblem]]


@dataclasses.dataclass(frozen=True)
class Benchmarks:
    """The problems of each (benchmark, language) that a run is scored on, and an open judge for each language."""

    config: Config
    problems: _Problems
    judges: dict[str, CompletionJudge]
    _prompts: dict[tuple[str, str, str], sampling.Asked] = dataclasses.field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, config: Config, problems: dict[tuple[str, str], list[AnyProblem]] | None = None
    ) -> Iterator[Benchmarks]:
        """Every benchmark in every language of the run; the judges' pools stay open until the end.

        `problems`: instead of those that the config names.

        Raises:
          ValueError: an unknown benchmark, or a language that no benchmark is in.
          FileNotFoundError: the data is missing, with the command that downloads it; with
            `evaluation.benchmark_missing=skip` that is a warning, and the benchmark is left out.
        """
        problems = _problems(config) if problems is None else problems
        executor = config.executor
        with contextlib.ExitStack() as stack:
            judges = {}
            for language in dict.fromkeys(language for _, language in problems):
                known = known_language(language, config.language_directory)
                judge = CompletionJudge(known, workers=executor.workers or None, allow_tier=executor.allow_tier)
                judges[language] = stack.enter_context(judge)
            yield cls(config, problems, judges)

    def score(self, sampler: Sampler, params: Any, hosts: Hosts, prompt: str = "") -> dict[str, float]:
        """`eval/BENCHMARK/LANGUAGE/pass_at_1`, its 95% interval's ends `low` and `high`, and `problems`, their number.

        `prompt`: completion, chat or instruct, by default `evaluation.benchmark_prompt`. Each of several hosts judges
        its share. Problems that the executors failed on are left out and logged as an error.
        """
        metrics = {}
        for name, counts in self._counts(sampler, params, hosts, prompt, 1, self.config.sampler.eval_temperature):
            estimate, low, high = pass_at_k.interval(counts, 1)
            metrics |= {f"{name}/pass_at_1": estimate, f"{name}/low": low, f"{name}/high": high}
            metrics[f"{name}/problems"] = float(len(counts))
        return metrics

    def pass_at_k(self, sampler: Sampler, params: Any, hosts: Hosts, prompt: str = "") -> dict[str, Any]:
        """By `eval/BENCHMARK/LANGUAGE`: pass@k with its 95% interval for each k of `evaluation.pass_at_k`.

        A score is {"prompt", "samples" a problem, "temperature", "problems", "pass_at_k": {k: (mean, low, high)}}.
        """
        settings = self.config.evaluation
        samples = max(settings.pass_at_k)
        return {
            name: {
                "prompt": prompt or settings.benchmark_prompt,
                "samples": samples,
                "temperature": settings.pass_at_k_temperature,
                "problems": len(counts),
                "pass_at_k": {str(k): pass_at_k.interval(counts, k) for k in sorted(settings.pass_at_k)},
            }
            for name, counts in self._counts(sampler, params, hosts, prompt, samples, settings.pass_at_k_temperature)
        }

    def _counts(
        self, sampler: Sampler, params: Any, hosts: Hosts, prompt: str, samples: int, temperature: float
    ) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        """Name and (samples, correct) of each problem of every benchmark with a judged problem."""
        settings = self.config
        how = sampling.Sampling(
            prompt or settings.evaluation.benchmark_prompt,
            samples=samples,
            temperature=temperature,
            max_tokens=settings.sampler.max_response_tokens,
            seed=settings.seed,
        )
        for (benchmark, language), problems in self.problems.items():
            judges = [self.judges[language]]
            key = benchmark, language, how.mode
            if key not in self._prompts:
                self._prompts[key] = sampling.asked(problems, judges[0].language, sampler.tokenizer, how.mode)
            judged = sampling.judged_samples(sampler, params, judges, self._prompts[key], how, hosts=hosts)
            by_problem: dict[str, list[Judgement]] = {}
            for problem, _, sample in judged:
                by_problem.setdefault(problem.name, []).append(sample.judgements[0])
            own = [
                [samples, sum(judgement.passed for judgement in judgements)]
                for judgements in by_problem.values()
                if not any(judgement.infrastructure for judgement in judgements)
            ]
            counts = [(count, correct) for share in hosts.exchange("judged", own) for count, correct in share]
            name = f"eval/{benchmark}/{language}"
            if broken := len(problems) - len(counts):
                text = "%s: the executors failed on %d of %d problems, which are left out: `python -m executors doctor`"
                logging.error(text, name, broken, len(problems))
            if counts:
                yield name, counts


def _problems(config: Config) -> _Problems:
    settings = config.evaluation
    problems = {}
    if unknown := [name for name in settings.benchmarks if name not in files.ALL_BENCHMARKS]:
        raise ValueError(
            f"evaluation.benchmarks={settings.benchmarks!r}: {unknown[0]!r} is unknown; use some of"
            f" {', '.join(files.ALL_BENCHMARKS)}"
        )
    for benchmark in settings.benchmarks:
        for language in config.languages:
            known = known_language(language, config.language_directory)
            try:
                source = files.locate(benchmark, known, settings.benchmark_data)
            except FileNotFoundError as error:
                if settings.benchmark_missing == "error":
                    raise
                text = "%s in %s will not be scored, so Fig. 2 has no curve of it; the run goes on: %s"
                logging.warning(text, benchmark, language, error)
                continue
            loaded = files.load(source, known.suffix)
            for mode in (settings.benchmark_prompt, settings.benchmark_base_prompt):
                answers.check_mode(loaded, mode)
            problems[benchmark, language] = loaded[: settings.benchmark_limit or None]
    return problems
