"""A study's report: tables, curves with bands and a conclusion in words, as Markdown and as one HTML page."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from azr_jax.report import drawing
from azr_jax.study import figures
from azr_jax.study.grid import Study
from azr_jax.study.outcome import LATE_KEYS, Estimate, Result, estimate, gain, holm, paired, ranking

# What the paper found on the full benchmarks (its Table 2), the best first.
PAPER_ORDER = ("switch", "eq3", "eq4")
_HEAD = ("arm", "seeds", "before", "after", "change", "at temperature 1", "formatted", "right of formatted")
_ACC_HEAD = ("arm", "never solved", "sometimes", "always")
_CSS = "body{font:15px/1.5 sans-serif;max-width:70rem;margin:2rem auto}td,th{padding:.2rem .8rem;text-align:right}"


def write(study: Study, results: Sequence[Result], out: Path, unfinished: Sequence[str]) -> str:
    """Writes study.md, study.html and the figures into `out`, as PNG and SVG; returns the Markdown text."""
    lines = [f"# Study {study.name}", ""]
    body = [f"<h1>Study {html.escape(study.name)}</h1>"]
    for name, canvas in (
        ("curves", figures.accuracy(study, results)),
        ("hardness", figures.hardness(study, results)),
    ):
        if canvas is not None:
            svg = drawing.save(canvas, out / f"{name}.png")
            (out / f"{name}.svg").write_text(svg, encoding="utf-8")
            lines += [f"![{name}]({name}.png)", ""]
            body.append(svg)
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
            (
                "Proposals and their programs over the last third of the steps",
                ("arm", *LATE_KEYS),
                [_late(*item) for item in arms.items()],
            ),
        )
        lines += [f"## {language}", ""]
        body.append(f"<h2>{html.escape(language)}</h2>")
        for title, head, rows in tables:
            lines += [f"{title}:", "", *_markdown(head, rows), ""]
            body.append(f"<p>{html.escape(title)}</p>{_html(head, rows)}")
        sentences = conclusions(study, arms)
        lines += [*(f"- {sentence}" for sentence in sentences), ""]
        body.append("".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences))
    text = "\n".join(lines)
    (out / "study.md").write_text(text, encoding="utf-8")
    page = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(study.name)}</title>'
    (out / "study.html").write_text(f"{page}<style>{_CSS}</style></head><body>{''.join(body)}</body></html>\n")
    return text


def conclusions(study: Study, arms: dict[str, list[Result]]) -> list[str]:
    """Sentences that say which differences are larger than noise: p < 0.05 over seeds.

    The p-values of the arms' differences from the baseline are adjusted for their number; those of an arm's own change
    from start to end are as they are.
    """
    sentences = []
    for arm, chosen in arms.items():
        change = gain(chosen)
        verdict = "larger than noise" if change.p < 0.05 else "not told apart from noise"
        if math.isnan(change.p):
            verdict = "one seed, so nothing can be said of noise"
        sentences.append(f"{arm}: accuracy changes by {_points(change)} points from start to end ({verdict}).")
    if study.baseline not in arms:
        return sentences
    others = [arm for arm in arms if arm != study.baseline and _share_a_seed(arms[arm], arms[study.baseline])]
    compared = [paired(arms[arm], arms[study.baseline]) for arm in others]
    for arm, difference, p in zip(others, compared, holm([one.p for one in compared]), strict=True):
        if math.isnan(p):
            verdict = "one seed, so nothing can be said of noise"
        else:
            verdict = f"{'larger than' if p < 0.05 else 'not told apart from'} noise, adjusted p = {p:.3f}"
        sentences.append(f"{arm} ends {_points(difference)} points from {study.baseline}, seed by seed ({verdict}).")
    sentences += [
        f"{arm} is not compared with {study.baseline}: they have no finished seed in common."
        for arm in arms
        if arm not in (study.baseline, *others)
    ]
    return [*sentences, *_order(arms)]


def _share_a_seed(one: Sequence[Result], other: Sequence[Result]) -> bool:
    return not {result.seed for result in one}.isdisjoint(result.seed for result in other)


def _order(arms: dict[str, list[Result]]) -> list[str]:
    """The arms by their mean, and whether the paper's order shows, with the noise of each of its steps."""
    ranked = ranking(arms)
    sentences = ["By mean final accuracy: " + ", ".join(f"{arm} {100 * mean:.1f}" for arm, mean in ranked) + "."]
    pairs = list(itertools.pairwise(PAPER_ORDER))
    if any(arm not in arms for arm in PAPER_ORDER) or not all(_share_a_seed(arms[a], arms[b]) for a, b in pairs):
        return sentences
    means = dict(ranked)
    holds = all(means[a] > means[b] for a, b in pairs)
    gaps = [paired(arms[a], arms[b]) for a, b in pairs]
    told = [f"{a} less {b} {_points(gap)}" for (a, b), gap in zip(pairs, gaps, strict=True)]
    clear = sum(p < 0.05 and gap.mean > 0 for p, gap in zip(holm([gap.p for gap in gaps]), gaps, strict=True))
    return [
        *sentences,
        f"The paper's order ({' > '.join(PAPER_ORDER)}) {'shows' if holds else 'does not show'} in the means"
        f" ({'; '.join(told)}); {clear} of its 2 differences are larger than noise.",
    ]


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
    """Means over the seeds that had a valid proposal."""
    known = [one.acc for one in chosen if not any(map(math.isnan, one.acc))]
    if not known:
        return (arm, "-", "-", "-")
    return (arm, *(f"{100 * float(np.mean(values)):.0f}%" for values in zip(*known, strict=True)))


def _late(arm: str, chosen: Sequence[Result]) -> tuple[str, ...]:
    """Shares as per cent, sizes as they are."""
    cells = []
    for name in LATE_KEYS:
        values = [value for one in chosen if not math.isnan(value := one.late.get(name, math.nan))]
        mean = float(np.mean(values)) if values else math.nan
        share = name not in ("tokens", "depth")
        cells.append("-" if math.isnan(mean) else f"{100 * mean:.0f}%" if share else f"{mean:.1f}")
    return arm, *cells


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
