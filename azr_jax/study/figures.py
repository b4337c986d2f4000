"""A study's figures, as in a run's report: accuracy by step, and hardness of the proposals."""

from __future__ import annotations

from collections.abc import Sequence

from azr_jax.report.curves import COLORS, FAIR, GOOD, POOR, Curve, Figure, Panel, filled
from azr_jax.study.grid import Study
from azr_jax.study.outcome import Result

_HARDNESS = (("never solved", POOR), ("sometimes", GOOD), ("always", FAIR))


def figures(study: Study, results: Sequence[Result]) -> list[Figure]:
    """Both figures; one without finished runs has no points."""
    return [_accuracy(study, results), _hardness(study, results)]


def _accuracy(study: Study, results: Sequence[Result]) -> Figure:
    """A panel for each language, a curve for each arm."""
    panels = []
    for language in study.languages:
        curves = []
        for number, arm in enumerate(study.arms):
            cell = [result for result in results if (result.language, result.arm) == (language, arm)]
            if cell:
                series = tuple(tuple(result.curve) for result in cell)
                curves.append(Curve(arm, series, COLORS[number % len(COLORS)], 0, False, _seeds(cell)))
        if curves:
            panels.append(Panel(language, tuple(curves), share=True))
    caption = "Accuracy on held-out problems, greedy answers."
    return Figure("curves", "Held-out accuracy by step", caption, tuple(panels), columns=min(3, max(1, len(panels))))


def _hardness(study: Study, results: Sequence[Result]) -> Figure:
    """A panel for each language and arm: shares of valid proposals never, sometimes and always solved."""
    panels = []
    for language in study.languages:
        for arm in study.arms:
            cell = [
                result for result in results if (result.language, result.arm) == (language, arm) and result.acc_curve
            ]
            if not cell:
                continue
            curves = []
            for place, (label, color) in enumerate(_HARDNESS, start=1):
                series = tuple(tuple((shares[0], shares[place]) for shares in result.acc_curve) for result in cell)
                curves.append(Curve(label, series, color, 0, False, _seeds(cell)))
            panels.append(Panel(f"{language}: {arm}", filled(curves), share=True, kind="stack"))
    caption = "Shares of the valid proposals that the solver's samples never, sometimes and always solved."
    return Figure("hardness", "Hardness of the proposals by step", caption, tuple(panels))


def _seeds(results: Sequence[Result]) -> tuple[str, ...]:
    return tuple(f"seed {result.seed}" for result in results)
