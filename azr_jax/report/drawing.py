"""Draws figures: SVG text for the page, PNG and CSV files beside it, and where in the picture each value is."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure as Canvas

from azr_jax.report.curves import Curve, Figure, Panel

_STYLES = ("-", "--", ":", "-.")
_PANEL_INCHES = (4.1, 2.9)
_LEGEND_ROW_INCHES = 0.19
_LEGEND_CHARS_PER_INCH = 15.0
_HEAT = LinearSegmentedColormap.from_list("heat", ["#f5f7fb", "#a9c1ee", "#3566c8", "#15254f"])
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a $ in a run's name is no formula
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": "#2b303b",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": "#6a7180",
    "axes.edgecolor": "#c9cdd6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9ebf0",
    "xtick.color": "#6a7180",
    "ytick.color": "#6a7180",
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def draw(figures: Sequence[Figure], directory: Path) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """(SVG text, places) of every figure that has data, by name; writes `directory`/NAME.png and NAME.csv of each.

    Places: for each panel its box and axis limits in shares of the picture, and its curves' values, for a reader that
    shows the values under a pointer.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for figure in figures:
        if figure.empty:
            continue
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": figure.name}):
            canvas = _canvas(figure)
            svg = save(canvas, directory / f"{figure.name}.png")
            drawn[figure.name] = svg, _places(canvas, figure)
        _write_csv(figure, directory / f"{figure.name}.csv")
    return drawn


def save(canvas: Canvas, png: Path) -> str:
    """Writes a canvas as PNG; returns its SVG element, the same text for the same picture."""
    FigureCanvasAgg(canvas).print_png(png)
    canvas.set_layout_engine("none")  # the layout is made; to make it again takes as long as all the rest
    svg = io.StringIO()
    FigureCanvasSVG(canvas).print_svg(svg, metadata={"Date": None})
    text = svg.getvalue()
    return text[text.index("<svg") :]


def _canvas(figure: Figure) -> Canvas:
    width, height = _PANEL_INCHES
    columns = min(figure.columns, len(figure.panels))
    # Two panels get the width of three, so that a page's figures have one width.
    width *= 3 / columns if columns < 3 else 1
    rows = -(-len(figure.panels) // columns)
    legend_rows = max(_legend_rows(panel, width) for panel in figure.panels)
    size = (width * columns, (height + _LEGEND_ROW_INCHES * legend_rows) * rows)
    canvas = Canvas(figsize=size, layout="constrained", dpi=130)
    canvas.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # pyright: ignore[reportOptionalMemberAccess, reportCallIssue]
    grid = np.atleast_1d(canvas.subplots(rows, columns)).ravel()
    for axes, panel in zip(grid, figure.panels, strict=False):
        _draw_panel(axes, panel, width)
    if any(panel.kind == "heat" for panel in figure.panels):
        shades = ScalarMappable(Normalize(0, 1), _HEAT)
        canvas.colorbar(
            shades, ax=list(grid), format=_percent, label="share of valid proposals", fraction=0.02, pad=0.01
        )
    for axes in grid[len(figure.panels) :]:
        axes.set_visible(False)
    return canvas


def _percent(value: float, _: object) -> str:
    return f"{100 * value:.0f}%"


def _legend(panel: Panel, width: float) -> int:
    """How many columns the legend has in a panel of this width in inches."""
    longest = max(len(curve.label) for curve in panel.curves)
    return max(1, int(width * _LEGEND_CHARS_PER_INCH // (longest + 6)))


def _legend_rows(panel: Panel, width: float) -> int:
    if panel.kind == "heat" or len(panel.curves) < 2:
        return 0
    return -(-len(panel.curves) // _legend(panel, width))


def _top(panel: Panel) -> float:
    """The least multiple of 20% that all shares fit below."""
    values = [high for curve in panel.curves for _, _, high in curve.band()]
    values += [value for curve in panel.curves for points in curve.series for _, value in points]
    return min(1.0, max(0.2, math.ceil(5 * max(values, default=1.0) - 0.01) / 5))


def _draw_panel(axes: Axes, panel: Panel, width: float) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel("step")
    if not panel.curves:
        axes.text(0.5, 0.5, "no data yet", ha="center", color="#9aa1ae", transform=axes.transAxes)
    elif panel.kind == "heat":
        _draw_heat(axes, panel)
        return
    elif panel.kind == "stack":
        steps = panel.curves[0].steps
        heights = [[value for _, value in curve.mean()] for curve in panel.curves]
        colors = [curve.color for curve in panel.curves]
        # What never happened needs no place in the legend.
        labels = [curve.label if any(height) else "_" for curve, height in zip(panel.curves, heights, strict=True)]
        if len(steps) == 1:  # an area needs two ends
            steps, heights = [steps[0] - 0.5, steps[0] + 0.5], [each * 2 for each in heights]
        axes.stackplot(steps, heights, labels=labels, colors=colors, alpha=0.9, linewidth=0)
        axes.set_xlim(min(steps), max(steps))
    else:
        for curve in panel.curves:
            _draw_curve(axes, curve)
    if panel.share:
        top = _top(panel)
        axes.set_ylim(*((-0.02 * top, 1.02 * top) if panel.kind == "lines" else (0, 1)))
        axes.yaxis.set_major_formatter(_percent)
    if len(panel.curves) > 1:
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=_legend(panel, width),
            fontsize=8.0,
            handlelength=1.4,
            columnspacing=1.2,
            handletextpad=0.5,
        )


def _draw_heat(axes: Axes, panel: Panel) -> None:
    steps = np.array(panel.curves[0].steps)
    cells = np.array([[value for _, value in curve.mean()] for curve in panel.curves])
    middles = (steps[1:] + steps[:-1]) / 2
    edges = np.concatenate(([steps[0] - 0.5], middles, [steps[-1] + 0.5]))
    mesh = axes.pcolormesh(edges, np.arange(len(cells) + 1) - 0.5, cells, cmap=_HEAT, vmin=0.0, vmax=1.0)
    mesh.set_rasterized(True)
    axes.set_yticks(range(len(cells)), [curve.label for curve in panel.curves])
    axes.grid(False)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    style = _STYLES[curve.arm % len(_STYLES)]
    longest = max(len(points) for points in curve.series)
    smooth = curve.smooth and longest > 5
    if smooth and len(curve.series) == 1:
        axes.plot(*zip(*curve.series[0], strict=True), color=curve.color, alpha=0.22, linewidth=0.8)
    if band := curve.band(smooth):
        steps, low, high = zip(*band, strict=True)
        axes.fill_between(steps, low, high, color=curve.color, alpha=0.16, linewidth=0)
    points = curve.mean(smooth)
    marker = "o" if len(points) < 3 or (not curve.smooth and len(points) < 20) else None
    axes.plot(
        *zip(*points, strict=True),
        color=curve.color,
        linestyle=style,
        linewidth=1.7,
        marker=marker,
        markersize=3.5,
        label=curve.label,
    )


def _places(canvas: Canvas, figure: Figure) -> list[dict[str, Any]]:
    """Boxes as (left, top, right, bottom) and limits as (first, last), after the layout has been made."""
    found = []
    for axes, panel in zip(canvas.axes, figure.panels, strict=False):
        box = axes.get_position()
        curves = [
            {
                "label": curve.label,
                "color": curve.color,
                "seeds": len(curve.series),
                "points": [[step, _short(value)] for step, value in curve.mean()],
                "band": [[step, _short(low), _short(high)] for step, low, high in curve.band()],
            }
            for curve in panel.curves
        ]
        found.append(
            {
                "box": [round(each, 4) for each in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)],
                "steps": [float(each) for each in axes.get_xlim()],
                "share": panel.share,
                "curves": curves[::-1] if panel.kind != "lines" else curves,
            }
        )
    return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _write_csv(figure: Figure, file: Path) -> None:
    """Every point of every seed, without any smoothing."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("panel", "curve", "run", "step", "value"))
        for panel in figure.panels:
            for curve in panel.curves:
                for run, points in zip(curve.runs, curve.series, strict=True):
                    writer.writerows((panel.title, curve.label, run, step, value) for step, value in points)
