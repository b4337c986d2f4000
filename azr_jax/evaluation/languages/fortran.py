"""Fortran: McEval's programs, whose main program with the tests comes first, and programs of standard input."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage

_CONTAINS = re.compile(r"^[ \t]*contains\b", re.MULTILINE | re.IGNORECASE)


def _own_program(program: str, tests: str, print_mark: str) -> str:
    """The main program prints the mark at its end; the functions of the completion are among its own."""
    marked, count = _CONTAINS.subn(f"{print_mark}\ncontains", tests, count=1)
    return f"{marked}\n{program}" if count else f"{tests}\n{print_mark}\n{program}"


LANGUAGE = BenchmarkLanguage(
    name="fortran",
    in_multipl_e=False,
    own_program=_own_program,
    print_mark='print *, "{{mark}}"',
    wrong_body="    stop 1\n",
)
