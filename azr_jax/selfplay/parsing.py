"""A response's text becomes an `Answer`, or an `Invalid` with a fixed word. Every step is linear in the text.

The format (the paper's Listing 1; the prompt ends with "Assistant: <think>", so a response starts inside `<think>`):

    reasoning </think> <answer> fenced blocks </answer>

Rules, as a strict grader reads them:
- The answer starts at the LAST `</think>` that is followed by `<answer>` with nothing but white space between. What is
  before it is reasoning and may hold anything: a repeated `<think>`, quoted tags, drafts, "Assistant:".
- It ends at the last `</answer>`, after which only white space may follow. A response that goes on after its answer
  is refused (`trailing_text`). So exactly one answer is graded, the last, and never the best of several.
- An opening fence is a line of at least three backticks, not indented, and a tag without backticks. A closing fence is
  a line that holds nothing but at least as many backticks, not indented. Shorter fences, indented fences and backticks
  within a line are part of the block, so code that holds fences goes into a longer fence (as `prompts.fenced` makes).
- Prose between blocks, and blocks of other tags, are ignored. A block that the task asks for once and that is there
  twice is refused (`repeated_block`): the grader does not choose.
- CRLF and CR become LF. A block with a NUL or a lone surrogate is refused (`bad_characters`); U+FFFD is a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from azr_jax.types import Answer, Invalid, Role, TaskType

REASONS: tuple[str, ...] = (
    "no_think_end",
    "no_answer",
    "answer_not_closed",
    "trailing_text",
    "unclosed_fence",
    "missing_program",
    "missing_input",
    "missing_output",
    "missing_message",
    "repeated_block",
    "too_few_inputs",
    "empty_block",
    "bad_characters",
    "too_long",
)

# Possessive quantifiers: a failed match is not tried again with less, which keeps hostile text linear.
_ANSWER_START = re.compile(r"</think>\s*+<answer>")
_OPENING = re.compile(r"(`{3,}+)([^`]*+)")
_CLOSING = re.compile(r"(`{3,}+)[ \t]*+")

# In place of the tags of a program: any but those of the other blocks.
ANY_TAG = ("*",)
_OTHER_TAGS = ("input", "output", "message")

# The blocks each task asks for, in the order of the prompts. "program" stands for the language's own tags.
_BLOCKS: dict[tuple[Role, TaskType], tuple[str, ...]] = {
    (Role.PROPOSE, TaskType.DEDUCTION): ("program", "input"),
    (Role.PROPOSE, TaskType.ABDUCTION): ("program", "input"),
    (Role.PROPOSE, TaskType.INDUCTION): ("message", "inputs"),
    (Role.SOLVE, TaskType.DEDUCTION): ("output",),
    (Role.SOLVE, TaskType.ABDUCTION): ("input",),
    (Role.SOLVE, TaskType.INDUCTION): ("program",),
}


def parse(
    role: Role,
    task_type: TaskType,
    response_text: str,
    *,
    fence_tags: tuple[str, ...],
    induction_inputs: int,
    max_program_chars: int,
) -> Answer | Invalid:
    """What a response to one of the six tasks answers.

    Args:
      role: who answers.
      task_type: what kind of task it is.
      response_text: the response without its end token, `</answer>` included (a sampler that stops on it keeps it).
      fence_tags: the tags of a program block, the language's own and its aliases; case does not matter. ANY_TAG takes
        a block of any tag that no other block has, or of none, for a program: what it is in, the executor finds out.
      induction_inputs: inputs that an induction proposer has to write; further ones are dropped.
      max_program_chars: characters that any one block may have.

    Returns:
      An Answer with the task's fields filled, none of them empty, or an Invalid whose reason is one of `REASONS`.
    """
    body = _answer_body(response_text.replace("\r\n", "\n").replace("\r", "\n"))
    if isinstance(body, Invalid):
        return body
    programs = frozenset(tag.lower() for tag in fence_tags)
    blocks: dict[str, list[str]] = {"program": [], "input": [], "output": [], "message": []}
    for tag, text in _blocks(body):
        if text is None:
            return Invalid("unclosed_fence", f"the block tagged {tag[:40]!r} has no closing fence")
        if tag in _OTHER_TAGS:
            blocks[tag].append(text)
        elif tag in programs or fence_tags == ANY_TAG:
            blocks["program"].append(text)
    fields: dict[str, str | tuple[str, ...]] = {}
    for wanted in _BLOCKS[role, task_type]:
        value = _inputs(blocks["input"], induction_inputs) if wanted == "inputs" else _single(blocks[wanted], wanted)
        if isinstance(value, Invalid):
            return value
        for text in (value,) if isinstance(value, str) else value:
            if (problem := _check_text(text, max_program_chars)) is not None:
                return problem
        fields[wanted] = value
    return Answer(**fields)  # pyright: ignore[reportArgumentType]  # the keys are Answer's own, by _BLOCKS


def _answer_body(text: str) -> str | Invalid:
    """What stands between the answer's tags."""
    if "</think>" not in text:
        return Invalid("no_think_end")
    start = -1
    for match in _ANSWER_START.finditer(text):
        start = match.end()
    if start < 0:
        return Invalid("no_answer", "no <answer> follows </think>")
    end = text.rfind("</answer>", start)
    if end < 0:
        return Invalid("answer_not_closed")
    if text[end + len("</answer>") :].strip():
        return Invalid("trailing_text", "text follows </answer>")
    return text[start:end].strip()


def _blocks(body: str) -> Iterator[tuple[str, str | None]]:
    """(tag in lower case, text) of each fenced block; a block that is not closed has the text None and is the last."""
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


def _single(texts: list[str], name: str) -> str | Invalid:
    if not texts:
        return Invalid(f"missing_{name}")
    if len(texts) > 1:
        return Invalid("repeated_block", f"{len(texts)} {name} blocks")
    # A program's first line may be indented; everything else is an expression or prose.
    return texts[0].rstrip().lstrip("\n") if name == "program" else texts[0].strip()


def _inputs(texts: list[str], count: int) -> tuple[str, ...] | Invalid:
    if len(texts) < count:
        return Invalid("too_few_inputs", f"{len(texts)} of {count}")
    return tuple(text.strip() for text in texts[:count])


def _check_text(text: str, max_chars: int) -> Invalid | None:
    if not text:
        return Invalid("empty_block")
    if len(text) > max_chars:
        return Invalid("too_long", f"{len(text)} characters, at most {max_chars}")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return Invalid("bad_characters", "NUL or a lone surrogate")
    return None
