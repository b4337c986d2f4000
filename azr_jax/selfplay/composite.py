"""Composite proposals: a new program calls the function of an earlier one, as g.

As in the public Absolute Zero code, whose proposers are asked for programs that call given functions: tasks grow in
steps instead of starting anew. The solver sees one program, with g before f.
"""

from __future__ import annotations

import dataclasses
import itertools
import re

from azr_jax.config import SelfplaySettings
from azr_jax.selfplay.entry import ENTRY, definitions, names_of, renamed
from azr_jax.types import Answer, Invalid
from executors.language import Language

GIVEN = "g"


def composite_share(settings: SelfplaySettings, step: int) -> float:
    """The share of a step's deduction and abduction proposals that are given a function.

    `composite_share` from step `composite_to` on, rising linearly from 0 at step `composite_from`.
    """
    if step >= settings.composite_to:
        return settings.composite_share
    risen = (step - settings.composite_from) / max(1, settings.composite_to - settings.composite_from)
    return settings.composite_share * max(0.0, risen)


def given_function(language: Language, program: str) -> str | None:
    """The program with f renamed to g, and what was g in it, as in a composite program, to the first free g1, g2, ...

    None if it defines no f, or a name cannot be changed (`entry.renamed`).
    """
    names = names_of(language, program)
    if names is None or ENTRY not in definitions(language, program):
        return None
    text: str | None = program
    if GIVEN in names:
        free = next(name for number in itertools.count(1) if (name := f"{GIVEN}{number}") not in names)
        text = renamed(language, program, GIVEN, free)
    given = text and renamed(language, text, ENTRY, GIVEN)
    return given if given and GIVEN in definitions(language, given) else None


def composed(language: Language, given: str, answer: Answer) -> Answer | Invalid:
    """The answer with the given functions before its program; Invalid if it does not name g, or defines one of them."""
    if again := set(definitions(language, given)) & set(definitions(language, answer.program)):
        return Invalid("redefines_given", f"the program defines {min(again)}, which is given")
    if GIVEN not in (names_of(language, answer.program) or ()):
        return Invalid("does_not_call_given", "the program does not call g, which is given")
    return dataclasses.replace(answer, program=_together(language, given, answer.program))


def _together(language: Language, first: str, second: str) -> str:
    """Both programs in one text: lines that must come first in a file come first, once each."""
    if not language.header:
        return f"{first.rstrip()}\n\n{second}"
    header = re.compile(language.header, re.MULTILINE)
    lines = dict.fromkeys(line.strip() for text in (first, second) for line in header.findall(text))
    bodies = [header.sub("", text).strip("\n") for text in (first, second)]
    return "\n".join([*lines, "\n\n".join(bodies)])
