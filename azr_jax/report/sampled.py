"""pass@k of benchmarks before and after runs, if `evaluation.pass_at_k` asked for it: a table and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from azr_jax.report.arms import Arm
from azr_jax.report.curves import COLORS, Curve, Figure, Panel, joined
from azr_jax.report.markup import table, text
from azr_jax.report.runs import RunData

_WHEN = ("before", "after")
_HEAD = ("run", "benchmark", "model", "prompt", "problems", "samples", "temperature")
_NOTE = (
    "Samples of the starting and of the trained model on the same problems; 95% interval by bootstrap over problems. A"
    " gain at k=1 that is gone at the greatest k says that training made likelier what the model could do before."
)


def section(arms: Sequence[Arm]) -> str:
    """The table; nothing if no run measured pass@k."""
    rows = []
    all_scores = [score for arm in arms for run in arm.runs for score in _scores(run).values()]
    ks = sorted({int(k) for score in all_scores for k in score["pass_at_k"]})
    for run in (run for arm in arms for run in arm.runs):
        for (name, when), score in sorted(_scores(run).items(), key=lambda item: (item[0][0], _WHEN.index(item[0][1]))):
            cells = [score[key] for key in ("prompt", "problems", "samples", "temperature")]
            values = [_cell(score["pass_at_k"].get(str(k))) for k in ks]
            rows.append((run.name, name, when, *cells, *values))
    if not rows:
        return ""
    return (
        f'<section id="pass_at_k" class="card"><h2>pass@k before and after</h2><p class="note">{text(_NOTE)}</p>'
        f"{table((*_HEAD, *(f'pass@{k}' for k in ks)), rows)}</section>"
    )


def figures(arms: Sequence[Arm]) -> list[Figure]:
    """pass@k by k, a panel a benchmark; an arm's mean over seeds, with the interval of a single one."""
    names = sorted({name for arm in arms for run in arm.runs for name, _ in _scores(run)})
    panels = []
    for name in names:
        curves = []
        for number, arm in enumerate(arms):
            for when in _WHEN:
                scores = {run.name: score for run in arm.runs if (score := _scores(run).get((name, when)))}
                if not scores:
                    continue
                points = [_points(score) for score in scores.values()]
                color = COLORS[(2 * number + _WHEN.index(when)) % len(COLORS)]
                series = tuple(tuple((k, mean) for k, mean, _, _ in values) for values in points)
                interval = tuple((k, low, high) for k, _, low, high in points[0])
                curves.append(Curve(joined(when, arm, arms), series, color, 0, False, tuple(scores), interval))
        panels.append(Panel(name, tuple(curves), share=True, x="k"))
    return [Figure("fig_pass_at_k", "pass@k before and after", _NOTE, tuple(panels))] if panels else []


def _scores(run: RunData) -> dict[tuple[str, str], Any]:
    """By (BENCHMARK/LANGUAGE, before or after)."""
    return {
        (name.removeprefix("eval/"), when): score
        for when in _WHEN
        for name, score in (run.summary.get(f"pass_at_k_{when}") or {}).items()
    }


def _points(score: Any) -> list[tuple[float, float, float, float]]:
    return sorted((float(k), *interval) for k, interval in score["pass_at_k"].items())


def _cell(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else "{:.1f} ({:.1f}-{:.1f})".format(*(100 * value for value in interval))
