"""The parts of a figure: curves over steps with a band over seeds, panels; and curves from metric keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from azr_jax.report.arms import Arm
from azr_jax.types import TASK_TYPES

TYPES = tuple(kind.value for kind in TASK_TYPES)
COLORS = ("#3566c8", "#df7a2e", "#2a9a70", "#a64d9c", "#8a6d3b", "#4fa6d8", "#cf4a5e", "#7d8492", "#c2a01f", "#6b5fc4")
DARK = "#2b303b"
TYPE_COLORS = {"all": DARK, **dict(zip(TYPES, COLORS, strict=False))}
# From good to bad, and the same in every figure that has them.
GOOD, FAIR, POOR, BAD, GREY = "#2a9a70", "#8fcfae", "#f0c46c", "#d9596a", "#b8bdc9"
_NAME_CHARS = 28

# Areas with many kinds: a colour and a pattern each, so that they differ in print and for colour-blind readers.
_AREA_COLORS = ("#3566c8", "#df7a2e", "#a64d9c", "#8fb8e8", "#7a1f2b", "#d9c04a", "#5b6270")
_PATTERNS = ("", "////", "....", "xxxx", "----")

Points = tuple[tuple[float, float], ...]
Kind = Literal["lines", "stack", "heat"]
# A colour, some metrics, and a function of them.
Case = tuple[str, tuple[str, ...], Callable[..., float]]


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel. `series`: (step, value) points of each seed, `runs` their names.

    `arm` numbers the arm and chooses the dashes; `smooth` adds a running mean. `interval`: (step, low, high) of the
    value's own 95% interval, which is shown if there is one seed. `pattern` is the hatching of an area, "" for none.
    """

    label: str
    series: tuple[Points, ...]
    color: str
    arm: int = 0
    smooth: bool = True
    runs: tuple[str, ...] = ()
    interval: tuple[tuple[float, float, float], ...] = ()
    pattern: str = ""

    @property
    def steps(self) -> list[float]:
        """The steps that any seed has."""
        return sorted({step for points in self.series for step, _ in points})

    def mean(self, smooth: bool = False) -> Points:
        """The mean over the seeds that have the step, of running means if `smooth`."""
        return tuple((step, float(np.mean(values))) for step, values in self._values(smooth))

    def band(self, smooth: bool = False) -> list[tuple[float, float, float]]:
        """(step, least, greatest) over seeds; for one seed its own interval, if it has one."""
        if len(self.series) == 1:
            return list(self.interval)
        return [(step, min(values), max(values)) for step, values in self._values(smooth)]

    def _values(self, smooth: bool) -> list[tuple[float, list[float]]]:
        seeds = [dict(running_mean(points) if smooth else points) for points in self.series]
        return [(step, [values[step] for values in seeds if step in values]) for step in self.steps]


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `share`: the values are shares of 1, drawn from 0 to 1.

    kind "stack": the curves are stacked areas. "heat": they are rows of cells, the first at the bottom. `x`: what the
    curves' steps are.
    """

    title: str
    curves: tuple[Curve, ...]
    share: bool = False
    kind: Kind = "lines"
    x: str = "step"


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A figure: `name` is its file's; panels stand in rows of at most `columns`."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 3

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw yet."""
        return not any(points for panel in self.panels for curve in panel.curves for points in curve.series)


def running_mean(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Centred mean over a tenth of the points, at least 3, so that a trend shows through the noise of small batches."""
    reach = max(1, len(points) // 20)
    values = np.array([value for _, value in points])
    return [
        (step, float(values[max(0, index - reach) : index + reach + 1].mean()))
        for index, (step, _) in enumerate(points)
    ]


def curve(arm: Arm, key: str, label: str, color: str, number: int = 0, smooth: bool = True) -> Curve | None:
    """The curve of a metric over an arm's seeds; None if no seed has it."""
    return derived(arm, label, (color, (key,), lambda value: value), number, smooth)


def derived(arm: Arm, label: str, case: Case, number: int = 0, smooth: bool = True) -> Curve | None:
    """The curve of a function of some metrics, at the steps that have all of them; None if no seed has one."""
    color, keys, function = case
    series = []
    for run in arm.runs:
        columns = [dict(run.series(key)) for key in keys]
        shared = sorted(set.intersection(*(set(column) for column in columns)))
        if shared:
            series.append((run.name, tuple((step, function(*(column[step] for column in columns))) for step in shared)))
    if not series:
        return None
    names, points = zip(*series, strict=True)
    return Curve(label, points, color, number, smooth, names)


def look(number: int) -> tuple[str, str]:
    """(colour, pattern) of the area with this number; 35 differ."""
    patterns = len(_PATTERNS)
    return _AREA_COLORS[number % len(_AREA_COLORS)], _PATTERNS[number // len(_AREA_COLORS) % patterns]


def panels(
    title: str,
    arms: Sequence[Arm],
    keys: Mapping[str, str],
    colors: Mapping[str, str] | None = None,
    smooth: bool = True,
    share: bool = False,
) -> list[Panel]:
    """The metrics of `keys` (label to metric) in one panel, with dashes for a second arm.

    More than two arms, or two of one metric, are distinguished by colour, in one panel a metric.
    """
    if len(arms) > 2 or (len(arms) == 2 and len(keys) == 1):
        by_metric = []
        for label, key in keys.items():
            curves = (
                curve(arm, key, arm_label(arm), COLORS[number % len(COLORS)], 0, smooth)
                for number, arm in enumerate(arms)
            )
            name = title if len(keys) == 1 else f"{title}: {label}"
            by_metric.append(Panel(name, known(curves), share))
        return [panel for panel in by_metric if panel.curves] or by_metric[:1]
    curves = []
    for index, (label, key) in enumerate(keys.items()):
        color = (colors or {}).get(label, COLORS[index % len(COLORS)])
        for number, arm in enumerate(arms):
            curves.append(curve(arm, key, joined(label, arm, arms), color, number, smooth))
    return [Panel(title, known(curves), share)]


def known(curves: Iterable[Curve | None]) -> tuple[Curve, ...]:
    """The curves that have data."""
    return tuple(curve for curve in curves if curve is not None)


def stack(title: str, arm: Arm, cases: Mapping[str, Case], share: bool = True) -> Panel:
    """The cases of one arm as stacked areas, by label; 0 at a step without the case."""
    curves = [derived(arm, label, case, smooth=False) for label, case in cases.items()]
    return Panel(title, filled(known(curves)), share, "stack")


def filled(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """The same steps in every curve, 0 if one has none: an outcome that did not occur has no metric.

    Seeds that lack a curve altogether have 0 there too, so that the curves of a stack are means over the same seeds.
    """
    steps: dict[str, set[float]] = {}
    for curve in curves:
        for run, points in zip(curve.runs, curve.series, strict=True):
            steps.setdefault(run, set()).update(step for step, _ in points)
    whole = []
    for curve in curves:
        values = {run: dict(points) for run, points in zip(curve.runs, curve.series, strict=True)}
        series = tuple(
            tuple((step, values.get(run, {}).get(step, 0.0)) for step in sorted(all_steps))
            for run, all_steps in steps.items()
        )
        whole.append(dataclasses.replace(curve, series=series, runs=tuple(steps)))
    return tuple(whole)


def names_with(arms: Iterable[Arm], prefix: str, suffix: str = "") -> list[str]:
    """The rest of every metric key with this prefix, sorted; deeper keys only if `suffix` asks for them."""
    names = {key.removeprefix(prefix) for arm in arms for run in arm.runs for key in run.keys if key.startswith(prefix)}
    return sorted(name for name in names if name.endswith(suffix) and (suffix or "/" not in name))


def arm_label(arm: Arm) -> str:
    """The arm's name; of a long one the end, where names differ."""
    return arm.name if len(arm.name) <= _NAME_CHARS else "..." + arm.name[3 - _NAME_CHARS :]


def joined(label: str, arm: Arm, arms: Sequence[Arm]) -> str:
    """`label`, with the arm's name if there are several."""
    return label if len(arms) == 1 else f"{label}, {arm_label(arm)}"
