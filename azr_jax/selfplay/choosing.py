r"""Which blocks of an answer count, when it is written as models write it (`selfplay.format="azr"`).

The last block of the tag that is asked for counts. A block under a heading that is the word "Input", "Output" or
"Message" alone is one, unless it has such a tag or defines a function. Beyond that:
- A program: the last block without a tag, if none has it. Of several, the last that defines f, or else a function: a
  call of it may follow. Without one: what defines f, in a block of a tag that is no other language's (```clojure,
  ```text), within <program>, <code> or the tag of the language, or outside of any block.
- A program and its input: the last program that an input follows, with the last of these inputs, so that programs and
  inputs of two drafts are not mixed; the other way round if an input comes first. Without an input's tag, the block
  behind the program.
- An input or output asked for alone: a block without a tag; a value behind the words "output is", "Output:" or within
  <output> or \boxed{}; the last block of another tag; a value behind "f(3) returns" or the like; the whole answer.
- A message and inputs: without a message's block the first without a tag, what is said to be the message, or a block of
  text; without an input's, the blocks behind the message, or all that is said to be an input.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence

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
# Tags of a message, if nothing else is said to be it.
_PLAIN = frozenset("text txt plaintext plain markdown md".split())
_WORDS = (
    r"(?:(?:the|an?|so|thus|hence|therefore|one|final|correct|expected|predicted|possible|valid|example|sample|test)\b"
    r"[ \t,`*]*+){0,8}+"
)
# "When f is called with 3, ", "For the input 3, ": what the value is of.
_CASE = r"(?:(?:for|when|given|with)\b[^\n:]{0,80}?(?:input|call|\bf\(|\(f )[^\n:]{0,80}?,[ \t]++)?"
_HEADING = re.compile(rf"[^\w]*+{_WORDS}(input|output|message)s?(?:[ \t]+\d+)?(?:[ \t]+is)?[^\w]*+", re.IGNORECASE)
_LONGEST_HEADING = 60
_ABOUT = r"(?:[ \t]++(?:of|for|from|when|that|returned by)[ \t]++(?:`[^`\n]{1,99}+`|[^\n:`\"']){1,80}?)??[ \t*_]*+"
_IS = r"(?:\b(?:is|will be|would be|could be|can be|should be)\b[ \t]*+:?|:)"
_START = rf"^(?:[ \t*#_>`-]*+|[^\n\"'`:]{{1,200}}?,[ \t](?=so\b|thus\b|hence\b)){_WORDS}{_CASE}{_WORDS}"
_SAID = rf"{_START}NAMES\b(?:[ \t]++#?\d{{1,2}}\b)?{_ABOUT}(?:{_IS}|$(?=\n))[ \t*_]*+"
_REMARK = r"(?:#|//|--|;+)[ \t]*+"
_CALL = r"(?:f\([^\n`]{0,500}?\)|\(f[ \t][^\n`]{0,500}?\))"
# Other words for an output, which are also used of what is not one.
_RESULT = (
    rf"{_START}(?:(?:result|return(?:ed)? value|value)\b{_ABOUT}{_IS}"
    rf"|{_CALL}[ \t`]*+(?:is\b|(?:{_REMARK})?(?:[-=]>|→|==?)|{_REMARK}(?:output|returns?|result)[ \t]*+:)"
    rf"|(?:{_CALL}|(?:\w++[ \t]++)?(?:function|program|code)(?:[ \t]++`?(?:{_CALL}|f\b))?|it)[ \t`]*+"
    r"(?:will[ \t]++|would[ \t]++)?(?:returns?|outputs?|gives?|evaluates to)\b[ \t]*+:?)[ \t*_]*+"
)
# What comes before an output in its block: a session's prompt or echo, R's [1], OCaml's type.
_ECHO = (
    r"(?:(?:>>>|julia>|>)[ \t][^\n]*\n|#?[ \t]*=>|\[1\][ \t]|- : [^=\n]{1,200}=|(?:output|result)[ \t]*=>?(?!=))[ \t]*+"
)
_KIND = re.compile(
    r"(?:the|an?)[ \t](?:empty[ \t])?"
    r"(?:string|list|array|integer|number|tuple|dictionary|boolean|float|value)\b[ \t:]*+"
)
_REASON = re.compile(r"[ \t,;(]{1,3}+(?:because|since|for the|when)\b")
# A line of a vector that R prints, its elements, and what they are if it is one.
_PLACE_IN_R = re.compile(r"[ \t]*+\[\d+\](.*+)")
_ELEMENT_OF_R = re.compile(r'"(?:[^"\\]|\\.)*+"|[^\s"]++')
_ATOM_OF_R = re.compile(r'".*"|-?\d[\d.]*+(?:e[+-]\d++)?|TRUE|FALSE|NA|NaN|-?Inf')
_STATEMENT_END = re.compile(r"(?<=[^\s;]);{1,2}\s*\Z")
# Words, where a value is said: "computed by", "The function".
_WORDY = re.compile(r"(?:[A-Z][a-z]*+[ ])?[a-z]++,?[ ][a-z]++\b")
_CODE = re.compile(r"(`{1,3})([^`\n][^`]*+)\1")
_MARKS = (*((mark, mark) for mark in ("**", "```", "`", "$$", "$")), ("\\(", "\\)"), ("\\[", "\\]"))
_TEXT = re.compile(r"\\(?:text|texttt|mathtt)\{([^{}]*+)\}")
# What follows a value that is the answer's first line.
_EXPLANATION = re.compile(r"\s*+(?:\*\*|#++[ \t]++)?[A-Z][a-z]")
_PLACE = re.compile(rf"^{PLACEHOLDER}$", re.MULTILINE)
# What ends a program or message outside of blocks, and how lines there begin that are words and no program.
_BREAK = re.compile(r"^(?:```$|</?(?i:input|output)>|(?:\*\*|#++ )?(?:Input|Output)s?\b)", re.MULTILINE)
_BLANK_LINES = re.compile(r"(\n(?:[ \t]*+\n)++)")
_PROSE = re.compile(r"\s*+(?:[A-Z*`>]|##|<(?!\?))")


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
    blocks = _with_programs([_named(block, asked, choice) for block in all_blocks], asked, choice)
    match list(asked):
        case ["program", "input"]:
            texts = _program_and_input(blocks, choice)
            inputs = texts["input"] or _said(prose, "input")[-1:]
            return {"program": texts["program"] or _without_fences(prose, choice), "input": inputs}
        case ["message", "inputs"]:
            # A program beside them is the one that was given.
            blocks = [(name, text) for name, text in blocks if name in VALUE_TAGS or not choice.rank(text)]
            return _message_and_inputs(prose, blocks)
        case ["program"]:
            programs = _of("program", blocks) or _of("", blocks) or _without_fences(prose, choice)
            return {"program": [programs[at] for at in choice.best(programs)[1]]}
        case [name]:
            texts = _of(name, blocks) or [_unlabelled(text, name) for text in _of("", blocks)]
            return {name: texts or _value(body, prose, name, blocks)}
    raise ValueError(f"no task asks for {asked}")


def _named(block: Block, asked: Sequence[str], choice: Choice) -> tuple[str, str]:
    name = _name_of(block, asked, choice)
    return name, _unlabelled(block.text, name) if name in VALUE_TAGS else block.text


def _with_programs(blocks: _Named, asked: Sequence[str], choice: Choice) -> _Named:
    """The blocks; without a program's, those that define f and that no other language has are programs."""
    if "program" not in asked or _of("program", blocks):
        return blocks
    others = _LANGUAGES if list(asked) == ["program"] else _LANGUAGES | VALUE_TAGS
    return [("program" if name not in others and choice.rank(text) == 2 else name, text) for name, text in blocks]


def _without_fences(prose: str, choice: Choice) -> list[str]:
    """What defines f outside of blocks: within tags, or else the lines between blocks that do not begin with words."""
    if not choice.definition:
        return []
    within = [text for name in ("program", "code", *sorted(choice.tags)) for text in _within(prose, name)]
    lines = [_without_words(text) for text in _BREAK.split(prose)]
    return [text for text in within if choice.rank(text) == 2] or [text for text in lines if choice.rank(text) == 2]


def _without_words(text: str) -> str:
    """A program outside of blocks without the paragraphs before and behind it that begin with words."""
    paragraphs = _BLANK_LINES.split(text.strip("\n"))
    code = [at for at in range(0, len(paragraphs), 2) if not _PROSE.match(paragraphs[at])]
    return "".join(paragraphs[code[0] : code[-1] + 1]) if code else ""


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
    said = _said(prose, "message")[-1:]
    texts = [text for name, text in blocks if name in _PLAIN]
    named = [text for name, text in blocks if name not in VALUE_TAGS and name]
    if not (messages or others or said) and texts and (len(texts) == 1 or not inputs):
        messages = texts[:1]
        named.remove(texts[0])
    elif not messages and others:
        messages, others = others[:1], others[1:]
    inputs = inputs or others or max(named, _said(prose, "input"), key=len)
    return {"message": messages or said, "input": inputs}


def _value(body: str, prose: str, name: str, blocks: _Named) -> list[str]:
    """An input or output in an answer without a block for it."""
    body = body.strip()
    if body.startswith(f"{name}(") and body.endswith(")"):
        return [body[len(name) + 1 : -1]]
    if body[:1] in ("'", '"') and body[1:].endswith(body[0]) and PLACEHOLDER not in body:
        return [body]  # A string, whatever it says.
    texts = _said(prose, name) or [_unlabelled(text, name) for tag, text in blocks if tag not in VALUE_TAGS]
    if not texts and name == "output":
        texts = _labelled(prose, _RESULT)
    first, _, rest = body.partition("\n\n")
    is_whole = not any(first.replace("'(", "(").count(mark) % 2 for mark in "\"'`")
    if _EXPLANATION.match(rest) and "\n" not in first and is_whole:
        body = first
    return texts or ([_without_marks(_unlabelled(body, name))] if body else [])


def _within(prose: str, name: str) -> list[str]:
    """The texts outside of blocks within <name> and </name>, in any case; the last may lack its end."""
    parts = [_before_end(part, name) for part in _tag(name).split(prose)[1:]]
    texts = [text.strip() for at, (text, ends) in enumerate(parts, 1) if ends or at == len(parts)]
    return [value for value in map(_without_marks, texts) if value and not _PLACE.search(value)]


def _tag(name: str) -> re.Pattern[str]:
    return re.compile(f"<{re.escape(name)}>", re.IGNORECASE)


def _before_end(text: str, name: str) -> tuple[str, bool]:
    """The text before </name>, and whether it is there."""
    before, *behind = _tag(f"/{name}").split(text, maxsplit=1)
    return before, bool(behind)


def _said(prose: str, name: str) -> list[str]:
    """What is said outside of blocks to be an output, the message or inputs: <output>, "Output:", "the output is"."""
    if values := _within(prose, name):
        return values
    if name != "message" and (boxed := _boxed(prose)):
        return [boxed]
    if name == "message":
        return [message for _, text in _labels(prose, _label_of(name)) if (message := _said_message(text))]
    return _labelled(prose, _label_of(name))


def _label_of(name: str) -> str:
    if name == "message":
        return _SAID.replace("NAMES", name).replace("|could be|can be|should be", "")
    return _SAID.replace("NAMES", f"(?:{name}|answer)")


def _labels(prose: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Each label that a pattern finds, and the text up to the next."""
    labels = list(re.finditer(pattern, prose, re.IGNORECASE | re.MULTILINE))
    ends = [*(label.start() for label in labels[1:]), len(prose)]
    for label, end in zip(labels, ends, strict=False):
        yield label[0].rstrip(" \t*_"), prose[label.end() : end]


def _labelled(prose: str, pattern: str) -> list[str]:
    """The values behind the labels that a pattern finds."""
    values = [(_said_value(text, not label.endswith(":")), label[-1:]) for label, text in _labels(prose, pattern)]
    return [value for value, end in values if value and (end == ":" or not _WORDY.match(value))]


def _said_message(text: str) -> str:
    """The message behind its words: up to the first block, or the first heading of an input."""
    message = _BREAK.split(text, maxsplit=1)[0].strip()
    last = message.rpartition("\n")[2]
    message = message.removesuffix(last).rstrip() if last.endswith(":") else message
    return _without_marks(message.removesuffix("**") if message.count("**") % 2 else message)


def _said_value(text: str, in_a_sentence: bool) -> str:
    """The value behind its words: the rest of the line, or else the lines below up to a blank one.

    A line with an open bracket, or a comma at its end, goes on. "" if a block or another label follows there.
    """
    line, _, rest = text.partition("\n")
    below = rest.strip().partition("\n\n")[0] if not line.strip() else ""
    goes_on = line.rstrip().endswith(",") or sum(map(line.count, "([{")) > sum(map(line.count, ")]}"))
    value = (below or (_BREAK.split(text.partition("\n\n")[0], maxsplit=1)[0] if goes_on else line)).strip()
    if in_a_sentence and (kind := _KIND.match(value)):
        value = value[kind.end() :]
    if code := _CODE.match(value):
        return code[2].strip()
    if PLACEHOLDER in value or value.endswith(":") or _HEADING.fullmatch(value):
        return ""
    if in_a_sentence and (reason := _REASON.search(value)) and not set("\"'") & set(value[: reason.start()]):
        value = value[: reason.start()]
    if (in_a_sentence and not below) or value[-2:-1] in "\"')]}*":
        value = value.removesuffix(".")
    return _without_marks(value.removesuffix("**") if value.count("**") % 2 else value)


def _boxed(text: str) -> str:
    r"""What the last \boxed{} of a text holds; "" without one."""
    depth, inner = 1, text.rpartition("\\boxed{")[2]
    for at, character in enumerate(inner if "\\boxed{" in text else ""):
        depth += (character == "{") - (character == "}")
        if not depth:
            return _TEXT.sub(r"\1", inner[:at]).replace("\\{", "{").replace("\\}", "}").strip()
    return ""


def _unlabelled(text: str, name: str) -> str:
    r"""An input's or output's block without what is around the value: "Output:", <output>, \boxed{}, "f(3) ==".

    `input: 1` may be a keyword argument and stays. What R prints of a vector, `[1] 2 3`, becomes c(2, 3).
    """
    value = text.strip()
    if name not in ("input", "output"):
        return text
    if name == "output" and value.startswith("[1]") and (elements := _printed_by_r(value)):
        return f"c({', '.join(elements)})"
    if value.startswith(("\\boxed{", "$\\boxed{")):
        return _boxed(value) or text
    if (start := _tag(name).match(value)) is not None:
        return _before_end(value[start.end() :], name)[0]
    for pattern in (_label_of(name), *((_RESULT, _ECHO) if name == "output" else ())):
        label = re.match(pattern, value, re.IGNORECASE | re.MULTILINE)
        if label and (name == "output" or not label[0].islower()):
            rest = value[label.end() :].strip()
            value = (label[0].rstrip(" \t*_")[-1:].isalpha() and _said_value(rest, in_a_sentence=True)) or rest
            break
    else:
        value = text
    value = _STATEMENT_END.sub("", value)
    return value[2:-2] if len(value) > 4 and value.startswith("**") and value.endswith("**") else value


def _printed_by_r(text: str) -> list[str]:
    """The elements of a vector of at least two, as R prints it: each line begins with the place of its first."""
    lines = [_PLACE_IN_R.match(line) for line in text.split("\n")]
    elements = [element for line in lines if line for element in _ELEMENT_OF_R.findall(line[1])]
    is_vector = all(lines) and len(elements) > 1 and all(map(_ATOM_OF_R.fullmatch, elements))
    return elements if is_vector else []


def _without_marks(text: str) -> str:
    """A text without the marks of inline code, bold print or a formula around all of it."""
    for mark, end in _MARKS:
        inner = text[len(mark) : -len(end)]
        is_block = mark == "```" and "\n" in inner
        if inner.strip() and text == f"{mark}{inner}{end}" and mark not in inner and not is_block:
            return _without_marks(inner)
    return text
