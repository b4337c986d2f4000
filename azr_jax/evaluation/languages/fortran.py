"""Fortran: McEval's programs, whose main program with the tests comes first, and programs of standard input."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, filled

_CONTAINS = re.compile(r"^[ \t]*contains\b", re.MULTILINE | re.IGNORECASE)


def _own_program(program: str, tests: str, print_mark: str) -> str:
    """The main program prints the mark at its end; the functions of the completion are among its own."""
    marked, count = _CONTAINS.subn(f"{print_mark}\ncontains", tests, count=1)
    return f"{marked}\n{program}" if count else f"{tests}\n{print_mark}\n{program}"


_ASSERT = re.compile(r"^[ \t]*call\s+assert\s*\(([^\n!]*)\)[ \t]*(?:![^\n]*)?$", re.MULTILINE | re.IGNORECASE)
_LEFT = re.compile(r"^[^\n!]*\bcall\s+assert\b", re.MULTILINE | re.IGNORECASE)
# By way of a text, since a function that prints can't be called while the same unit is written.
_WRITE = """block
character(len=65536) :: azr_line
write (azr_line, '(*(g0,:," "))') "{{mark}}", {{value}}
write (*, '(a)') trim(azr_line)
end block"""
_LITERAL = r"""(?:[-+]?[\d.][\w.]*(?:[-+]\d+)?|'[^']*'|"[^"]*"|\.true\.|\.false\.)"""
# With brackets in them up to two levels deep.
_BRACKETS = r"(?:\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))"
_TERM = re.compile(
    rf"(?P<all>all\s*\(\s*)?(?P<value>(?:\.not\.\s*)?[a-z][\w%]*\s*{_BRACKETS}?)"
    rf"(?:\s*(?:==|\.eq\.|\.eqv\.)\s*(?:{_LITERAL}|\[\s*{_LITERAL}(?:\s*,\s*{_LITERAL})*\s*\])\s*(?(all)\)))?",
    re.IGNORECASE | re.DOTALL,
)


def _printed(program: str, tests: str, mark: str) -> str | None:
    """Each assertion that compares with literals, joined by .and., prints what it compares and nothing else."""
    contains = _CONTAINS.search(tests)
    main, rest = (tests[: contains.start()], tests[contains.start() :]) if contains else (tests, "")
    form_is_known = bool(_ASSERT.search(main))

    def prints(assertion: re.Match[str]) -> str:
        nonlocal form_is_known
        lines = []
        for text in re.split(r"\.and\.", assertion[1], flags=re.IGNORECASE):
            term = _TERM.fullmatch(text.strip())
            # A value with an equality in it would bring what is expected along.
            form_is_known &= term is not None and not re.search(r"==|\.eqv?\.", term["value"], re.IGNORECASE)
            lines += [filled(_WRITE, mark=mark, value=term["value"])] if term else []
        return "\n".join(lines)

    main = _ASSERT.sub(prints, main)
    if not form_is_known or _LEFT.search(main):
        return None
    return f'{main}\nprint *, "{mark}"\n{rest}\n{program}'


LANGUAGE = BenchmarkLanguage(
    name="fortran",
    in_multipl_e=False,
    own_program=_own_program,
    printed=_printed,
    print_mark='print *, "{{mark}}"',
    wrong_body="    stop 1\n",
)
