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
      follow each other, or a text, on a line. The first line of the text may follow such a tag; a file name,
      attributes, a number or any other single word behind a program's tag are no text.
    - A line that holds nothing but a fenced word of `tags` names a block that comes, or opens it.
    - The closing fence may follow the last line of the text, and words may follow it. A block of `tags` that opens
      within another, and is not closed there (```input within a program), closes it. A block that is never closed ends
      with the body.
    - A fence in a triple-quoted string, or behind the mark of a comment, is part of the program.
    - A block around others (```markdown) is left out, and so is a fence that begins a value (```python in ```output).
    - A line "User:" behind a block begins a turn that the model makes up, and ends the reading.
    """
    return _Reader(body.split("\n"), tags).blocks()


def with_prose(body: str, tags: frozenset[str]) -> tuple[list[Block], str]:
    """The blocks of `loose_blocks`, and the lines that no block has a part of, with a PLACEHOLDER for each block."""
    reader = _Reader(body.split("\n"), tags)
    blocks = list(reader.blocks())
    return blocks, "\n".join(reader.prose)


# Tags of values and messages, which no program has.
VALUE_TAGS = frozenset(("input", "output", "message"))
# What stands for a block in the prose.
PLACEHOLDER = "```"
_MARKDOWN = frozenset(("markdown", "md"))
_FENCE_START = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)(.*+)")
# Tagged blocks within a line: whole ones, and the opening of one at its end.
_WITHIN = re.compile(r"(?<!`)(`{3,}+)([^\s`]++)[ \t]++((?:(?!```).)++)`{3,}+")
_AT_END = re.compile(r"(?<!`)(`{3,}+)([^\s`]++)[ \t]*+$")
_ONLY_A_NAME = re.compile(r"[ \t]*+(`{3,}+)([^\s`]++)(`{3,}+)(.*+)")
_LIST_MARK = re.compile(r"[ \t]*+(?:[-*+]|\d{1,3}[.)])[ \t]++")
_COMMENT = re.compile(r"[ \t]*+(?:\*|#|//|--|;|%|\(\*)")
# A closing fence and the next block's opening without a line end between.
_GLUED = re.compile(r"(?<!`)```(?=`{3,}+(?:input|output|message)\b)")
_ATTRIBUTE = re.compile(r"[\w.-]++=(?:\"[^\"]*+\"|\S*+)")
_NUMBER = re.compile(r"[(#]?\d{1,2}[).:]?")
_NO_CODE = re.compile(r"\{[^{}]*+\}|\([A-Z][a-z ]*+\)|(?!begin\b)[\w./-]++|(?i:code|program|solution) block")
_BRACED = re.compile(r"\{[ \t]*+\.?([^\s,{}]*+)[^{}]*+\}(.*+)")
_NUMBERED_VALUE = re.compile(r"(input|output)[_-]?\d{1,2}")
# A person's turn in a conversation: what follows is another task.
_TURN = re.compile(r"[ \t]*+(?:User|Human)[ \t]*+:")


class _Reader:
    """Reads the blocks of a body line by line, and its prose; `_fence` is that of the open block, or ""."""

    def __init__(self, lines: list[str], tags: frozenset[str]) -> None:
        self._lines, self._tags = lines, tags
        self._fence, self._tag, self._indent, self._heading = "", "", 0, ""
        self._text: list[str] = []
        self._has_text = False
        self.prose: list[str] = []
        self._beside = ""  # what follows the tag of a value's block: its first line, or a remark
        self._quotes = ""  # of the multi-line string that the line before leaves open
        # For each line with a fence: whether the next line that begins with one holds nothing else (None: none does),
        # and whether a multi-line string ends before the next block of `tags` begins.
        self._next_is_bare: dict[int, bool | None] = {}
        self._string_ends: dict[int, bool] = {}
        self._look_ahead()

    def _look_ahead(self) -> None:
        is_bare, ends = None, False
        for at in range(len(self._lines) - 1, -1, -1):
            line = self._lines[at]
            if _has_fence(line):
                self._next_is_bare[at], self._string_ends[at] = is_bare, ends
                if (start := _FENCE_START.fullmatch(line)) is not None:
                    is_bare = not start[2].strip()
                    ends = ends and self._opened_tag(start[2]) is None
            ends = ends or bool(_quotes_of(line))

    def blocks(self) -> Iterator[Block]:
        """Each block up to a person's next turn, in the order of their ends."""
        has_block = False
        for at, line in enumerate(self._lines):
            if self._fence:
                rest = self._rest_of(at, line)
                if rest is None:
                    continue
                yield from self._closed()
                has_block, line = True, rest
            elif has_block and _TURN.match(line):
                return
            for block in self._outside(at, line):
                has_block = True
                yield block
        if self._fence and (self._text or self._beside):
            yield from self._closed()

    def _closed(self) -> Iterator[Block]:
        """Ends the open block; nothing if it turned out to be around another."""
        if self._fence:
            has_text = any(line.strip() for line in self._text)
            lines = [self._beside, *self._text] if self._beside and not has_text else self._text
            yield self._block(self._tag, "\n".join(lines))
        self._fence = ""

    def _block(self, tag: str, text: str) -> Block:
        block = Block(tag, text, self._heading)
        self._heading = ""
        self.prose.append(PLACEHOLDER)
        return block

    def _open(self, tag: str, fence: str, indent: int, text: str = "") -> None:
        self._tag, self._fence, self._indent, self._quotes = tag, fence, indent, ""
        is_remark = tag in VALUE_TAGS and (_ATTRIBUTE.fullmatch(text) or _NUMBER.fullmatch(text))
        self._has_text = bool(text) and not is_remark
        self._text, self._beside = ([], text) if is_remark else ([text] if text else [], "")

    def _rest_of(self, at: int, line: str) -> str | None:
        """What follows the end of the open block on a line, which may open another; None if the block goes on."""
        if self._indent:
            line = line[min(self._indent, len(line) - len(line.lstrip(" \t"))) :]
        in_string = self._quotes and self._string_ends.get(at, False)
        if _has_fence(line) and not in_string:
            start = _FENCE_START.fullmatch(line)
            tag = self._opened_tag(start[2]) if start else None
            if start and (end := self._around(start[2].strip(), tag)):
                return line if end == "wrapper" else None
            rest = self._behind_fence(at, line, tag) if line.startswith(self._fence) else self._behind_text(at, line)
            if rest is not None:
                return rest
        quotes = _quotes_of(line)
        self._quotes = "" if self._quotes and self._quotes in line else self._quotes or quotes
        self._text.append(line)
        self._has_text = self._has_text or bool(line.strip())
        return None

    def _around(self, rest: str, tag: str | None) -> str:
        """What the open block is around another that opens in it, of a tag of `tags`: "wrapper", "value" or nothing.

        A wrapper ends, and its text is prose. A value (```output) goes on as if the other fence were not there.
        """
        is_start = not self._has_text
        if tag and self._tag not in self._tags and (is_start or (self._tag in _MARKDOWN and tag not in VALUE_TAGS)):
            self._fence = ""
            for line in self._text:
                self._note(line)
            return "wrapper"
        is_fence = bool(rest) and not set("`~") & set(rest)
        return "value" if is_fence and is_start and self._tag in VALUE_TAGS and tag not in VALUE_TAGS else ""

    def _behind_fence(self, at: int, line: str, tag: str | None) -> str | None:
        """As `_rest_of`, of a line that begins with the block's fence; `tag`: of the block that it opens."""
        rest = line.lstrip(self._fence[0])
        if tag is not None and (tag in VALUE_TAGS or not self._next_is_bare[at]):
            return self._fence + rest
        return rest if not rest or rest[0] in " \t\u00a0.,:;!?)*<" else None

    def _behind_text(self, at: int, line: str) -> str | None:
        """As `_rest_of`, of a line with a fence behind other text, which is the block's last."""
        if self._fence == "```" and self._tags >= VALUE_TAGS and (glued := _GLUED.search(line)) is not None:
            self._text.append(line[: glued.start()])
            return line[glued.end() :]
        stripped, mark = line.rstrip(" \t"), self._fence[0]
        text = stripped.rstrip(mark)
        if not stripped.endswith(self._fence) or text.count(mark) % 2:
            return None
        if text.strip() and self._tag not in VALUE_TAGS and _COMMENT.match(text) and self._next_is_bare[at]:
            return None
        self._text += [text] if text.strip() else []
        return ""

    def _outside(self, at: int, line: str) -> Iterator[Block]:
        """A line outside of blocks, or what follows a block: whole blocks in it; it may open one."""
        if not _has_fence(line):
            self._note(line)
            return
        named = _ONLY_A_NAME.fullmatch(line)
        if named is not None and (tag := _tag_of(named[2])) in self._tags:
            if not named[4].strip() and self._next_is_bare[at] is not False:
                self._open(tag, named[1], 0)
            else:
                self._heading = line
            return
        within = [(tag, text) for _, word, text in _WITHIN.findall(line) if (tag := _tag_of(word)) in self._tags]
        yield from (self._block(tag, text.strip()) for tag, text in within)
        start = None if within else _FENCE_START.fullmatch(line)
        if start is not None:
            yield from self._at_start(start)
            return
        last = _AT_END.search(line)
        if last is not None and (tag := _tag_of(last[2])) in self._tags:
            before = line[: last.start()]
            if before.strip():
                self._note(before)
            self._open(tag, last[1], len(before) if _LIST_MARK.fullmatch(before) else 0)
        elif not within:
            self._note(line)

    def _at_start(self, start: re.Match[str]) -> Iterator[Block]:
        """A line that begins with a fence: it opens a block, and may close it."""
        fence, rest = start[1], start[2]
        closes = rest.rstrip(" \t").endswith(fence)
        tag, text = self._tag_and_text(rest.rstrip(f"{fence[0]} \t") if closes else rest, closes)
        if closes:
            yield self._block(tag, text)
        else:
            self._open(tag, fence, start.start(1), text)

    def _note(self, line: str) -> None:
        """A line of prose; what is not blank heads the next block."""
        self._heading = line if line and not line.isspace() else self._heading
        self.prose.append(line)

    def _opened_tag(self, rest: str) -> str | None:
        """The tag of `tags` behind an opening fence; None without one."""
        words = rest.split(maxsplit=1)
        tag = _tag_of(words[0]) if words else ""
        return tag if tag in self._tags else None

    def _tag_and_text(self, rest: str, closes: bool) -> tuple[str, str]:
        """What follows the backticks of an opening fence: its tag, and the text on the same line."""
        word, _, text = rest.strip().partition(" ")
        if (braced := _BRACED.fullmatch(rest.strip())) is not None:
            word, text = braced[1], braced[2]
        text = text.strip()
        if (tag := _tag_of(word)) in self._tags:
            if not closes and (second := _tag_of(text)) in self._tags and second != tag and VALUE_TAGS & {tag, second}:
                return (second if second in VALUE_TAGS else tag), ""  # python input, input python
            has_no_code = tag not in VALUE_TAGS and (_ATTRIBUTE.fullmatch(text) or _NO_CODE.fullmatch(text))
            return tag, "" if not closes and has_no_code else text
        return ("", rest.strip()) if closes else (word.lower(), "")


def _has_fence(line: str) -> bool:
    return "```" in line or "~~~" in line


def _quotes_of(line: str) -> str:
    """The quotes of a multi-line string of Python or Julia that a line opens or closes, at one of its ends; or ""."""
    for quotes in ('"""', "'''"):
        if quotes in line and line.count(quotes) % 2:
            text = line.strip()
            if text.lstrip("rRfFbBuU").startswith(quotes) or text.endswith(quotes):
                return quotes
    return ""


def _tag_of(word: str) -> str:
    """A block's tag in lower case, also as R Markdown and Pandoc write it, with a colon, a file name or a number.

    {r}, {.python}, output:, python:main.py, input_1.
    """
    tag = word.lower().removeprefix("{").removesuffix("}").removeprefix(".").partition(":")[0]
    numbered = _NUMBERED_VALUE.fullmatch(tag)
    return numbered[1] if numbered else tag
