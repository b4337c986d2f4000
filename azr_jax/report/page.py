"""The HTML page: everything in one file, nothing fetched, and no text of a model ever read as markup.

Transcripts are a JSON data island that transcripts.js shows through textContent; the page's policy allows that one
script, by its hash, and no other.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from azr_jax.report.curves import Figure
from azr_jax.report.runs import RunData, transcripts
from azr_jax.report.tables import Counts, heldout_rows

_SCRIPT = Path(__file__).with_name("transcripts.js")
_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; } h4 { margin: .6rem 0 .2rem; }
table { border-collapse: collapse; } th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #888; }
tr.all td { font-weight: 600; } .low { color: #666; font-size: .85em; }
figure { margin: 1rem 0 2rem; } figure svg { max-width: 100%; height: auto; } figcaption, .note { color: #555; }
select, input, button { font: inherit; padding: .2rem .4rem; margin: 0 .4rem .4rem 0; } input { width: 18rem; }
details { border: 1px solid #ddd; border-radius: 4px; margin: .3rem 0; padding: .3rem .6rem; }
summary { cursor: pointer; } summary.good::before { content: "\\2713  "; color: #1a7f37; }
summary.bad::before { content: "\\2717  "; color: #b42318; }
pre { background: #f6f6f6; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def render(runs: Sequence[RunData], figures: Sequence[Figure], drawn: Mapping[str, str]) -> str:
    """The page; `drawn` has the SVG text of the figures that have data."""
    script = _SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    title = "azr_jax: " + ", ".join(run.name for run in runs)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_CSS}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
        *(_overview(run) for run in runs),
        *(_figure(figure, drawn.get(figure.name)) for figure in figures),
        _browser(runs),
        f"<script>{script}</script></body></html>",
    ]
    return "\n".join(parts) + "\n"


def data_island(identity: str, value: object) -> str:
    """A script element that holds JSON and can hold any text: no character of it can end the element."""
    content = json.dumps(value)  # ASCII: lone surrogates and line separators are escaped too
    for char in "<>&":
        content = content.replace(char, f"\\u{ord(char):04x}")
    return f'<script type="application/json" id="{identity}">{content}</script>'


def _overview(run: RunData) -> str:
    reached = max((row["step"] for row in run.rows), default=0)
    wanted = run.config.get("steps", run.summary.get("steps", "?"))
    facts = [f"step {reached} of {wanted}"]
    if run.config:
        model = run.config.get("model", {}).get("path", "?")
        facts += [f"languages {', '.join(run.config.get('languages', ()))}", f"model {model}"]
        facts += [f"seed {run.config.get('seed', '?')}"]
    if "seconds" in run.summary:
        facts.append(f"{run.summary['seconds'] / 60:.1f} minutes")
    else:
        facts.append("not finished")
    versions = ", ".join(f"{name} {version}" for name, version in run.summary.get("versions", {}).items())
    return (
        f"<section><h2>{_text(run.name)}</h2><p>{_text(' · '.join(facts))}</p>{_heldout(run)}"
        f'<p class="low">{_text(versions)}</p></section>'
    )


def _heldout(run: RunData) -> str:
    rows = heldout_rows(run.summary)
    if not rows:
        return '<p class="note">No held-out scores yet.</p>'
    heads = ("answers", "n", "right before", "right after", "change", "formatted before", "formatted after")
    heads += ("right among formatted, before", "after")
    body = []
    for row in rows:
        before, after = row.before, row.after
        cells = (
            f"{row.mode}, {row.type}",
            row.n,
            before.accuracy if before else "-",
            after.accuracy if after else "-",
            row.change,
            *(_formatted(one) for one in (before, after)),
            *(one.accuracy_formatted if one else "-" for one in (before, after)),
        )
        style = ' class="all"' if row.type == "all" else ""
        body.append(f"<tr{style}>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    return (
        f'<table class="heldout"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
        '<p class="note">Solver accuracy on held-out problems before and after training, per cent, with 95% Wilson'
        " intervals; change in points. Sampled answers are at temperature 1.</p>"
    )


def _formatted(counts: Counts | None) -> str:
    return counts.formatted_share if counts else "-"


def _figure(figure: Figure, svg: str | None) -> str:
    drawn = svg or '<p class="note">No data yet.</p>'
    smooth = any(curve.smooth for panel in figure.panels for curve in panel.curves)
    note = " Bold: running mean; faint: every step." if svg and smooth else ""
    return (
        f'<figure id="{figure.name}"><h2>{_text(figure.title)}</h2>{drawn}'
        f"<figcaption>{_text(figure.caption + note)}</figcaption></figure>"
    )


def _browser(runs: Sequence[RunData]) -> str:
    rows, total = transcripts(runs)
    thinned = f" {len(rows)} of the {total} that the runs kept are in this page." if len(rows) < total else ""
    selects = "".join(
        f'<select id="filter-{key}" aria-label="{label}"><option value="">{label}: all</option></select>'
        for key, label in (("run", "run"), ("step", "step"), ("task", "task"), ("outcome", "outcome"))
    )
    return (
        f"<h2>Transcripts</h2><p class='note'>Prompts and responses as they were, without a word of"
        f" interpretation; control characters are written out, as [U+202E].{thinned}</p>"
        f'<p>{selects}<input id="search" type="search" placeholder="search prompts and responses" aria-label="search">'
        f'<span id="count"></span></p><div id="list"></div><button id="more" hidden>more</button>'
        f"<noscript><p>The transcripts need JavaScript.</p></noscript>{data_island('transcripts', rows)}"
    )


def _text(text: object) -> str:
    """Text as HTML shows it, wherever it stands; characters that UTF-8 can't hold are replaced."""
    return html.escape(str(text).encode("utf-8", "replace").decode("utf-8"))
