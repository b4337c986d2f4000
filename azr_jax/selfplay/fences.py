"""Fenced blocks of a text, read strictly or as models write them. Every step is linear in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Possessive quantifiers: a failed match is not tried again with less, which keeps hostile text linear.
_OPENING = re.compile(r"(`{3,}+)([^`]*+)")
_CLOSING = re.compile(r"(`{3,}+)[ \t]*+")
_ATTRIBUTE = re.compile(r"[\w.-]++=\S*+")
_LOOSE_OPENING = re.compile(r"([ \t]*+)(`{3,}+|~{3,}+)(.*+)")
# Tagged blocks within a line: whole ones, and the opening of one at its end.
_WITHIN = re.compile(r"(?<!`)(`{3,}+)([^\s`]++)[ \t]++((?:(?!```).)++)`{3,}+")
_AT_END = re.compile(r"(?<!`)(`{3,}+)([^\s`]++)[ \t]*+$")


def strict_blocks(body: str) -> Iterator[tuple[str, str | None]]:
    """(tag in lower case, text) of each block; a block that is not closed has the text None and is the last.

    An opening fence is a line of at least three backticks, not indented, and a tag without backticks. A closing fence
    is a line that holds nothing but at least as many backticks, not indented. Shorter fences, indented fences and
    backticks within a line are part of the block.
    """
    tag, fence_length, lines = "", 0, []
    # Not splitlines(): form feeds and Unicode line separators belong to the code.
    for line in body.split("\n"):
        if not fence_length:
            if (opening := _OPENING.fullmatch(line)) is not None:
                words = opening[2].split(maxsplit=1)
                tag, fence_length, lines = (words[0].lower() if words else ""), len(opening[1]), []
        elif (closing := _CLOSING.fullmatch(line)) is not None and len(closing[1]) >= fence_length:
            yield tag, "\n".join(lines)
            fence_length = 0
        else:
            lines.append(line)
    if fence_length:
        yield tag, None


def loose_blocks(body: str, tags: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(tag in lower case, text) of each block as models write them; the tag is "" if there is none.

    Besides what `strict_blocks` takes: fences may be of tildes; they may be indented, and as much indentation is then
    taken off each line (CommonMark); a block may open and close on one line, where its first word is a tag if it is one
    of `tags`; blocks of `tags` may follow each other, or a text, on a line; the first line of the text may follow such
    a tag; the closing fence may follow the last line of the text, and words may follow it; a block that is never closed
    ends with the body.
    """
    tag, fence, indent, lines = "", "", 0, []
    for line in body.split("\n"):
        if fence:
            line = line[min(indent, len(line) - len(line.lstrip(" \t"))) :]
            stripped, mark = line.rstrip(" \t"), fence[0]
            if stripped.endswith(fence) and (not (rest := stripped.rstrip(mark)).strip() or mark not in rest):
                yield tag, "\n".join([*lines, *([rest] if rest.strip() else [])])
                fence = ""
                continue
            if not line.startswith((f"{fence} ", f"{fence}\t")):
                lines.append(line)
                continue
            yield tag, "\n".join(lines)
            fence, line = "", line[len(fence) :]
        within = [(_tag_of(word), text) for _, word, text in _WITHIN.findall(line) if _tag_of(word) in tags]
        yield from ((tag, text.strip()) for tag, text in within)
        if within or (opening := _LOOSE_OPENING.fullmatch(line)) is None:
            last = _AT_END.search(line)
            if last is not None and _tag_of(last[2]) in tags:
                tag, fence, indent, lines = _tag_of(last[2]), last[1], 0, []
            continue
        indent, fence, rest = len(opening[1]), opening[2], opening[3]
        closed = rest.rstrip(" \t").endswith(fence)
        tag, text = _tag_and_text(rest.rstrip(f"{fence[0]} \t") if closed else rest, tags, closed)
        lines = [text] if text else []
        if closed:
            yield tag, text
            fence = ""
    if fence and lines:
        yield tag, "\n".join(lines)


def _tag_and_text(rest: str, tags: frozenset[str], closed: bool) -> tuple[str, str]:
    """What follows the backticks of an opening fence: its tag, and the text on the same line."""
    word, _, text = rest.strip().partition(" ")
    if _tag_of(word) in tags:
        return _tag_of(word), "" if not closed and _ATTRIBUTE.fullmatch(text.strip()) else text.strip()
    return ("", rest.strip()) if closed else (word.lower(), "")


def _tag_of(word: str) -> str:
    """A block's tag in lower case, also as R Markdown and Pandoc write it: {r}, {.python}."""
    return word.lower().removeprefix("{").removesuffix("}").removeprefix(".")
