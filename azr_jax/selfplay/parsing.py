"""A response's text becomes an `Answer`, or an `Invalid` with a fixed reason. Every step is linear in the text.

The format (the paper's Listing 1; the prompt ends with "Assistant: <think>", so a response starts inside `<think>`):

    reasoning </think> <answer> fenced blocks </answer>

`selfplay.format` says how strictly it is checked.

"azr", as the public Absolute Zero code grades: the tags in this order, in any case, nothing but white space between
`</think>` and `<answer>`; what follows `</answer>` is ignored, and so are further turns of the conversation that a
model makes up. The answer is the last `<answer>`; `choosing` says which of its blocks count. If the format is not
required, as in estimating acc, the answer may lack its tags: it is then what follows the reasoning, or all of the text.

"strict", as a grader that refuses any deviation:
- The answer starts at the LAST `</think>` that is followed by `<answer>` with nothing but white space between. What is
  before it is reasoning and may hold anything: a repeated `<think>`, quoted tags, drafts, "Assistant:".
- It ends at the last `</answer>`, after which only white space may follow (`trailing_text`). So exactly one answer is
  graded, the last, and never the best of several.
- Blocks are those of `fences.strict_blocks`, so code that holds fences goes into a longer fence (as `prompts.fenced`
  makes). Prose between blocks, and blocks of other tags, are ignored. A block that the task asks for once and that is
  there twice is refused (`repeated_block`): the grader does not choose.

In both, CRLF and CR become LF, and a block with a NUL or a lone surrogate is refused; U+FFFD is a character.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import textwrap

from azr_jax.selfplay.choosing import ANY_TAG, Choice, answered
from azr_jax.selfplay.fences import VALUE_TAGS, loose_blocks, strict_blocks
from azr_jax.types import Answer, Invalid, Role, TaskType

# Every reason of `parse`, with its meaning.
REASONS: dict[str, str] = {
    "no_think_end": "the reasoning does not end: there is no </think>",
    "no_answer": "no <answer> follows </think>",
    "answer_not_closed": "the answer does not end: there is no </answer>",
    "trailing_text": "text follows </answer>",
    "unclosed_fence": "a fenced block is not closed",
    "missing_program": "there is no fenced block with the language's tag",
    "missing_input": "there is no fenced block with the tag input",
    "missing_output": "there is no fenced block with the tag output",
    "missing_message": "there is no fenced block with the tag message",
    "repeated_block": "a block that is asked for once is there several times",
    "too_few_inputs": "there are fewer inputs than asked for",
    "empty_block": "a block is empty",
    "bad_characters": "a block holds a NUL or half of a surrogate pair",
    "too_long": "a block has more characters than selfplay.max_program_chars",
}

_SHOWN_TAGS = 10
_ANSWER_START = re.compile(r"</think>\s*+<answer>")

_TAGS = ("</think>", "<answer>", "</answer>")
_ANY_CASE_TAG = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_ANY_CASE_START = re.compile(r"</think>\s*+<answer>", re.IGNORECASE)

# What begins the model's own turn: behind its response it is the next one, which it makes up.
_OWN_TURN = re.compile(r"\n[ \t]*+Assistant[ \t]*+:[ \t]*+<think>|<\|im_(?:start|end)\|>|<\|endoftext\|>")
_OTHER_TURN = re.compile(r"\n[ \t]*+(?:(?:User|Human)[ \t]*+:|#++[ \t]*+Task\b)")

# The blocks each task asks for, in the order of the prompts. "program" stands for the language's own tags.
_BLOCKS: dict[tuple[Role, TaskType], tuple[str, ...]] = {
    (Role.PROPOSE, TaskType.DEDUCTION): ("program", "input"),
    (Role.PROPOSE, TaskType.ABDUCTION): ("program", "input"),
    (Role.PROPOSE, TaskType.INDUCTION): ("message", "inputs"),
    (Role.SOLVE, TaskType.DEDUCTION): ("output",),
    (Role.SOLVE, TaskType.ABDUCTION): ("input",),
    (Role.SOLVE, TaskType.INDUCTION): ("program",),
    (Role.SOLVE, TaskType.PROBLEMS): ("program",),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """How responses are read.

    format: "azr" or "strict". fence_tags: the tags of a program block, the language's own and its aliases, in any case.
    ANY_TAG takes a block of any tag that no other block has, or of none, for a program: the executor finds out its
    language. induction_inputs: inputs that an induction proposer has to write; further ones are dropped.
    max_program_chars: characters that any one block may have. definition: a regular expression (multi-line) that finds
    the definition of a function in a program, by which "azr" tells programs from calls of them; empty: not known.
    may_be_body: a program may be a function's body alone, whose indentation is kept.
    """

    format: str
    fence_tags: tuple[str, ...]
    induction_inputs: int
    max_program_chars: int
    definition: str = ""
    may_be_body: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """A parsed response: its answer if the format is required (`checked`), and if it is not (`answer`)."""

    checked: Answer | Invalid
    answer: Answer | Invalid

    @property
    def formatted(self) -> bool:
        """Whether the format is kept."""
        return isinstance(self.checked, Answer)


def parse(role: Role, task_type: TaskType, text: str, form: Form) -> Answer | Invalid:
    """What a response to a task answers, if it keeps the format.

    Args:
      role: who answers.
      task_type: what kind of task it is.
      text: the response without its end token, `</answer>` included (a sampler that stops on it keeps it).
      form: how it is read.

    Returns:
      An Answer with the task's fields filled, none of them empty, or an Invalid whose reason is one of `REASONS`.
    """
    return _parsed(role, task_type, text, form, ask_format=True)


def read(role: Role, task_type: TaskType, text: str, form: Form) -> Reading:
    """As `parse`, but with "azr" an answer is found without the format too; "strict" finds none without it."""
    checked = parse(role, task_type, text, form)
    if isinstance(checked, Answer) or form.format == "strict":
        return Reading(checked, checked)
    return Reading(checked, _parsed(role, task_type, text, form, ask_format=False))


def _parsed(role: Role, task_type: TaskType, text: str, form: Form, ask_format: bool) -> Answer | Invalid:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    strict = form.format == "strict"
    body = _strict_body(text) if strict else _loose_body(text, ask_format)
    if isinstance(body, Invalid):
        return body
    asked = _BLOCKS[role, task_type]
    choice = Choice(form.fence_tags, form.definition)
    blocks = _strict_texts(body, form) if strict else answered(body, asked, choice)
    if isinstance(blocks, Invalid):
        return blocks
    fields: dict[str, str | tuple[str, ...]] = {}
    for name in asked:
        if name == "inputs":
            value = _inputs(blocks["input"], form.induction_inputs)
        else:
            value = _single(blocks[name], name) if strict else _last(blocks[name], name)
            if name == "program" and isinstance(value, str) and value[:1] in (" ", "\t"):
                value = value if strict or form.may_be_body else textwrap.dedent(value)
        if isinstance(value, Invalid):
            return value if value.detail else dataclasses.replace(value, detail=_tags_of(body, form))
        for part in (value,) if isinstance(value, str) else value:
            if (problem := _check_text(part, name, form.max_program_chars)) is not None:
                return problem
        fields[name] = value
    return Answer(**fields)  # pyright: ignore[reportArgumentType]  # the keys are Answer's own, by _BLOCKS


def _strict_body(text: str) -> str | Invalid:
    """The text between the answer's tags; nothing may follow them."""
    start = _answer_start(text)
    if isinstance(start, Invalid):
        return start
    end = text.rfind("</answer>", start)
    if end < 0:
        return Invalid("answer_not_closed")
    if text[end + len("</answer>") :].strip():
        return Invalid("trailing_text")
    return text[start:end].strip()


def _loose_body(text: str, ask_format: bool) -> str | Invalid:
    """The text between the last answer's tags; if the format is not required, as much of it as there is."""
    if not all(tag in text for tag in _TAGS) and _ANY_CASE_START.search(text):
        text = _ANY_CASE_TAG.sub(lambda tag: tag[0].lower(), text)
    text = _first_turn(text)
    start = _answer_start(text)
    if isinstance(start, int):
        end = text.find("</answer>", start)
        if end >= 0 or not ask_format:
            return _unpadded(text[start : end if end >= 0 else len(text)])
        start = Invalid("answer_not_closed")
    if ask_format:
        return start
    answer = text.rfind("<answer>")
    if answer >= 0:
        return _unpadded(text[answer + len("<answer>") :].partition("</answer>")[0])
    thought = text.rfind("</think>")
    return _unpadded(text[thought + len("</think>") :] if thought >= 0 else text)


def _unpadded(text: str) -> str:
    """The text without blank lines before it and white space behind it; its first line keeps its indentation."""
    return text.rstrip().lstrip("\n")


def _first_turn(text: str) -> str:
    """The text up to the next turns of a conversation that the model makes up."""
    own = _OWN_TURN.search(text)
    if own is None:
        return text
    before = text[: own.start()]
    answer = _ANSWER_START.search(before)
    end = before.find("</answer>", answer.end()) if answer else -1
    # The turn of whoever asks comes first: behind a complete answer, or else the last that could be one.
    others = list(_OTHER_TURN.finditer(before, max(end, 0)))
    return before[: others[0 if end >= 0 else -1].start()] if others else before


def _answer_start(text: str) -> int | Invalid:
    if "</think>" not in text:
        return Invalid("no_think_end")
    start = -1
    for match in _ANSWER_START.finditer(text):
        start = match.end()
    return Invalid("no_answer") if start < 0 else start


def _strict_texts(body: str, form: Form) -> dict[str, list[str]] | Invalid:
    blocks: dict[str, list[str]] = {"program": [], "input": [], "output": [], "message": []}
    programs = frozenset(tag.lower() for tag in form.fence_tags)
    for tag, text in strict_blocks(body):
        if text is None:
            return Invalid("unclosed_fence", f"the block tagged {tag[:40]!r} has no closing fence")
        if tag in VALUE_TAGS:
            blocks[tag].append(text)
        elif tag in programs or form.fence_tags == ANY_TAG:
            blocks["program"].append(text)
    return blocks


def _tags_of(body: str, form: Form) -> str:
    """The tags of the answer's blocks, for the reader of a response that lacks one."""
    expected = frozenset((*(tag.lower() for tag in form.fence_tags), *VALUE_TAGS))
    blocks = strict_blocks(body) if form.format == "strict" else loose_blocks(body, expected)
    tags = [repr(tag[:40]) if tag else "none" for tag, *_ in itertools.islice(blocks, _SHOWN_TAGS)]
    return f"tags of its blocks: {', '.join(tags)}" if tags else "it has no fenced block"


def _single(texts: list[str], name: str) -> str | Invalid:
    if len(texts) > 1:
        return Invalid("repeated_block", f"{len(texts)} {name} blocks")
    return _last(texts, name)


def _last(texts: list[str], name: str) -> str | Invalid:
    if not texts:
        return Invalid(f"missing_{name}")
    texts = [text for text in texts if text.strip()] or texts
    # A program's first line may be indented; everything else is an expression or prose.
    return _unpadded(texts[-1]) if name == "program" else texts[-1].strip()


def _inputs(texts: list[str], count: int) -> tuple[str, ...] | Invalid:
    if len(texts) < count:
        return Invalid("too_few_inputs", f"{len(texts)} of {count}")
    return tuple(text.strip() for text in texts[:count])


def _check_text(text: str, name: str, max_chars: int) -> Invalid | None:
    if not text:
        return Invalid("empty_block", f"the {name}")
    if len(text) > max_chars:
        return Invalid("too_long", f"the {name} has {len(text)} characters, at most {max_chars}")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return Invalid("bad_characters", "NUL or a lone surrogate")
    return None
