"""Text and data as parts of an HTML page, so that none of it can become markup."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence


def text(value: object) -> str:
    """Text as HTML shows it, wherever it stands; characters that UTF-8 can't hold are replaced."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def data_island(identity: str, value: object) -> str:
    """A script element that holds JSON and can hold any text: no character of it can end the element."""
    content = json.dumps(value, separators=(",", ":"))  # ASCII: lone surrogates and line separators are escaped too
    for char in "<>&":
        content = content.replace(char, f"\\u{ord(char):04x}")
    return f'<script type="application/json" id="{identity}">{content}</script>'


def table(head: Sequence[object], rows: Iterable[Sequence[object]], style: str = "") -> str:
    """A table of texts; a row whose first cell ends in ", all" stands out."""
    body = []
    for row in rows:
        marked = ' class="all"' if str(row[0]).endswith(", all") else ""
        body.append(f"<tr{marked}>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>")
    heads = "".join(f"<th>{text(cell)}</th>" for cell in head)
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
