"""A study's report: tables, curves with bands and a conclusion in words, as Markdown and as a page like a run's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from azr_jax.report import document, drawing
from azr_jax.report.markup import table, text
from azr_jax.study import figures
from azr_jax.study.grid import Cell, Study
from azr_jax.study.outcome import (
    LATE_KEYS,
    Estimate,
    Result,
    differences_of,
    estimate,
    gain,
    holm,
    known_mean,
    paired,
    ranking,
    visible,
)
from azr_jax.workdir import atomic

# What the paper found on the full benchmarks (its Table 2), the best first.
PAPER_ORDER = ("switch", "eq3", "eq4")
_HEAD = ("arm", "seeds", "before", "after", "change", "at temperature 1", "formatted", "right of formatted")
_ACC_HEAD = ("arm", "never solved", "sometimes", "always")
_WIDEST = 0.5  # of accuracy: a wider 95% interval says that there are too few seeds for one
_TOO_FEW = " (too few seeds for an interval)"


def write(study: Study, results: Sequence[Result], out: Path, unfinished: Sequence[Cell]) -> str:
    """Writes study.md, study.html and the figures' files into `out`; returns the Markdown text."""
    shown = figures.figures(study, results)
    drawn = drawing.draw(shown, out)
    lines = [f"# Study {study.name}", ""]
    for figure in shown:
        if figure.name in drawn:
            lines += [f"![{figure.name}]({figure.name}.png)", ""]
    sections = [document.figure_card(figure, drawn.get(figure.name), ".") for figure in shown]
    links = {figure.name: document.short_title(figure) for figure in shown}
    if unfinished:
        left_out = f"Not finished, and left out (seeds): {_left_out(unfinished)}."
        lines += [left_out, ""]
        sections.append(f'<section class="card"><p class="note">{text(left_out)}</p></section>')
    for language in study.languages:
        arms = {
            arm: [result for result in results if (result.language, result.arm) == (language, arm)]
            for arm in study.arms
        }
        arms = {arm: cell for arm, cell in arms.items() if cell}
        if not arms:
            continue
        tables = (
            ("Held-out accuracy, per cent", _HEAD, [_row(arm, cell) for arm, cell in arms.items()]),
            ("Valid proposals over the last third of the steps", _ACC_HEAD, [_acc(*item) for item in arms.items()]),
            (
                "Proposals and their programs over the last third of the steps",
                ("arm", *LATE_KEYS),
                [_late(*item) for item in arms.items()],
            ),
        )
        sentences = conclusions(study, arms)
        lines += [f"## {language}", ""]
        for title, head, rows in tables:
            lines += [f"{title}:", "", *_markdown(head, rows), ""]
        lines += [*(f"- {sentence}" for sentence in sentences), ""]
        links[language] = language
        body = "".join(f"<h3>{text(title)}</h3>{table(head, rows)}" for title, head, rows in tables)
        body += f"<ul>{''.join(f'<li>{text(sentence)}</li>' for sentence in sentences)}</ul>"
        sections.append(f'<section id="{text(language)}" class="card"><h2>{text(language)}</h2>{body}</section>')
    markdown = "\n".join(lines)
    (out / "study.md").write_text(markdown, encoding="utf-8")
    footer = f"{len(results)} finished runs. PNG and CSV of the figures are in this page's folder."
    page = document.document("study", f"Study {study.name}", links, sections, drawn, footer)
    atomic.write(out / "study.html", page)
    return markdown


def _left_out(unfinished: Sequence[Cell]) -> str:
    """The runs by language and arm, with their seeds."""
    by_language: dict[str, dict[str, str]] = {}
    for cell in unfinished:
        seeds = by_language.setdefault(cell.language, {})
        seeds[cell.arm] = f"{seeds.get(cell.arm, '')} {cell.seed}"
    return "; ".join(
        f"{language}: {', '.join(arm + numbers for arm, numbers in seeds.items())}"
        for language, seeds in by_language.items()
    )


def conclusions(study: Study, arms: dict[str, list[Result]]) -> list[str]:
    """Sentences that say which differences are larger than noise: p < 0.05 over seeds.

    The p-values of the arms' differences from the baseline are adjusted for their number; those of an arm's change
    from start to end are not.
    """
    sentences = []
    for arm, cell in arms.items():
        change = gain(cell)
        verdict = "larger than noise" if change.p < 0.05 else "not told apart from noise"
        if math.isnan(change.p):
            verdict = "one seed, so nothing can be said of noise"
        sentences.append(f"{arm}: accuracy changes by {_points(change)} points from start to end ({verdict}).")
    if study.baseline not in arms:
        return sentences
    others = [arm for arm in arms if arm != study.baseline and _share_a_seed(arms[arm], arms[study.baseline])]
    compared = [paired(arms[arm], arms[study.baseline]) for arm in others]
    for arm, difference, p in zip(others, compared, holm([difference.p for difference in compared]), strict=True):
        if math.isnan(p):
            verdict = "one seed, so nothing can be said of noise"
        else:
            verdict = f"{'larger than' if p < 0.05 else 'not told apart from'} noise, adjusted p = {p:.3f}"
        sentences.append(f"{arm} ends {_points(difference)} points from {study.baseline}, seed by seed ({verdict}).")
    smallest = visible([differences_of(arms[arm], arms[study.baseline]) for arm in others])
    if not math.isnan(smallest):
        sentences.append(
            f"A true difference of {100 * smallest:.1f} points from {study.baseline} would be larger than noise in four"
            " of five such studies, before p is adjusted; a smaller one is easily missed."
        )
    sentences += [
        f"{arm} is not compared with {study.baseline}: they have no finished seed in common."
        for arm in arms
        if arm not in (study.baseline, *others)
    ]
    return [*sentences, *_order(arms)]


def _share_a_seed(cell: Sequence[Result], other: Sequence[Result]) -> bool:
    return not {result.seed for result in cell}.isdisjoint(result.seed for result in other)


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
    texts = [f"{a} less {b} {_points(gap)}" for (a, b), gap in zip(pairs, gaps, strict=True)]
    clear = sum(p < 0.05 and gap.mean > 0 for p, gap in zip(holm([gap.p for gap in gaps]), gaps, strict=True))
    return [
        *sentences,
        f"The paper's order ({' > '.join(PAPER_ORDER)}) {'shows' if holds else 'does not show'} in the means"
        f" ({'; '.join(texts)}); {clear} of its 2 differences are larger than noise.",
    ]


def _points(value: Estimate) -> str:
    """A difference in points with its interval."""
    if value.high - value.low > _WIDEST:
        return f"{100 * value.mean:+.1f}{_TOO_FEW}"
    interval = "" if math.isnan(value.low) else f" ({100 * value.low:+.1f} to {100 * value.high:+.1f})"
    return f"{100 * value.mean:+.1f}{interval}"


def _share(value: Estimate) -> str:
    """An accuracy in per cent with its interval, cut at 0 and 100."""
    if value.high - value.low > _WIDEST:
        return f"{100 * value.mean:.1f}{_TOO_FEW}"
    low, high = max(0.0, value.low), min(1.0, value.high)
    return f"{100 * value.mean:.1f}" + ("" if math.isnan(value.low) else f" ({100 * low:.1f}-{100 * high:.1f})")


def _row(arm: str, cell: Sequence[Result]) -> tuple[str, ...]:
    def both(pairs: Sequence[tuple[float | None, float | None]]) -> str:
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        return " -> ".join(f"{100 * float(np.mean(values)):.1f}" for values in zip(*known, strict=True)) or "-"

    return (
        arm,
        str(len(cell)),
        f"{100 * float(np.mean([result.before for result in cell])):.1f}",
        _share(estimate([result.after for result in cell])),
        _points(gain(cell)),
        both([(result.before_sampled, result.after_sampled) for result in cell]),
        both([result.formatted for result in cell]),
        both([result.right_of_formatted for result in cell]),
    )


def _acc(arm: str, cell: Sequence[Result]) -> tuple[str, ...]:
    """Means over the seeds that had a valid proposal."""
    known = [result.acc for result in cell if not any(map(math.isnan, result.acc))]
    if not known:
        return (arm, "-", "-", "-")
    return (arm, *(f"{100 * float(np.mean(values)):.0f}%" for values in zip(*known, strict=True)))


def _late(arm: str, cell: Sequence[Result]) -> tuple[str, ...]:
    """Shares in per cent, sizes as numbers."""
    cells = []
    for name in LATE_KEYS:
        mean = known_mean([result.late.get(name, math.nan) for result in cell])
        share = name not in ("tokens", "depth")
        cells.append("-" if math.isnan(mean) else f"{100 * mean:.0f}%" if share else f"{mean:.1f}")
    return arm, *cells


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
