"""Draws figures: an SVG text for each panel of the page, PNG and CSV files beside it, and where each value is drawn."""

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
from matplotlib.image import imsave

from azr_jax.report.curves import Curve, Figure, Panel

_STYLES = ("-", "--", ":", "-.")
_PANEL_INCHES = (4.1, 2.9)
_WIDE_PANEL_INCHES = 5.2  # of a figure with two columns
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


# An SVG element, and where its values are: the box as shares of the picture, the axis limits, the curves.
DrawnPanel = tuple[str, dict[str, Any]]


def draw(figures: Sequence[Figure], directory: Path) -> dict[str, list[DrawnPanel]]:
    """The drawn panels of every figure that has data, by name; writes `directory`/NAME.png and NAME.csv of each.

    Each panel is a separate picture, so that a page can put them beside or below each other. The PNG has them all.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for figure in figures:
        if figure.empty:
            continue
        pictures, drawn[figure.name] = [], []
        width = _WIDE_PANEL_INCHES if min(figure.columns, len(figure.panels)) == 2 else _PANEL_INCHES[0]
        for number, panel in enumerate(figure.panels):
            with matplotlib.rc_context({**_STYLE, "svg.hashsalt": f"{figure.name}/{number}"}):
                picture, svg = _draw(panel, width)
            pictures.append(picture)
            drawn[figure.name].append(svg)
        imsave(directory / f"{figure.name}.png", _together(pictures, figure.columns))
        _write_csv(figure, directory / f"{figure.name}.csv")
    return drawn


def _draw(panel: Panel, width: float) -> tuple[np.ndarray, DrawnPanel]:
    """A panel as pixels [height, width, RGBA], and as SVG with the place of its values."""
    height = _PANEL_INCHES[1] + _LEGEND_ROW_INCHES * _legend_rows(panel, width)
    canvas = Canvas(figsize=(width, height), layout="constrained", dpi=130)
    axes = canvas.subplots()
    _draw_panel(axes, panel, width)
    if panel.kind == "heat":
        shades = ScalarMappable(Normalize(0, 1), _HEAT)
        canvas.colorbar(shades, ax=axes, format=_percent, label="share of valid proposals", fraction=0.04, pad=0.01)
    pixels = FigureCanvasAgg(canvas)
    pixels.draw()
    canvas.set_layout_engine("none")  # a second layout would take as long as all the rest
    picture = np.array(pixels.buffer_rgba())
    svg = io.StringIO()
    FigureCanvasSVG(canvas).print_svg(svg, metadata={"Date": None})
    text = svg.getvalue()
    return picture, (text[text.index("<svg") :], _place(axes, panel))


def _together(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """The pictures in rows of `columns`, on transparent ground."""
    height, width = (max(picture.shape[side] for picture in pictures) for side in (0, 1))
    columns = min(columns, len(pictures))
    whole = np.zeros((-(-len(pictures) // columns) * height, columns * width, 4), np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = row * height, column * width
        whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return whole


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
    """The least multiple of 20% above all shares."""
    values = [high for curve in panel.curves for _, _, high in curve.band()]
    values += [value for curve in panel.curves for points in curve.series for _, value in points]
    return min(1.0, max(0.2, math.ceil(5 * max(values, default=1.0) - 0.01) / 5))


def _draw_panel(axes: Axes, panel: Panel, width: float) -> None:
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x)
    if not panel.curves:
        axes.text(0.5, 0.5, "no data yet", ha="center", color="#9aa1ae", transform=axes.transAxes)
    elif panel.kind == "heat":
        _draw_heat(axes, panel)
        return
    elif panel.kind == "stack":
        steps = panel.curves[0].steps
        heights = [[value for _, value in curve.mean()] for curve in panel.curves]
        colors = [curve.color for curve in panel.curves]
        # Values that are always 0 are left out of the legend.
        labels = [curve.label if any(height) else "_" for curve, height in zip(panel.curves, heights, strict=True)]
        if len(steps) == 1:  # an area needs two ends
            steps, heights = [steps[0] - 0.5, steps[0] + 0.5], [height * 2 for height in heights]
        patterns = [curve.pattern for curve in panel.curves]
        axes.stackplot(
            steps, heights, labels=labels, colors=colors, alpha=0.9, linewidth=0, hatch=patterns, edgecolor="#ffffffb0"
        )
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


def _place(axes: Axes, panel: Panel) -> dict[str, Any]:
    """The box as (left, top, right, bottom) and the limits as (first, last), after the layout has been made."""
    box = axes.get_position()
    curves = [
        {
            "label": curve.label,
            "color": curve.color,
            "pattern": curve.pattern,
            "seeds": len(curve.series),
            "points": [[step, _short(value)] for step, value in curve.mean()],
            "band": [[step, _short(low), _short(high)] for step, low, high in curve.band()],
        }
        for curve in panel.curves
    ]
    return {
        "box": [round(side, 4) for side in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)],
        "steps": [float(step) for step in axes.get_xlim()],
        "share": panel.share,
        "x": panel.x,
        "curves": curves[::-1] if panel.kind != "lines" else curves,
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _write_csv(figure: Figure, file: Path) -> None:
    """Every point of every seed, without any smoothing."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("panel", "curve", "run", figure.panels[0].x, "value"))
        for panel in figure.panels:
            for curve in panel.curves:
                for run, points in zip(curve.runs, curve.series, strict=True):
                    writer.writerows((panel.title, curve.label, run, step, value) for step, value in points)
