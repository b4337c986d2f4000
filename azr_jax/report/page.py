"""The HTML page: everything in one file, nothing fetched, and no text of a model ever read as markup.

Transcripts and the figures' values are JSON data islands that the page's scripts show through textContent; the page's
policy allows those scripts, by their hashes, and no other.
"""

from __future__ import annotations

import base64
import hashlib
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azr_jax.report import contamination, overview, paper
from azr_jax.report.arms import Arm
from azr_jax.report.curves import Figure
from azr_jax.report.markup import data_island, text
from azr_jax.report.transcripts import sample

_FOLDER = Path(__file__).parent
_SCRIPTS = ("figures.js", "transcripts.js")
Drawn = Mapping[str, tuple[str, list[dict[str, Any]]]]


def render(
    arms: Sequence[Arm], figures: Sequence[Figure], drawn: Drawn, directory: Path, out: Path, data_dir: str = ""
) -> str:
    """The page.

    Args:
      arms: what it is of.
      figures: every figure, those without data included.
      drawn: (SVG text, places of the values) of the figures that have data.
      directory: where their PNG and CSV files are, for links relative to `out`.
      out: where the page will be.
      data_dir: a folder of benchmark files, which training items are compared with.

    Raises:
      FileNotFoundError: `data_dir` lacks the benchmarks.
      ValueError: a damaged file.
    """
    scripts = [(_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    digests = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
        for script in scripts
    )
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {digests}; img-src data:"
    runs = [run for arm in arms for run in arm.runs]
    title = ", ".join(arm.label for arm in arms)
    links = {"overview": "Overview", "paper": "Tables 1, 2", **{one.name: _short(one) for one in figures}}
    links |= {"contamination": "Contamination", "transcripts-browser": "Transcripts"}
    files = urllib.parse.quote(os.path.relpath(directory, out.absolute().parent))
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(f'azr_jax: {title}')}</title>",
        f"<style>{(_FOLDER / 'page.css').read_text(encoding='utf-8')}</style></head><body>",
        f'<header><p class="brand">azr_jax · run report</p><h1>{text(title)}</h1></header>',
        "<nav>" + "".join(f'<a href="#{name}">{text(label)}</a>' for name, label in links.items()) + "</nav><main>",
        overview.section(arms),
        paper.section(arms),
        *(_figure(figure, drawn.get(figure.name), files) for figure in figures),
        contamination.section(arms, data_dir),
        _browser(arms),
        "</main>",
        data_island("places", {name: places for name, (_, places) in drawn.items()}),
        *(f"<script>{script}</script>" for script in scripts),
        f"<footer>{len(runs)} run{'s' if len(runs) > 1 else ''}. PNG and CSV of every figure: {text(files)}</footer>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _short(figure: Figure) -> str:
    return figure.title.removesuffix(" by step").partition(":")[0 if figure.title.startswith("Fig.") else 2] or (
        figure.title.removesuffix(" by step")
    )


def _figure(figure: Figure, drawn: tuple[str, Any] | None, files: str) -> str:
    if drawn is None:
        content, links = '<p class="note">No data yet.</p>', ""
    else:
        content = f'<div class="scroll"><div class="plot" data-figure="{figure.name}">{drawn[0]}</div></div>'
        links = "".join(
            f' <a class="file" href="{text(files)}/{figure.name}.{kind}">{kind.upper()}</a>' for kind in ("png", "csv")
        )
    notes = _notes(figure) if drawn else ""
    return (
        f'<figure id="{figure.name}" class="card"><h2>{text(figure.title)}</h2>{content}'
        f"<figcaption>{text(figure.caption + notes)}{links}</figcaption></figure>"
    )


def _notes(figure: Figure) -> str:
    """How the lines are to be read."""
    curves = [curve for panel in figure.panels if panel.kind == "lines" for curve in panel.curves]
    notes = ""
    if any(curve.smooth for curve in curves):
        notes += " Bold: running mean; faint: every step."
    if any(len(curve.series) > 1 for curve in curves):
        notes += " Several seeds: the mean of those that have the step, with a band from the least to the greatest."
    elif any(len(curve.series) > 1 for panel in figure.panels for curve in panel.curves):
        notes += " Several seeds: their mean."
    if any(len(curve.series) == 1 and curve.interval for curve in curves):
        notes += " Band: 95% interval."
    return notes


def _browser(arms: Sequence[Arm]) -> str:
    found = sample([run for arm in arms for run in arm.runs])
    thinned = ""
    if len(found.rows) < found.total:
        thinned = (
            f" {len(found.rows):,} of the {found.total:,} that the runs kept are in this page, evenly of every step"
            " and task; all are in transcripts.jsonl."
        )
    names = ("run", "step", "role", "type", "outcome", "stop")
    selects = "".join(
        f'<label>{name}<select id="filter-{name}"><option value="">all</option></select></label>' for name in names
    )
    orders = "".join(
        f'<option value="{value}">{label}</option>'
        for value, label in (
            ("", "as recorded"),
            ("newest", "newest first"),
            ("low", "lowest reward"),
            ("high", "highest reward"),
        )
    )
    return (
        '<section id="transcripts-browser" class="card"><h2>Transcripts</h2><p class="note">Prompts and responses as'
        " they were, without a word of interpretation; control characters are written out, as [U+202E]."
        f"{thinned}</p>"
        f'<div class="filters">{selects}<label>order<select id="order">{orders}</select></label>'
        '<label class="wide">search<input id="search" type="search" placeholder="words in prompt, response or task id">'
        '</label></div><p class="note"><span id="count"></span></p><div id="list"></div>'
        '<button id="more" hidden>show more</button>'
        "<noscript><p>The transcripts need JavaScript.</p></noscript>"
        f"{data_island('transcripts', found.rows)}</section>"
    )
