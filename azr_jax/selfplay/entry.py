"""The entry function of a program: how often it is defined, and its name where the model gave it another.

Programs are read by the language's own definitions (`Language.definition`) and Pygments' tokens of the language, so
that a name in a string or a comment is none.
"""

from __future__ import annotations

import re

from pygments.token import Name

from azr_jax.selfplay.comments import lexer_of
from executors.language import Language

ENTRY = "f"
_ANY_NAME = r"([^\W\d][\w.$'!?*>/-]*)"


def definitions(language: Language, program: str) -> list[str]:
    """The names of the functions that a program defines at its top level, one for each definition."""
    if not language.definition:
        return []
    pattern = language.definition.replace("NAME", _ANY_NAME)
    return [next(filter(None, match.groups())) for match in re.finditer(pattern, program, re.MULTILINE)]


def with_entry_named_f(language: Language, program: str) -> str:
    """The program with its only function renamed to f; as it is where that is not plain.

    It is not where f is defined or named, where there is not exactly one function, where its name stands behind a dot
    too (a method's), or where the language's definitions or tokens are not known.
    """
    names, lexer = set(definitions(language, program)), lexer_of(language.name)
    if len(names) != 1 or ENTRY in names or lexer is None:
        return program
    (name,) = names
    tokens = list(lexer.get_tokens(program))
    used = {text for kind, text in tokens if kind in Name}
    if ENTRY in used or re.search(rf"\.\s*{re.escape(name)}\b", program):
        return program
    renamed = "".join(ENTRY if kind in Name and text == name else text for kind, text in tokens)
    return renamed if set(definitions(language, renamed)) == {ENTRY} else program
