"""Draws figures: SVG text for the page, PNG and CSV files beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from azr_jax.report.curves import Curve, Figure, Panel

_COLORS = matplotlib.color_sequences["tab10"]
_STYLES = ("-", "--", ":", "-.")
_PANEL_INCHES = (4.3, 3.0)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a $ in a run's name is no formula
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def draw(figures: Sequence[Figure], directory: Path) -> dict[str, str]:
    """SVG text of every figure that has data, by name; writes `directory`/NAME.png and NAME.csv of each."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for figure in figures:
        if figure.empty:
            continue
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": figure.name}):
            canvas = _canvas(figure)
            drawn[figure.name] = save(canvas, directory / f"{figure.name}.png")
        _write_csv(figure, directory / f"{figure.name}.csv")
    return drawn


def save(canvas: Canvas, png: Path) -> str:
    """Writes a canvas as PNG; returns its SVG element, the same text for the same picture."""
    FigureCanvasAgg(canvas).print_png(png)
    svg = io.StringIO()
    FigureCanvasSVG(canvas).print_svg(svg, metadata={"Date": None})
    text = svg.getvalue()
    return text[text.index("<svg") :]


def running_mean(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Centred mean over a tenth of the points, at least 3, so that a trend shows through the noise of small batches."""
    reach = max(1, len(points) // 20)
    values = np.array([value for _, value in points])
    return [
        (step, float(values[max(0, index - reach) : index + reach + 1].mean()))
        for index, (step, _) in enumerate(points)
    ]


def _canvas(figure: Figure) -> Canvas:
    width, height = _PANEL_INCHES
    canvas = Canvas(figsize=(width * len(figure.panels), height), layout="constrained", dpi=110)
    for axes, panel in zip(np.atleast_1d(canvas.subplots(1, len(figure.panels))), figure.panels, strict=True):
        _draw_panel(axes, panel)
    return canvas


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel("step")
    if panel.stacked and panel.curves:
        steps = [step for step, _ in panel.curves[0].points]
        heights = [[value for _, value in curve.points] for curve in panel.curves]
        colors = [_COLORS[curve.color % len(_COLORS)] for curve in panel.curves]
        axes.stackplot(steps, heights, labels=[curve.label for curve in panel.curves], colors=colors, alpha=0.8)
    elif panel.curves:
        for curve in panel.curves:
            _draw_curve(axes, curve)
    else:
        axes.text(0.5, 0.5, "no data yet", ha="center", transform=axes.transAxes)
    if panel.share:
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    if len(panel.curves) > 1:
        many = len(panel.curves) > 4
        several_runs = len({curve.run for curve in panel.curves}) > 1
        axes.legend(ncols=2 if many and not several_runs else 1, fontsize=6.0 if many else 8.0)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    color, style = _COLORS[curve.color % len(_COLORS)], _STYLES[curve.run % len(_STYLES)]
    points = curve.points
    if curve.smooth and len(points) > 5:
        axes.plot(*zip(*points, strict=True), color=color, alpha=0.25, linewidth=0.8)
        points = running_mean(points)
    marker = "o" if len(points) < 3 or (not curve.smooth and len(points) < 20) else None
    axes.plot(*zip(*points, strict=True), color=color, linestyle=style, marker=marker, markersize=3, label=curve.label)


def _write_csv(figure: Figure, file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("panel", "curve", "step", "value"))
        for panel in figure.panels:
            for curve in panel.curves:
                writer.writerows((panel.title, curve.label, step, value) for step, value in curve.points)
