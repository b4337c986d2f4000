"""A study's figures: held-out accuracy by step with bands over seeds, and how hard the proposals were."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas

from azr_jax.report.curves import FAIR, GOOD, POOR
from azr_jax.study.grid import Study
from azr_jax.study.outcome import Result

_COLORS = matplotlib.color_sequences["tab10"]
_ACC = (("never solved", POOR), ("sometimes", GOOD), ("always", FAIR))


def languages_of(study: Study, results: Sequence[Result]) -> list[str]:
    """The languages that have a finished run, in the study's order; all when none has."""
    return [one for one in study.languages if any(result.language == one for result in results)] or list(
        study.languages
    )


def accuracy(study: Study, results: Sequence[Result]) -> Canvas:
    """One panel a language: each arm's mean, its seeds as faint lines, a band from the least to the greatest."""
    languages = languages_of(study, results)
    canvas = Canvas(figsize=(5.2 * len(languages), 3.6), layout="constrained", dpi=110)
    for axes, language in zip(np.atleast_1d(canvas.subplots(1, len(languages))), languages, strict=True):
        axes.set_title(f"held-out accuracy, greedy: {language}")
        axes.set_xlabel("step")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
        axes.grid(alpha=0.3)
        for number, arm in enumerate(study.arms):
            curves = [dict(one.curve) for one in results if (one.language, one.arm) == (language, arm)]
            if not curves:
                continue
            color = _COLORS[number % len(_COLORS)]
            steps = sorted(set.intersection(*(set(curve) for curve in curves)))
            values = np.array([[curve[step] for step in steps] for curve in curves])
            for row in values:
                axes.plot(steps, row, color=color, alpha=0.4, linewidth=0.8)
            axes.plot(steps, values.mean(axis=0), color=color, marker="o", markersize=3, label=arm)
            axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.12, linewidth=0)
        axes.legend(frameon=False, fontsize=8)
    return canvas


def hardness(study: Study, results: Sequence[Result]) -> Canvas | None:
    """A row a language, a column an arm: shares of valid proposals never, sometimes and always solved, by step.

    Means over the seeds that have the step; None when no run has any.
    """
    shown = [one for one in results if one.acc_curve]
    if not shown:
        return None
    languages, arms = languages_of(study, shown), [arm for arm in study.arms if any(one.arm == arm for one in shown)]
    size = (1.0 + 1.9 * len(arms), 0.6 + 1.9 * len(languages))
    canvas = Canvas(figsize=size, layout="constrained", dpi=110)
    grid = canvas.subplots(len(languages), len(arms), squeeze=False, sharex=True, sharey=True)
    for row, language in zip(grid, languages, strict=True):
        row[0].set_ylabel(language)
        for axes, arm in zip(row, arms, strict=True):
            axes.set_title(arm, fontsize=9)
            curves = [
                dict((step, shares) for step, *shares in one.acc_curve)
                for one in shown
                if (one.language, one.arm) == (language, arm)
            ]
            steps = sorted(set().union(*curves)) if curves else []
            if len(steps) < 2:
                continue
            means = np.array([np.mean([curve[step] for curve in curves if step in curve], axis=0) for step in steps])
            axes.stackplot(steps, means.T, labels=[name for name, _ in _ACC], colors=[color for _, color in _ACC])
            axes.set_xlim(steps[0], steps[-1])
            axes.set_ylim(0.0, 1.0)
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    handles, labels = next((axes.get_legend_handles_labels() for axes in grid.flat if axes.has_data()), ([], []))
    canvas.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return canvas
