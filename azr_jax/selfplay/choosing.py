"""Which blocks of an answer count, when it is written as models write it (`selfplay.format="azr"`).

The last block of the tag that is asked for counts, and if there is none:
- A program: the last block without a tag. Of several, the last that defines a function; a call of it may follow.
- A program and its input: the last program that an input follows, with the last of these inputs, so that programs and
  inputs of two drafts are not mixed. Without an input's tag, the block behind the program.
- An input or output asked for alone: a block without a tag; a value behind the words "output is", "Output:" or within
  <output>; the last block of another tag; the whole answer.
- A message and inputs: without a message's block the first without a tag, or what is said to be the message; without an
  input's, the blocks behind the message.
- A block without a tag under the heading "Input" or "Output" is one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from azr_jax.selfplay.fences import VALUE_TAGS, Block, with_prose

# With any tag for programs, those that no program has.
_NO_PROGRAMS = frozenset("text txt plaintext plain json bash sh shell console markdown md".split())
_HEADING = re.compile(
    r"[^\w]*+(?:the |an? |final |example |expected |sample |test )*+(input|output)s?\b", re.IGNORECASE
)
_LONGEST_HEADING = 60
_SAID = r"^[ \t*#_>-]*+(?:(?:the|so|thus|final|correct|expected)[ \t,]++)*+{name}\b[ \t*_]*+(?:is[ \t]*+:?|:)[ \t*_]*+"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """program_tags: of a program's blocks, in any case; any_tag: they may have any. definition: as in `Form`."""

    program_tags: tuple[str, ...]
    any_tag: bool
    definition: str

    def defines(self, text: str) -> bool:
        """Whether a text defines a function, as far as that is known."""
        return bool(self.definition) and re.search(self.definition, text, re.MULTILINE) is not None

    def preferred(self, texts: Sequence[str]) -> list[str]:
        """The texts that define a function, or all if none does."""
        return [text for text in texts if self.defines(text)] or list(texts)


_Named = list[tuple[str, str]]


def answered(body: str, asked: Sequence[str], choice: Choice) -> dict[str, list[str]]:
    """The texts by what is asked for ("inputs" under "input"); the last of each counts."""
    programs = frozenset(tag.lower() for tag in choice.program_tags)
    all_blocks, prose = with_prose(body, programs | VALUE_TAGS)
    blocks = _named_blocks(all_blocks, programs, asked, choice)
    match list(asked):
        case ["program", "input"]:
            texts = _program_and_input(blocks, choice)
            return texts if texts["input"] else texts | {"input": _said(prose, "input")}
        case ["message", "inputs"]:
            return _message_and_inputs(prose, blocks)
        case ["program"]:
            return {"program": choice.preferred(_of("program", blocks) or _of("", blocks))}
        case [name]:
            texts = _of(name, blocks) or _of("", blocks)
            return {name: [_unlabelled(text, name) for text in texts] or _value(body, prose, name, blocks)}
    raise ValueError(f"no task asks for {asked}")


def _of(name: str, blocks: _Named) -> list[str]:
    return [text for named, text in blocks if named == name]


def _named_blocks(blocks: Sequence[Block], programs: frozenset[str], asked: Sequence[str], choice: Choice) -> _Named:
    """(program, input, output, message, another tag or "", text) of each block."""
    reads_headings = "input" in asked or "output" in asked
    named = []
    for tag, text, heading in blocks:
        name = tag
        if tag in programs or (choice.any_tag and tag and tag not in VALUE_TAGS | _NO_PROGRAMS):
            name = "program"
        elif not tag and reads_headings and len(heading) <= _LONGEST_HEADING:
            match = _HEADING.match(heading)
            name = match[1].lower() if match else ""
        named.append((name, text))
    return named


def _program_and_input(blocks: _Named, choice: Choice) -> dict[str, list[str]]:
    tag = "program" if any(name == "program" for name, _ in blocks) else ""
    programs = [at for at, (name, text) in enumerate(blocks) if name == tag and choice.defines(text)]
    programs = programs or [at for at, (name, _) in enumerate(blocks) if name == tag]
    inputs = [at for at, (name, _) in enumerate(blocks) if name == "input"]
    inputs = [at for at in inputs if blocks[at][1].strip()] or inputs
    if not programs:
        return {"program": [], "input": [blocks[at][1] for at in inputs]}
    for start, end in reversed(list(zip(programs, [*programs[1:], len(blocks)], strict=True))):
        if own := [at for at in inputs if start < at < end]:
            return _pair(blocks, start, own[-1])
    # Without definitions, the first of blocks without tags is the program.
    start = programs[-1] if tag or inputs or any(choice.defines(text) for _, text in blocks) else programs[0]
    if inputs:
        return _pair(blocks, start, inputs[-1])
    behind = [at for at in range(start + 1, len(blocks)) if blocks[at][0] not in ("output", "message")]
    untagged = [at for at in behind if blocks[at][0] == ""]
    before = [at for at in range(start) if blocks[at][0] == ""]
    chosen = untagged[:1] or (behind if len(behind) == 1 else before[-1:])
    return _pair(blocks, start, chosen[0]) if chosen else {"program": [blocks[start][1]], "input": []}


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
    return [_without_ticks(body)] if body else []


def _said(prose: str, name: str) -> list[str]:
    """What is said outside of blocks to be the input, output or message: <output>, "Output:", "the output is"."""
    opening, closing = f"<{name}>", f"</{name}>"
    if (start := prose.rfind(opening)) >= 0:
        return [prose[start + len(opening) :].partition(closing)[0]]
    said = list(re.finditer(_SAID.format(name=name), prose, re.IGNORECASE | re.MULTILINE))
    if said and (value := _said_value(prose[said[-1].end() :], " is" in said[-1][0].lower())):
        return [value]
    return []


def _unlabelled(text: str, name: str) -> str:
    """A value's block without the words "Output:" before the value."""
    label = re.match(_SAID.format(name=name), text.strip(), re.IGNORECASE)
    return text.strip()[label.end() :] if label else text


def _said_value(text: str, in_a_sentence: bool) -> str:
    """The value behind its words: the rest of the line, or else the lines below; "" if a block follows there."""
    line = text.partition("\n")[0].strip()
    value = line or text.strip().partition("\n\n")[0].strip()
    if value.startswith(("```", "~~~")):
        return ""
    if in_a_sentence:
        value = value.removesuffix(".")
    return _without_ticks(value)


def _without_ticks(text: str) -> str:
    """A text without the backticks of inline code around all of it."""
    inner = text[1:-1]
    return inner if len(text) > 2 and text[0] == text[-1] == "`" and "`" not in inner else text
