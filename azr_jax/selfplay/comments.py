"""Programs without their comments, for `selfplay.drop_comments`: a comment may tell a solver the answer."""

from __future__ import annotations

import functools
from typing import Any

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment
from pygments.util import ClassNotFound

from executors.language import Language


@functools.cache
def lexer_of(name: str) -> Lexer | None:
    """Pygments' lexer of a language, or None."""
    try:
        return get_lexer_by_name(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def without_comments(language: Language, program: str) -> str:
    """`program` without comments, and without the lines that held nothing else; strings (docstrings too) stay.

    Only comments that end with their line are dropped if the result would be another program by the language's
    canonical text, to which a comment within JavaScript's `${}` is text. Unchanged if that would be one too, or if
    Pygments does not know the language.
    """
    lexer = lexer_of(language.name)
    if lexer is None:
        return program
    tokens = list(lexer.get_tokens(program + "\n"))  # as some lexers' comments must end
    canonical = language.canonical_program(program)
    for kinds in (Comment, Comment.Single):
        bare = _without(tokens, kinds)
        if language.canonical_program(bare) == canonical:
            return bare.strip("\n")
    return program


def _without(tokens: list[tuple[Any, str]], kinds: Any) -> str:
    """The text of the tokens without comments of these kinds, and without the lines that held nothing else."""
    pieces: list[str] = []
    for kind, text in tokens:
        # A NUL for each line of a comment: it marks lines that may hold only comments.
        pieces.append("\0" + "\n\0" * text.count("\n") if kind in kinds and _is_comment(kind, text) else text)
    lines = "".join(pieces).split("\n")
    kept = [line for line in lines if "\0" not in line or line.strip("\0 \t")]
    return "\n".join(line.replace("\0", "").rstrip() if "\0" in line else line for line in kept)


def _is_comment(kind: Any, text: str) -> bool:
    """Whether it is a comment, and not read by a preprocessor or the system; `#;` in Lisps is a mark before one."""
    return kind in Comment and kind not in Comment.Preproc and kind is not Comment.Hashbang and text != "#;"
