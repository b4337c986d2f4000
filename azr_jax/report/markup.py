"""Text and data as parts of an HTML page, so that none of it can become markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence

# Controls and marks that hide or reorder text; transcripts.js has the same.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


def text(value: object) -> str:
    """Text escaped for any place in HTML; characters that UTF-8 can't hold are replaced."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def visible(value: str) -> str:
    """A model's text with what would hide or reorder it written out, as [U+202E]."""
    return _HIDDEN.sub(lambda match: f"[U+{ord(match.group()):04X}]", value.replace("\r\n", "\n"))


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
