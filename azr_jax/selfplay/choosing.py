"""Which blocks of an answer count, when it is written as models write it (`selfplay.format="azr"`).

The last block of the tag that is asked for counts. A block under a heading that is the word "Input", "Output" or
"Message" alone is one, unless it has such a tag or defines a function. Beyond that:
- A program: the last block without a tag, if none has it. Of several, the last that defines f, or else a function: a
  call of it may follow.
- A program and its input: the last program that an input follows, with the last of these inputs, so that programs and
  inputs of two drafts are not mixed; the other way round if an input comes first. Without an input's tag, the block
  behind the program.
- An input or output asked for alone: a block without a tag; a value behind the words "output is", "Output:" or within
  <output>; the last block of another tag; the whole answer.
- A message and inputs: without a message's block the first without a tag, or what is said to be the message; without an
  input's, the blocks behind the message.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

from azr_jax.selfplay.entry import ENTRY, defined_names
from azr_jax.selfplay.fences import PLACEHOLDER, VALUE_TAGS, Block, with_prose

# In place of the tags of a program: any but those of the other blocks.
ANY_TAG = ("*",)
# With any tag for programs: tags that no program has, and those that are known to be a program's within a line.
_NO_PROGRAMS = frozenset("text txt plaintext plain json bash sh shell console markdown md".split())
_LANGUAGES = frozenset(
    "python py julia jl racket rkt scheme lisp javascript js typescript ts lua r ocaml ml ruby rb perl pl php fortran"
    " java c cpp go rust haskell".split()
)
_WORDS = r"(?:(?:the|an?|so|thus|hence|final|correct|expected|predicted|example|sample|test)\b[ \t,]*+)*+"
_HEADING = re.compile(rf"[^\w]*+{_WORDS}(input|output|message)s?(?:[ \t]+\d+)?(?:[ \t]+is)?[^\w]*+", re.IGNORECASE)
_LONGEST_HEADING = 60
# Of the labels in a text the last few are tried, and as many characters behind each: reading stays linear.
_TRIED_LABELS, _LONGEST_SAID = 4, 1 << 16
_SAID = (
    rf"^[ \t*#_>-]*+{_WORDS}{{names}}\b(?:[ \t]+(?:of|for)[ \t]+[\w ]{{{{1,40}}}}?)??[ \t*_]*+"
    r"(?:(?:is|will be|would be)\b[ \t]*+:?|:)[ \t*_]*+"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """program_tags: of a program's blocks, in any case, or ANY_TAG. definition: as in `Form`."""

    program_tags: tuple[str, ...]
    definition: str

    @property
    def tags(self) -> frozenset[str]:
        """Tags that are known to be a program's."""
        return _LANGUAGES if self.program_tags == ANY_TAG else frozenset(tag.lower() for tag in self.program_tags)

    def is_program(self, tag: str) -> bool:
        """Whether a block of this tag is a program."""
        if self.program_tags == ANY_TAG:
            return bool(tag) and tag not in VALUE_TAGS | _NO_PROGRAMS
        return tag in self.tags

    def rank(self, text: str) -> int:
        """2: the text defines f; 1: another function; 0: none, as far as that is known."""
        names = defined_names(self.definition, text)
        return 2 if ENTRY in names else 1 if names else 0

    def best(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """The highest rank of the texts, and the places of those that have it."""
        ranks = [self.rank(text) for text in texts]
        highest = max(ranks, default=0)
        return highest, [at for at, rank in enumerate(ranks) if rank == highest]


_Named = list[tuple[str, str]]


def answered(body: str, asked: Sequence[str], choice: Choice) -> dict[str, list[str]]:
    """The texts by what is asked for ("inputs" under "input"); the last of each counts."""
    all_blocks, prose = with_prose(body, choice.tags | VALUE_TAGS)
    blocks = [(_name_of(block, asked, choice), block.text) for block in all_blocks]
    match list(asked):
        case ["program", "input"]:
            texts = _program_and_input(blocks, choice)
            return texts if texts["input"] else texts | {"input": _said(prose, "input")}
        case ["message", "inputs"]:
            return _message_and_inputs(prose, blocks)
        case ["program"]:
            programs = _of("program", blocks) or _of("", blocks)
            return {"program": [programs[at] for at in choice.best(programs)[1]]}
        case [name]:
            texts = _of(name, blocks) or _of("", blocks)
            return {name: [_unlabelled(text, name) for text in texts] or _value(body, prose, name, blocks)}
    raise ValueError(f"no task asks for {asked}")


def _name_of(block: Block, asked: Sequence[str], choice: Choice) -> str:
    """What a block is: program, input, output or message by tag or heading; otherwise its tag."""
    if block.tag in VALUE_TAGS:
        return block.tag
    if list(asked) != ["program"] and len(block.heading) <= _LONGEST_HEADING:
        heading = _HEADING.fullmatch(block.heading)
        if heading is not None and not choice.rank(block.text):
            return heading[1].lower()
    return "program" if choice.is_program(block.tag) else block.tag


def _of(name: str, blocks: _Named) -> list[str]:
    return [text for named, text in blocks if named == name]


def _program_and_input(blocks: _Named, choice: Choice) -> dict[str, list[str]]:
    tag = "program" if any(name == "program" for name, _ in blocks) else ""
    candidates = [at for at, (name, _) in enumerate(blocks) if name == tag]
    rank, places = choice.best([blocks[at][1] for at in candidates])
    programs = [candidates[at] for at in places]
    inputs = [at for at, (name, _) in enumerate(blocks) if name == "input"]
    inputs = [at for at in inputs if blocks[at][1].strip()] or inputs
    if not programs:
        return {"program": [], "input": [blocks[at][1] for at in inputs]}
    input_first = bool(inputs) and inputs[0] < programs[0]
    bounds = [-1, *programs] if input_first else [*programs, len(blocks)]
    for program, (start, end) in reversed(list(zip(programs, itertools.pairwise(bounds), strict=True))):
        if own := [at for at in inputs if start < at < end]:
            return _pair(blocks, program, own[-1])
    # Of blocks without tags or definitions the first is the program.
    program = programs[-1] if tag or rank or inputs else programs[0]
    behind = [at for at in range(program + 1, len(blocks)) if blocks[at][0] not in ("output", "message")]
    untagged = [at for at in behind if blocks[at][0] == ""]
    before = [at for at in range(program) if blocks[at][0] == ""]
    chosen = inputs[-1:] or untagged[:1] or (behind if len(behind) == 1 else before[-1:])
    return _pair(blocks, program, chosen[0]) if chosen else {"program": [blocks[program][1]], "input": []}


def _pair(blocks: _Named, program: int, value: int) -> dict[str, list[str]]:
    return {"program": [blocks[program][1]], "input": [blocks[value][1]]}


def _message_and_inputs(prose: str, blocks: _Named) -> dict[str, list[str]]:
    messages, inputs, others = _of("message", blocks), _of("input", blocks), _of("", blocks)
    if not messages and others:
        messages, others = others[:1], others[1:]
    messages = messages or _said(prose, "message")
    inputs = inputs or others or [text for name, text in blocks if name not in VALUE_TAGS and name]
    return {"message": messages, "input": inputs}


def _value(body: str, prose: str, name: str, blocks: _Named) -> list[str]:
    """An input or output in an answer without a block for it."""
    body = body.strip()
    if body.startswith(f"{name}(") and body.endswith(")"):
        return [body[len(name) + 1 : -1]]
    if texts := _said(prose, name) or [text for tag, text in blocks if tag not in VALUE_TAGS]:
        return texts
    return [_without_marks(body)] if body else []


def _said(prose: str, name: str) -> list[str]:
    """What is said outside of blocks to be the input, output or message: <output>, "Output:", "the output is"."""
    opening, closing = f"<{name}>", f"</{name}>"
    if (start := prose.rfind(opening)) >= 0:
        value = prose[start + len(opening) :].partition(closing)[0].strip()
        return [value] if value and PLACEHOLDER not in value else []
    names = name if name == "message" else f"(?:{name}|answer)"
    labels = list(re.finditer(_SAID.format(names=names), prose, re.IGNORECASE | re.MULTILINE))
    for label in reversed(labels[-_TRIED_LABELS:]):
        text = prose[label.end() : label.end() + _LONGEST_SAID]
        if value := _said_value(text, not label[0].rstrip(" \t*_").endswith(":")):
            return [value]
    return []


def _said_value(text: str, in_a_sentence: bool) -> str:
    """The value behind its words: the rest of the line, or else the lines below up to a blank one.

    "" if a block or another label follows there.
    """
    line, _, rest = text.partition("\n")
    below = rest.strip().partition("\n\n")[0] if not line.strip() else ""
    goes_on = sum(map(line.count, "([{")) > sum(map(line.count, ")]}"))
    value = (below or (text.partition("\n\n")[0] if goes_on else line)).strip()
    if PLACEHOLDER in value or value.endswith(":") or _HEADING.fullmatch(value):
        return ""
    if value.startswith("`") and (inner := value[1:].partition("`"))[1]:
        return inner[0]
    value = value.removesuffix(".") if in_a_sentence else value
    return _without_marks(value.removesuffix("**") if value.count("**") % 2 else value)


def _unlabelled(text: str, name: str) -> str:
    """A value's block without words such as "Output:" before the value; `output: 1` may be a keyword argument."""
    label = re.match(_SAID.format(names=name), text.strip(), re.IGNORECASE)
    return text.strip()[label.end() :] if label and not label[0].islower() else text


def _without_marks(text: str) -> str:
    """A text without the marks of inline code or bold print around all of it."""
    for mark in ("**", "`"):
        inner = text[len(mark) : -len(mark)]
        if inner and text == f"{mark}{inner}{mark}" and mark not in inner:
            return inner
    return text
