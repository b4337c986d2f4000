"""Results of a grid of runs: accuracies by arm with intervals over seeds, and comparisons with their noise."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from azr_jax.config import Config
from azr_jax.report import runs
from azr_jax.report.figures import scores_of
from azr_jax.report.tables import Counts, heldout_rows
from azr_jax.study.grid import Cell, made_by, name_of
from azr_jax.types import TASK_TYPES
from azr_jax.workdir.settings import binding

CONFIDENCE = 0.95
POWER = 0.8
ACC_KEYS = ("acc_zero", "acc_between", "acc_one")
# Of the proposals, over the last third of the steps: {} is the language. Of several metrics, their mean.
LATE_KEYS: dict[str, tuple[str, ...]] = {
    "valid": ("propose/valid",),
    "copies": ("propose/outcome/duplicate",),
    "acc": ("propose/acc",),
    "tokens": ("propose/{}/program/tokens",),
    "depth": ("propose/{}/program/depth",),
    "distance": ("propose/{}/program/distance",),
    "near copies": ("propose/{}/program/near_copies",),
    "same behaviour": ("propose/{}/program/behaviour_copies",),
    "different outputs": ("propose/{}/program/distinct_outputs",),
    "in the band": tuple(f"buffer/{{}}/band_{kind.value}" for kind in TASK_TYPES),
    "solved in training": ("solve/accuracy",),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One finished run. Shares of 1 over all task types; curve: (step, greedy held-out accuracy).

    right_of_formatted: before and after, of the well-formatted answers. acc: shares of valid proposals that the
    solver's samples never, sometimes and always solved, over the last third of the steps; acc_curve: (step, the same
    three) of each step. late: means over the last third of what LATE_KEYS names, nan if there is none.
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
    acc_curve: tuple[tuple[float, float, float, float], ...] = ()
    late: Mapping[str, float] = dataclasses.field(default_factory=dict)
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The run's name for a reader, as its cell's."""
        return name_of(self.language, self.arm, self.seed)


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with its 95% interval (Student's t); `low` and `high` are nan for a single seed."""

    mean: float
    low: float
    high: float
    p: float  # two-sided, that the mean is 0; nan for a single seed


def read(cell: Cell, config: Config) -> Result:
    """The result of a finished cell, whose settings are `config`.

    Raises:
      ValueError: a run without held-out scores, or damaged files.
    """
    run = runs.load(cell.workdir, cell.name)
    rows = {(row.mode, row.type): row for row in heldout_rows(run.summary)}
    whole = rows.get(("greedy", "all"))
    if whole is None or not whole.before or not whole.after or not whole.before.n or not whole.after.n:
        raise ValueError(f"{cell.workdir}: no held-out scores; give the study's runs evaluation.heldout")
    before, after, sampled = whole.before, whole.after, rows.get(("sampled", "all"))
    steps = float(run.summary["steps"])
    return Result(
        language=cell.language,
        arm=cell.arm,
        seed=cell.seed,
        before=before.correct / before.n,
        after=after.correct / after.n,
        before_sampled=_share(sampled.before) if sampled else None,
        after_sampled=_share(sampled.after) if sampled else None,
        formatted=(_divided(before.formatted, before.n), _divided(after.formatted, after.n)),
        right_of_formatted=(_divided(before.correct, before.formatted), _divided(after.correct, after.formatted)),
        by_type={
            row.type: (row.before.correct / row.before.n, row.after.correct / row.after.n)
            for row in rows.values()
            if row.mode == "greedy" and row.type != "all" and row.before and row.after and row.before.n and row.after.n
        },
        acc=tuple(_late_mean(run.series(f"propose/{key}"), steps) for key in ACC_KEYS),
        curve=tuple(scores_of(run, "greedy", "all")),
        answers=after.n,
        seconds=float(run.summary["seconds"]),
        acc_curve=_acc_curve(run),
        late={
            name: known_mean([_late_mean(_late_series(run, key.format(cell.language)), steps) for key in keys])
            for name, keys in LATE_KEYS.items()
        },
        settings=made_by(config),
    )


def to_json(results: Sequence[Result]) -> str:
    """The results as JSON text; what was not measured (nan) is null."""

    def known(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: known(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [known(item) for item in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return json.dumps([known(dataclasses.asdict(result)) for result in results], indent=2, allow_nan=False) + "\n"


def from_json(file: Path) -> list[Result]:
    """The results that `to_json` wrote.

    Raises:
      ValueError: not such a file.
      OSError: it cannot be read.
    """

    def known(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: known(item) for key, item in value.items()}
        if isinstance(value, list):
            return tuple(known(item) for item in value)
        return value

    nan = {"acc": (math.nan,) * len(ACC_KEYS)}
    try:
        rows = [known(row) for row in json.loads(file.read_text(encoding="utf-8"))]
        for row in rows:
            row["late"] = {name: math.nan if value is None else value for name, value in row["late"].items()}
            if None in row["acc"]:
                row |= nan
        return [Result(**row) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: not a study.json of this version ({type(error).__name__}: {error})") from error


def merged(files: Iterable[Path], configs: Mapping[str, Config]) -> dict[str, Result]:
    """Finished runs of other starts of a study, by name; if two files have a run, the first counts.

    configs: the study's settings by the name of the run. A run that the study does not have is left out.

    Raises:
      ValueError: a damaged file, or a run with other settings than the study now has.
      OSError: a file cannot be read.
    """
    results: dict[str, Result] = {}
    for file in files:
        for result in from_json(file):
            if result.name not in configs:
                continue
            config = configs[result.name]
            differing = binding(sorted(set(result.settings) ^ set(made_by(config))), scores=True)
            if (ended := int(result.curve[-1][0])) != config.steps:
                differing.append(f"steps: {ended} -> {config.steps}")
            if differing:
                raise ValueError(
                    f"{file}: {result.name} was run with other settings than the study has: {'; '.join(differing)};"
                    " leave the file out, or give the study those settings"
                )
            results.setdefault(result.name, result)
    return results


def _acc_curve(run: runs.RunData) -> tuple[tuple[float, float, float, float], ...]:
    never, sometimes, always = (dict(run.series(f"propose/{key}")) for key in ACC_KEYS)
    return tuple((float(step), never[step], sometimes[step], always[step]) for step in sorted(never))


def _share(counts: Counts | None) -> float | None:
    return counts.correct / counts.n if counts and counts.n else None


def _divided(part: int | None, whole: int | None) -> float:
    return part / whole if part is not None and whole else math.nan


def _late_series(run: runs.RunData, key: str) -> list[tuple[int, float]]:
    """A metric's series; an outcome that no response of a step had is 0 there, not absent."""
    values = dict(run.series(key))
    return (
        [(row["step"], values.get(row["step"], 0.0)) for row in run.rows]
        if "/outcome/" in key
        else list(values.items())
    )


def _late_mean(series: Sequence[tuple[int, float]], steps: float) -> float:
    return known_mean([value for step, value in series if step > 2 * steps / 3])


def known_mean(values: Sequence[float]) -> float:
    """The mean of the values that are known; nan without one."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


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
    return estimate([result.after - result.before for result in results])


def paired(results: Sequence[Result], baseline: Sequence[Result]) -> Estimate:
    """Final held-out accuracy minus the baseline's with the same seed, over the seeds that both have.

    Raises:
      ValueError: no seed in common.
    """
    differences = differences_of(results, baseline)
    if not differences:
        raise ValueError("paired: the two arms have no seed in common")
    return estimate(differences)


def differences_of(results: Sequence[Result], baseline: Sequence[Result]) -> list[float]:
    """Final held-out accuracy minus the baseline's, for each seed that both have."""
    other = {result.seed: result.after for result in baseline}
    return [result.after - other[result.seed] for result in results if result.seed in other]


def visible(differences: Sequence[Sequence[float]]) -> float:
    """The smallest true difference that such a study finds four times in five (two-sided p < 0.05); nan if unknown.

    differences: for each comparison those of its pairs of seeds. Their variance is pooled; each is taken to have as
    many pairs as the one with the fewest. The sum of two t quantiles approximates the noncentral t.
    """
    known = [pairs for pairs in differences if len(pairs) > 1]
    if not known:
        return math.nan
    freedom = sum(len(pairs) - 1 for pairs in known)
    variance = sum(float(np.var(pairs, ddof=1)) * (len(pairs) - 1) for pairs in known) / freedom
    fewest = min(len(pairs) for pairs in known)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, fewest - 1) + stats.t.ppf(POWER, fewest - 1))
    return reach * math.sqrt(variance / fewest)


def ranking(arms: Mapping[str, Sequence[Result]]) -> list[tuple[str, float]]:
    """(arm, mean final held-out accuracy), the best first."""
    means = [(arm, float(np.mean([result.after for result in cell]))) for arm, cell in arms.items()]
    return sorted(means, key=lambda item: -item[1])


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979); nan stays nan and counts for nothing."""
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[index] = highest
    return adjusted
