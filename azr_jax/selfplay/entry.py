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
    names = set(definitions(language, program))
    if len(names) != 1 or ENTRY in names or ENTRY in (names_of(language, program) or {ENTRY}):
        return program
    (name,) = names
    if re.search(rf"\.\s*{re.escape(name)}\b", program):
        return program
    text = renamed(language, program, name, ENTRY)
    return text if set(definitions(language, text)) == {ENTRY} else program


def names_of(language: Language, program: str) -> set[str] | None:
    """The names that a program uses or defines; None where the language's tokens are not known."""
    lexer = lexer_of(language.name)
    return None if lexer is None else {text for kind, text in lexer.get_tokens(program) if kind in Name}


def renamed(language: Language, program: str, old: str, new: str) -> str:
    """The program with a name changed wherever it stands, but in strings and comments; for known tokens alone."""
    lexer = lexer_of(language.name)
    assert lexer is not None  # names_of is asked first
    return "".join(new if kind in Name and text == old else text for kind, text in lexer.get_tokens(program))
