"""The entry function of a program: how often it is defined, and its renaming if the model did not name it f.

Programs are read by the language's definitions (`Language.definition`) and Pygments' tokens of the language, so that a
name in a string or a comment does not count.
"""

from __future__ import annotations

import re

from pygments.token import Name

from azr_jax.selfplay.comments import lexer_of
from executors.language import Language

ENTRY = "f"
_ANY_NAME = r"([^\W\d][\w.$'!?*>/-]*)"


def any_definition(language: Language) -> str:
    """A regular expression (multi-line) of the definition of any function at a program's top level; "" if not known."""
    return language.definition.replace("NAME", _ANY_NAME)


def definitions(language: Language, program: str) -> list[str]:
    """The names of the functions that a program defines at its top level, one for each definition."""
    return defined_names(any_definition(language), program)


def defined_names(pattern: str, program: str) -> list[str]:
    """The names that a regular expression of definitions finds, one for each; none if it is empty.

    A definition whose name is in no group of it is one of f: the pattern is of that function alone.
    """
    matches = re.finditer(pattern, program, re.MULTILINE) if pattern else ()
    return [next(filter(None, match.groups()), ENTRY) for match in matches]


def with_entry_named_f(language: Language, program: str) -> str:
    """The program without `Language.exports`, and with its only function renamed to f.

    The name stays if f is defined or named already, if there is not exactly one function (`Stack.new` in Lua and
    `Base.show` in Julia are methods), if its name also follows a dot, or if the language's definitions or tokens are
    not known.
    """
    if language.exports:
        program = re.sub(language.exports, "", program, flags=re.MULTILINE).strip("\n")
    names = set(definitions(language, program))
    if ENTRY in names:
        return program
    if len(names) > 1:
        names &= names_of(language, program) or set()  # a method's name is several tokens
    if len(names) != 1:
        return program
    text = renamed(language, program, names.pop(), ENTRY)
    return text if text is not None and ENTRY in definitions(language, text) else program


def names_of(language: Language, program: str) -> set[str] | None:
    """The names that a program uses or defines; None if the language's tokens are not known."""
    lexer = lexer_of(language.name)
    return None if lexer is None else {text for kind, text in lexer.get_tokens(program) if kind in Name}


def renamed(language: Language, program: str, old: str, new: str) -> str | None:
    """The program with a name changed wherever it occurs, except in strings and comments.

    None if that could change what the program does: `new` is a name of it already, `old` follows a dot (a method) or is
    a key (`{old: 1}`), or the language's tokens are not known.
    """
    lexer = lexer_of(language.name)
    name = re.escape(old)
    if lexer is None or re.search(rf"\.\s*{name}\b|[{{,]\s*{name}\s*:(?!:)", program):
        return None
    tokens = list(lexer.get_tokens(program))
    if any(kind in Name and text == new for kind, text in tokens):
        return None
    return "".join(new if kind in Name and text == old else text for kind, text in tokens)
