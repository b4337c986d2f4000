"""A study's report: tables, curves with bands and a conclusion in words, as Markdown and as one HTML page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas

from azr_jax.report import drawing
from azr_jax.study.grid import Study
from azr_jax.study.outcome import Estimate, Result, estimate, gain, holm, paired

_COLORS = matplotlib.color_sequences["tab10"]
_HEAD = ("arm", "seeds", "before", "after", "change", "at temperature 1", "formatted", "right of formatted")
_ACC_HEAD = ("arm", "never solved", "sometimes", "always")
_CSS = "body{font:15px/1.5 sans-serif;max-width:70rem;margin:2rem auto}td,th{padding:.2rem .8rem;text-align:right}"


def write(study: Study, results: Sequence[Result], out: Path, unfinished: Sequence[str]) -> str:
    """Writes study.md, study.html, curves.png and curves.svg into `out`; returns the Markdown text."""
    svg = drawing.save(_curves(study, results), out / "curves.png")
    (out / "curves.svg").write_text(svg, encoding="utf-8")
    lines = [f"# Study {study.name}", ""]
    body = [f"<h1>Study {html.escape(study.name)}</h1>", svg]
    if unfinished:
        text = f"Not finished, and left out: {', '.join(unfinished)}."
        lines += [text, ""]
        body.append(f"<p>{html.escape(text)}</p>")
    for language in study.languages:
        arms = {arm: [one for one in results if (one.language, one.arm) == (language, arm)] for arm in study.arms}
        arms = {arm: chosen for arm, chosen in arms.items() if chosen}
        if not arms:
            continue
        tables = (
            ("Held-out accuracy, per cent", _HEAD, [_row(arm, chosen) for arm, chosen in arms.items()]),
            ("Valid proposals over the last third of the steps", _ACC_HEAD, [_acc(*item) for item in arms.items()]),
        )
        lines += [f"## {language}", ""]
        body.append(f"<h2>{html.escape(language)}</h2>")
        for title, head, rows in tables:
            lines += [f"{title}:", "", *_markdown(head, rows), ""]
            body.append(f"<p>{html.escape(title)}</p>{_html(head, rows)}")
        sentences = conclusions(study, arms)
        lines += [*sentences, ""]
        body.append("".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences))
    text = "\n".join(lines)
    (out / "study.md").write_text(text, encoding="utf-8")
    page = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(study.name)}</title>'
    (out / "study.html").write_text(f"{page}<style>{_CSS}</style></head><body>{''.join(body)}</body></html>\n")
    return text


def conclusions(study: Study, arms: dict[str, list[Result]]) -> list[str]:
    """Sentences that say which differences are larger than noise: p < 0.05 over seeds, adjusted for their number."""
    sentences = []
    for arm, chosen in arms.items():
        change = gain(chosen)
        verdict = "larger than noise" if change.p < 0.05 else "not told apart from noise"
        if math.isnan(change.p):
            verdict = "one seed, so nothing can be said of noise"
        sentences.append(f"{arm}: accuracy changes by {_points(change)} points from start to end ({verdict}).")
    others = [arm for arm in arms if arm != study.baseline]
    if study.baseline not in arms:
        return sentences
    compared = [paired(arms[arm], arms[study.baseline]) for arm in others]
    for arm, difference, p in zip(others, compared, holm([one.p for one in compared]), strict=True):
        if math.isnan(p):
            verdict = "one seed, so nothing can be said of noise"
        else:
            verdict = f"{'larger than' if p < 0.05 else 'not told apart from'} noise, adjusted p = {p:.3f}"
        sentences.append(f"{arm} ends {_points(difference)} points from {study.baseline}, seed by seed ({verdict}).")
    return sentences


def _points(value: Estimate) -> str:
    interval = "" if math.isnan(value.low) else f" ({100 * value.low:+.1f} to {100 * value.high:+.1f})"
    return f"{100 * value.mean:+.1f}{interval}"


def _row(arm: str, chosen: Sequence[Result]) -> tuple[str, ...]:
    def both(pairs: Sequence[tuple[float | None, float | None]]) -> str:
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        return " -> ".join(f"{100 * float(np.mean(values)):.1f}" for values in zip(*known, strict=True)) or "-"

    after = estimate([one.after for one in chosen])
    interval = "" if math.isnan(after.low) else f" ({100 * after.low:.1f}-{100 * after.high:.1f})"
    return (
        arm,
        str(len(chosen)),
        f"{100 * float(np.mean([one.before for one in chosen])):.1f}",
        f"{100 * after.mean:.1f}{interval}",
        _points(gain(chosen)),
        both([(one.before_sampled, one.after_sampled) for one in chosen]),
        both([one.formatted for one in chosen]),
        both([one.right_of_formatted for one in chosen]),
    )


def _acc(arm: str, chosen: Sequence[Result]) -> tuple[str, ...]:
    return (arm, *(f"{100 * float(np.mean(values)):.0f}%" for values in zip(*(one.acc for one in chosen), strict=True)))


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _curves(study: Study, results: Sequence[Result]) -> Canvas:
    languages = list(study.languages)
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
        axes.legend(frameon=False)
    return canvas
