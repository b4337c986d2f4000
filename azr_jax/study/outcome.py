"""What a grid of runs came to: accuracies by arm with intervals over seeds, and comparisons that count their noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from azr_jax.report import runs
from azr_jax.report.tables import share_of_all
from azr_jax.study.grid import Cell

CONFIDENCE = 0.95
ACC_KEYS = ("acc_zero", "acc_between", "acc_one")


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One finished run. Shares of 1 over all task types; curve: (step, greedy held-out accuracy).

    right_of_formatted: before and after, of the well-formatted answers. acc: shares of valid proposals that the
    solver's samples never, sometimes and always solved, over the last third of the steps.
    """

    language: str
    arm: str
    seed: int
    before: float
    after: float
    before_sampled: float | None
    after_sampled: float | None
    formatted: tuple[float, float]
    right_of_formatted: tuple[float, float]
    by_type: Mapping[str, tuple[float, float]]
    acc: tuple[float, ...]
    curve: tuple[tuple[float, float], ...]
    answers: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with its 95% interval (Student's t); `low` and `high` are nan for a single seed."""

    mean: float
    low: float
    high: float
    p: float  # two-sided, that the mean is 0; nan for a single seed


def read(cell: Cell) -> Result:
    """The result of a finished cell.

    Raises:
      ValueError: a run without held-out scores, or damaged files.
    """
    run = runs.load(cell.workdir, cell.name)
    before, after = run.summary.get("heldout_before") or {}, run.summary.get("heldout_after") or {}
    first, last = share_of_all(before), share_of_all(after)
    if first is None or last is None:
        raise ValueError(f"{cell.workdir}: no held-out scores; give the study's runs evaluation.heldout")
    sampled = [share_of_all(run.summary.get(f"heldout_{when}_sampled") or {}) for when in ("before", "after")]
    steps = float(run.summary["steps"])
    between = run.series("eval/heldout/greedy/all/accuracy")
    points = {0.0: first, **{float(step): value for step, value in between}, steps: last}
    return Result(
        language=cell.language,
        arm=cell.arm,
        seed=cell.seed,
        before=first,
        after=last,
        before_sampled=sampled[0],
        after_sampled=sampled[1],
        formatted=(_share(before, "formatted", "n"), _share(after, "formatted", "n")),
        right_of_formatted=(_share(before, "correct", "formatted"), _share(after, "correct", "formatted")),
        by_type={
            kind: (before[kind]["correct"] / before[kind]["n"], after[kind]["correct"] / after[kind]["n"])
            for kind in before
            if kind in after and before[kind]["n"] and after[kind]["n"]
        },
        acc=tuple(_late_mean(run.series(f"propose/{key}"), steps) for key in ACC_KEYS),
        curve=tuple(sorted(points.items())),
        answers=sum(one["n"] for one in after.values()),
        seconds=float(run.summary["seconds"]),
    )


def _share(counts: Mapping[str, Mapping[str, Any]], part: str, whole: str) -> float:
    total = sum(one.get(whole, 0) for one in counts.values())
    return sum(one.get(part, 0) for one in counts.values()) / total if total else math.nan


def _late_mean(series: Sequence[tuple[int, float]], steps: float) -> float:
    late = [value for step, value in series if step > 2 * steps / 3]
    return float(np.mean(late)) if late else math.nan


def estimate(values: Sequence[float]) -> Estimate:
    """Mean over seeds, its t interval and the p-value of a mean of 0."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, math.nan, math.nan, math.nan)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    if error == 0.0:
        return Estimate(mean, mean, mean, 0.0 if mean else 1.0)
    freedom = len(values) - 1
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    return Estimate(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, freedom)))


def gain(results: Sequence[Result]) -> Estimate:
    """Held-out accuracy after minus before, over the seeds of one arm."""
    return estimate([one.after - one.before for one in results])


def paired(results: Sequence[Result], baseline: Sequence[Result]) -> Estimate:
    """Final held-out accuracy minus the baseline's with the same seed, over the seeds that both have.

    Raises:
      ValueError: no seed in common.
    """
    other = {one.seed: one.after for one in baseline}
    differences = [one.after - other[one.seed] for one in results if one.seed in other]
    if not differences:
        raise ValueError("paired: the two arms have no seed in common")
    return estimate(differences)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979); nan stays nan and counts for nothing."""
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[index] = highest
    return adjusted
