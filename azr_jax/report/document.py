"""An HTML document with figures, for runs and studies: one file, nothing fetched, no text of a model read as markup.

The page's policy allows its own scripts, by their hashes, and no other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from azr_jax.report.curves import Figure
from azr_jax.report.drawing import DrawnPanel
from azr_jax.report.markup import data_island, text

_FOLDER = Path(__file__).parent


def document(
    kind: str,
    title: str,
    links: Mapping[str, str],
    sections: Sequence[str],
    drawn: Mapping[str, Sequence[DrawnPanel]],
    footer: str,
    scripts: Sequence[str] = (),
) -> str:
    """The whole page.

    Args:
      kind: what sort of page it is, above the title.
      title: its heading, and the name of the window.
      links: the label of each section that the navigation names, by its id.
      sections: HTML, in order.
      drawn: the figures' panels, whose values the page shows under the pointer.
      footer: the last line.
      scripts: files of this folder that run after figures.js.
    """
    sources = [(_FOLDER / name).read_text(encoding="utf-8") for name in ("figures.js", *scripts)]
    digests = (base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii") for source in sources)
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {hashes}; img-src data:"
    anchors = "".join(f'<a href="#{name}">{text(label)}</a>' for name, label in links.items())
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(f'azr_jax: {title}')}</title>",
        f"<style>{(_FOLDER / 'page.css').read_text(encoding='utf-8')}</style></head><body>",
        f'<header><p class="brand">azr_jax · {text(kind)}</p><h1>{text(title)}</h1></header>',
        f'<nav><input id="unfold" type="checkbox"><label for="unfold">Contents</label><div>{anchors}</div></nav><main>',
        *sections,
        "</main>",
        data_island("places", {name: [place for _, place in panels] for name, panels in drawn.items()}),
        *(f"<script>{source}</script>" for source in sources),
        f"<footer>{text(footer)}</footer>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def figure_card(figure: Figure, panels: Sequence[DrawnPanel] | None, files: str) -> str:
    """A figure with its caption and links to its PNG and CSV in the folder `files`; without panels a note."""
    if panels is None:
        content, links = '<p class="note">No data yet.</p>', ""
    else:
        plots = "".join(
            f'<div class="plot" data-figure="{figure.name}" data-panel="{number}">{svg}</div>'
            for number, (svg, _) in enumerate(panels)
        )
        content = f'<div class="plots columns{min(figure.columns, len(panels))}">{plots}</div>'
        links = "".join(
            f' <a class="file" href="{text(files)}/{figure.name}.{kind}">{kind.upper()}</a>' for kind in ("png", "csv")
        )
    notes = _notes(figure) if panels else ""
    return (
        f'<figure id="{figure.name}" class="card"><h2>{text(figure.title)}</h2>{content}'
        f"<figcaption>{text(figure.caption + notes)}{links}</figcaption></figure>"
    )


def short_title(figure: Figure) -> str:
    """A figure's name in the navigation: "Fig. 2", or its title without the common ending."""
    title = figure.title.removesuffix(" by step")
    return title.partition(":")[0] if title.startswith("Fig.") else title


def _notes(figure: Figure) -> str:
    """How to read the lines."""
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
