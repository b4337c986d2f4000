"""pass@k, its interval, and the paired test between two results. Numbers in, numbers out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from azr_jax.evaluation.scoring.intervals import wilson


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), the unbiased estimator (Chen et al. 2021, arXiv 2107.03374).

    Raises:
      ValueError: k is not from 1 to `samples`, or `correct` not from 0 to `samples`.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(f"pass@{k} of {correct} correct among {samples} samples: use 1 <= k <= n and 0 <= c <= n")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def interval(counts: Sequence[tuple[int, int]], k: int) -> tuple[float, float, float]:
    """(mean pass@k, low, high) over problems of (samples, correct), 95%.

    Wilson's interval where each problem has one sample, or all have the same estimate; else by bootstrap over the
    problems, which includes the spread of their samples.

    Raises:
      ValueError: no problem, or a problem of fewer than k samples.
    """
    if not counts:
        raise ValueError("no problem to score")
    values = [pass_at_k(samples, correct, k) for samples, correct in counts]
    mean = statistics.fmean(values)
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    if spread == 0 or all(samples == 1 for samples, _ in counts):
        return mean, *wilson(math.fsum(values), len(counts))
    return mean, *bootstrap(values)


def bootstrap(values: Sequence[float], resamples: int = 10_000) -> tuple[float, float]:
    """The 95% percentile interval of the mean of one value per problem, problems drawn with replacement.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. The draws are the same each time.
    """
    generator = np.random.default_rng(0)
    values_P = np.asarray(values, np.float64)
    means = [values_P[generator.integers(0, len(values_P), len(values_P))].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def paired_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of the mean of one difference in [-1, 1] per problem: the bootstrap's.

    Where all problems differ alike, every resample has the same mean, which says nothing of the problems that were not
    drawn. Then at most the share of problems that Wilson's interval of none in n allows differs otherwise, by 1 or -1.
    """
    mean = statistics.fmean(differences)
    if max(differences) - min(differences) > 1e-9:
        return bootstrap(differences)
    _, others = wilson(0, len(differences))
    return mean - others * (1 + mean), mean + others * (1 - mean)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar's test: problems that only one of two results solves."""
    differing = only_first + only_second
    if differing == 0:
        return 1.0
    tail = sum(math.comb(differing, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**differing)
