"""Canonical text of programs by Pygments: equal for programs that differ only in layout and comments.

Tried on 400 programs per language from the tests, corpora and benchmarks, with 20 one-place changes each: for Julia and
OCaml Pygments decides as hand-written lexers did; for R it differs if a space follows a minus (`- 1`), which splits one
program into two. Lua's folder keeps its own lexer: Pygments takes seconds for thousands of open brackets, and joins
`math.min` but not `math . min`. Racket's also does (`#;`, brackets of several shapes, `tree_size`), and JavaScript's
(line ends that end statements, regular expressions); Python has its own tokenizer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Literal


@functools.cache
def _lexer(name: str) -> Lexer:
    return get_lexer_by_name(name, stripnl=False)  # which ends the text with a line end, as some lexers' comments must


def folder(lexer: str, *, line_ends: bool = False, spaces: bool = False) -> Callable[[str], str]:
    """`Language.canonical_program` by the Pygments lexer of that name.

    Comments go, strings stay, any space is one space; with `line_ends` any space that holds a line end is one line end.
    Tokens without space between them get one, except with `spaces`, where a space may mean something (`[1 -2]`).
    """
    return functools.partial(_folded, lexer, line_ends, spaces)


def _folded(lexer: str, line_ends: bool, spaces: bool, source: str) -> str:
    pieces: list[str] = []
    gap, before = "", Comment
    for kind, text in _lexer(lexer).get_tokens(source):
        is_string = kind in Literal.String
        body = "" if kind in Comment else text if is_string else text.strip()
        lead, trail = ("", "") if is_string else _margins(text, body, kind in Comment)
        gap = _wider(gap, lead, line_ends)
        if not body:
            continue
        if pieces:
            glued = (
                spaces or (is_string and before in Literal.String) or (_in_word(pieces[-1][-1]) and _in_word(body[0]))
            )
            pieces.append(gap or ("" if glued else " "))
        pieces.append(body)
        gap, before = _wider("", trail, line_ends), kind
    return "".join(pieces)


def _margins(text: str, body: str, is_comment: bool) -> tuple[str, str]:
    """The space before and after `body` in the text of its token; a comment is space, with a line end at its end."""
    if is_comment:
        return " " + text[len(text.rstrip()) :], ""
    if not body:
        return text, ""
    before, _, behind = text.partition(body)
    return before, behind


def _wider(gap: str, space: str, line_ends: bool) -> str:
    if line_ends and ("\n" in space or gap == "\n"):
        return "\n"
    return gap or (space and " ")


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"
