"""Fenced blocks of a text, read strictly or as models write them. Every step is linear in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# Possessive quantifiers: a failed match is not tried again with less, which keeps hostile text linear.
_OPENING = re.compile(r"(`{3,}+)([^`]*+)")
_CLOSING = re.compile(r"(`{3,}+)[ \t]*+")


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


class Block(NamedTuple):
    """A fenced block: its tag in lower case ("" without one), its text, and the words before it.

    heading: what stands before it on its line, or else the last line above it that is not blank.
    """

    tag: str
    text: str
    heading: str = ""


def loose_blocks(body: str, tags: frozenset[str]) -> Iterator[Block]:
    """The blocks as models write them.

    Besides what `strict_blocks` takes:
    - Fences may be of tildes. They may be indented, or follow the mark of a list; as much indentation is then taken off
      each line (CommonMark).
    - A block may open and close on one line, where its first word is a tag if it is one of `tags`. Blocks of `tags` may
      follow each other, or a text, on a line. The first line of the text may follow such a tag; a file name, attributes
      or a number there are no text.
    - A line that holds nothing but a fenced word of `tags` names a block that comes, or opens it.
    - The closing fence may follow the last line of the text, and words may follow it. A block of `tags` that opens
      within another, and is not closed there (```input within a program), closes it. A block that is never closed ends
      with the body.
    - A fence in a triple-quoted string, or behind the mark of a comment, is part of the program.
    - A block around others (```markdown) is left out.
    """
    return _Reader(body.split("\n"), tags).blocks()


def with_prose(body: str, tags: frozenset[str]) -> tuple[list[Block], str]:
    """The blocks of `loose_blocks`, and the lines that no block has a part of."""
    reader = _Reader(body.split("\n"), tags)
    blocks = list(reader.blocks())
    return blocks, "\n".join(reader.prose)


# Tags of values and messages, which no program has.
VALUE_TAGS = frozenset(("input", "output", "message"))
_WRAPPERS = frozenset(("", "markdown", "md"))
_FENCE_START = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)(.*+)")
# Tagged blocks within a line: whole ones, and the opening of one at its end.
_WITHIN = re.compile(r"(?<!`)(`{3,}+)([^\s`]++)[ \t]++((?:(?!```).)++)`{3,}+")
_AT_END = re.compile(r"(?<!`)(`{3,}+)([^\s`]++)[ \t]*+$")
_ONLY_A_NAME = re.compile(r"[ \t]*+(`{3,}+)([^\s`]++)(`{3,}+)(.*+)")
_LIST_MARK = re.compile(r"[ \t]*+(?:[-*+]|\d{1,3}[.)])[ \t]++")
_COMMENT = re.compile(r"[ \t]*+(?:\*|#|//|--|;|%|\(\*)")
# A closing fence and the next block's opening without a line end between.
_GLUED = re.compile(r"(?<!`)```(?=`{3,}+(?:input|output|message)\b)")
_ATTRIBUTE = re.compile(r"[\w.-]++=\S*+")
_NUMBER = re.compile(r"[(#]?\d{1,2}[).:]?")
_NO_CODE = re.compile(r"\{[^{}]*+\}|\([^()]*+\)|[\w/-]++\.[A-Za-z]{1,5}|code|program|solution", re.IGNORECASE)
_BRACED = re.compile(r"\{[ \t]*+\.?([^\s,{}]*+)[^{}]*+\}(.*+)")
_NUMBERED_VALUE = re.compile(r"(input|output)[_-]?\d{1,2}")


class _Reader:
    """Reads the blocks of a body line by line, and its prose; `_fence` is that of the open block, or ""."""

    def __init__(self, lines: list[str], tags: frozenset[str]) -> None:
        self._lines, self._tags = lines, tags
        self._fence, self._tag, self._indent, self._heading = "", "", 0, ""
        self._text: list[str] = []
        self.prose: list[str] = []
        self._beside = ""  # what follows the tag of a value's block: its first line, or a remark
        self._in_quotes = False
        self._last_quotes = max((at for at, line in enumerate(lines) if '"""' in line), default=-1)
        # For each line with a fence, whether the next line that begins with one holds nothing else; None: none does.
        self._next_is_bare: dict[int, bool | None] = {}
        following: bool | None = None
        for at in range(len(lines) - 1, -1, -1):
            if _has_fence(lines[at]):
                self._next_is_bare[at] = following
                start = _FENCE_START.fullmatch(lines[at])
                following = not start[2].strip() if start else following

    def blocks(self) -> Iterator[Block]:
        """Each block, in the order of their ends."""
        for at, line in enumerate(self._lines):
            if self._fence:
                rest = self._after_end(at, line)
                if rest is None:
                    continue
                yield from self._closed()
                line = rest
            yield from self._outside(at, line)
        if self._text or self._beside:
            yield from self._closed()

    def _closed(self) -> Iterator[Block]:
        """Ends the open block."""
        if self._fence:
            has_text = any(line.strip() for line in self._text)
            lines = [self._beside, *self._text] if self._beside and not has_text else self._text
            yield Block(self._tag, "\n".join(lines), self._heading)
        self._fence, self._heading = "", ""

    def _opened(self, tag: str, fence: str, indent: int, text: str = "") -> None:
        self._tag, self._fence, self._indent, self._in_quotes = tag, fence, indent, False
        is_remark = tag in VALUE_TAGS and (_ATTRIBUTE.fullmatch(text) or _NUMBER.fullmatch(text))
        self._text, self._beside = ([], text) if is_remark else ([text] if text else [], "")

    def _after_end(self, at: int, line: str) -> str | None:
        """What follows the end of the open block on a line; None if the line is within it."""
        if self._indent:
            line = line[min(self._indent, len(line) - len(line.lstrip(" \t"))) :]
        stripped, fence, mark = line.rstrip(" \t"), self._fence, self._fence[0]
        if _has_fence(line) and not (self._in_quotes and at < self._last_quotes):
            start = _FENCE_START.fullmatch(line)
            rest = start[2].strip() if start else ""
            tag = _tag_of(rest.split(maxsplit=1)[0]) if rest else ""
            if tag in self._tags and self._tag in _WRAPPERS and not any(text.strip() for text in self._text):
                self._fence = ""  # it was around this one
                return line
            if line.startswith(fence):
                rest = line.lstrip(mark)
                if not rest.strip():
                    return ""
                if tag in self._tags and (tag in VALUE_TAGS or not self._next_is_bare[at]):
                    return fence + rest
                if rest[0] in " \t.,:;!?)*":
                    return rest
            elif (glued := _GLUED.search(line)) is not None and self._tags >= VALUE_TAGS:
                self._text.append(line[: glued.start()])
                return line[glued.end() :]
            elif stripped.endswith(fence) and (text := stripped.rstrip(mark)).count(mark) % 2 == 0:
                if not (text.strip() and _COMMENT.match(text) and self._next_is_bare[at]):
                    self._text += [text] if text.strip() else []
                    return ""
        if '"""' in line:
            self._in_quotes ^= line.count('"""') % 2 == 1
        self._text.append(line)
        return None

    def _outside(self, at: int, line: str) -> Iterator[Block]:
        """A line outside of blocks, or what follows a block: whole blocks in it; it may open one."""
        if not _has_fence(line):
            self._note(line)
            return
        named = _ONLY_A_NAME.fullmatch(line)
        if named is not None and (tag := _tag_of(named[2])) in self._tags:
            if not named[4].strip() and self._next_is_bare[at] is not False:
                self._opened(tag, named[1], 0)
            else:
                self._heading = line
            return
        within = [(tag, text) for _, word, text in _WITHIN.findall(line) if (tag := _tag_of(word)) in self._tags]
        yield from (Block(tag, text.strip(), self._heading) for tag, text in within)
        start = None if within else _FENCE_START.fullmatch(line)
        if start is None:
            last = _AT_END.search(line)
            if last is not None and (tag := _tag_of(last[2])) in self._tags:
                before = line[: last.start()]
                self._heading = before if before.strip() else self._heading
                self._opened(tag, last[1], len(before) if _LIST_MARK.fullmatch(before) else 0)
            elif not within:
                self._note(line)
            return
        fence, rest = start[1], start[2]
        closes = rest.rstrip(" \t").endswith(fence)
        tag, text = self._tag_and_text(rest.rstrip(f"{fence[0]} \t") if closes else rest, closes)
        if closes:
            yield Block(tag, text, self._heading)
            self._heading = ""
        else:
            self._opened(tag, fence, start.start(1), text)

    def _note(self, line: str) -> None:
        """A line of prose; what is not blank heads the next block."""
        self._heading = line if line and not line.isspace() else self._heading
        self.prose.append(line)

    def _tag_and_text(self, rest: str, closes: bool) -> tuple[str, str]:
        """What follows the backticks of an opening fence: its tag, and the text on the same line."""
        word, _, text = rest.strip().partition(" ")
        if (braced := _BRACED.fullmatch(rest.strip())) is not None:
            word, text = braced[1], braced[2]
        text = text.strip()
        if (tag := _tag_of(word)) in self._tags:
            has_no_code = tag not in VALUE_TAGS and (_ATTRIBUTE.fullmatch(text) or _NO_CODE.fullmatch(text))
            return tag, "" if not closes and has_no_code else text
        return ("", rest.strip()) if closes else (word.lower(), "")


def _has_fence(line: str) -> bool:
    return "```" in line or "~~~" in line


def _tag_of(word: str) -> str:
    """A block's tag in lower case, also as R Markdown and Pandoc write it, with a colon, a file name or a number.

    {r}, {.python}, output:, python:main.py, input_1.
    """
    tag = word.lower().removeprefix("{").removesuffix("}").removeprefix(".").partition(":")[0]
    numbered = _NUMBERED_VALUE.fullmatch(tag)
    return numbered[1] if numbered else tag
