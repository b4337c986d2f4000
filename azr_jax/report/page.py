"""The page of one or several runs: overview, the paper's tables, figures, reasons, contamination and transcripts.

Transcripts are a JSON data island that the page's script shows through textContent.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

from azr_jax.report import contamination, document, overview, paper, reasons, sampled
from azr_jax.report.arms import Arm
from azr_jax.report.curves import Figure
from azr_jax.report.drawing import DrawnPanel
from azr_jax.report.markup import data_island
from azr_jax.report.transcripts import sample


def render(
    arms: Sequence[Arm],
    figures: Sequence[Figure],
    drawn: Mapping[str, Sequence[DrawnPanel]],
    directory: Path,
    out: Path,
    data_dir: str = "",
) -> str:
    """The page.

    Args:
      arms: the runs, by arm.
      figures: every figure, those without data included.
      drawn: the panels of the figures that have data.
      directory: where their PNG and CSV files are, for links relative to `out`.
      out: where the page will be.
      data_dir: a folder of benchmark files, which training items are compared with.

    Raises:
      FileNotFoundError: `data_dir` lacks the benchmarks.
      ValueError: a damaged file.
    """
    runs = [run for arm in arms for run in arm.runs]
    links = {"overview": "Overview", "paper": "Tables 1, 2"}
    links |= {figure.name: document.short_title(figure) for figure in figures}
    links |= {"reasons": "Format reasons", "contamination": "Contamination", "transcripts-browser": "Transcripts"}
    files = urllib.parse.quote(os.path.relpath(directory, out.absolute().parent))
    sections = [
        overview.section(arms),
        paper.section(arms),
        sampled.section(arms),
        *(document.figure_card(figure, drawn.get(figure.name), files) for figure in figures),
        reasons.section(runs),
        contamination.section(arms, data_dir),
        _browser(arms),
    ]
    footer = f"{len(runs)} run{'s' if len(runs) > 1 else ''}. PNG and CSV of every figure: {files}"
    title = ", ".join(arm.label for arm in arms)
    return document.document("run report", title, links, sections, drawn, footer, ["transcripts.js"])


def _browser(arms: Sequence[Arm]) -> str:
    shown = sample([run for arm in arms for run in arm.runs])
    thinned = ""
    if len(shown.rows) < shown.total:
        thinned = (
            f" {len(shown.rows):,} of the {shown.total:,} that the runs kept are in this page, an even sample of"
            " steps and tasks; all are in transcripts.jsonl."
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
        '<section id="transcripts-browser" class="card"><h2>Transcripts</h2><p class="note">Prompts and responses,'
        " unchanged; control characters are written out, as [U+202E]."
        f"{thinned}</p>"
        f'<div class="filters">{selects}<label>order<select id="order">{orders}</select></label>'
        '<label class="wide">search<input id="search" type="search" placeholder="words in prompt, response or task id">'
        '</label></div><p class="note"><span id="count"></span></p><div id="list"></div>'
        '<button id="more" hidden>show more</button>'
        "<noscript><p>The transcripts need JavaScript.</p></noscript>"
        f"{data_island('transcripts', shown.rows)}</section>"
    )
