"""MultiPL-E's tests taken apart: which calls of the candidate are made, and what each must equal.

A sound judge runs the calls in the process of the program and compares elsewhere, so that no expected value and no
assertion is ever in that process. The tests have one fixed form in each language; a test text of another form is None
here and is judged in MultiPL-E's own way.
"""

from __future__ import annotations

import dataclasses
import re

_CLOSERS = {"(": ")", "[": "]", "{": "}"}


@dataclasses.dataclass(frozen=True, slots=True)
class Tests:
    """`function`: the name that the tests test. `calls`: texts `candidate(...)`; `expected`: a text for each.

    `tolerance` is check-within's third argument (Racket), else empty.
    """

    function: str
    calls: tuple[str, ...]
    expected: tuple[str, ...]
    tolerance: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """How a language's tests are written: a whole text, and one assertion up to the candidate's call.

    quotes: the marks that strings stand in. ends_at_space: an expected value is one datum, which white space ends.
    """

    whole: re.Pattern[str]
    opening: str
    between: re.Pattern[str]
    closing: re.Pattern[str]
    call: str = "candidate("
    quotes: str = '"'
    ends_at_space: bool = False


_FORMS = {
    "jl": _Form(
        re.compile(r"\s*using Test\s+@testset begin\s+candidate = ([^;\n]+);\n(.*)\nend\s*\Z", re.DOTALL),
        "@test(",
        re.compile(r" == "),
        re.compile(r"\)"),
    ),
    "js": _Form(
        re.compile(
            r"\s*const assert = require\('node:assert'\);\s+function test\(\) \{\n\s*let candidate = ([^;\n]+);\n"
            r"(.*)\n\}\s+test\(\);\s*\Z",
            re.DOTALL,
        ),
        "assert.deepEqual(",
        re.compile(r",\s*"),
        re.compile(r"\);"),
    ),
    "lua": _Form(
        re.compile(
            r"\s*lu = require\('luaunit'\)\s+function test_humaneval\(\)\s*\n\s*local candidate = ([^\n]+)\n(.*)\n"
            r"end\s+os\.exit\(lu\.LuaUnit\.run\(\)\)\s*\Z",
            re.DOTALL,
        ),
        "lu.assertEquals(",
        re.compile(r",\s*"),
        re.compile(r"\)"),
        quotes="\"'",
    ),
    "ml": _Form(
        re.compile(r"\s*let assertions =\s+let candidate = ([^\n]+) in\n(.*)\n\s*\(\)\s*\Z", re.DOTALL),
        "(assert (",
        re.compile(r" = "),
        re.compile(r"\)\);"),
        "(candidate",
    ),
    "r": _Form(
        re.compile(
            r"\s*test_humaneval <- function\(\) \{\s*\n\s*candidate <- ([^\n]+)\n(.*)\n\}\s+test_humaneval\(\)\s*\Z",
            re.DOTALL,
        ),
        "stopifnot(isTRUE(all.equal(",
        re.compile(r",\s*"),
        re.compile(r"\)\)\)"),
        quotes="\"'",
    ),
    "rkt": _Form(
        re.compile(
            r"\s*\(require rackunit\)\s+\(define \(test-humaneval\)\s+\(let \(\(\s*candidate ([^\s()]+)\)\)\n"
            r"(.*)\n?\s*\)\)\s+\(test-humaneval\)\s*\Z",
            re.DOTALL,
        ),
        "(check-within ",
        re.compile(r"\s+"),
        re.compile(r"\s+([0-9.]+)\)"),
        "(candidate",
        ends_at_space=True,
    ),
}


def parse(language: str, tests: str) -> Tests | None:
    """The assertions of a MultiPL-E test text in its suffix `language`; None when it has another form."""
    form = _FORMS.get(language)
    match = form.whole.fullmatch(tests) if form else None
    if form is None or match is None:
        return None
    function, body = match.groups()
    calls, expected, tolerance, at = [], [], [], 0
    while at < len(body):
        if body[at].isspace():
            at += 1
            continue
        if not body.startswith(form.opening + form.call, at):
            return None
        begin = at + len(form.opening)
        call_end = _end_of_group(body, begin + form.call.index("("), form.quotes)
        between = form.between.match(body, call_end) if call_end else None
        if call_end is None or between is None:
            return None
        end = _end_of_value(body, between.end(), form)
        closing = form.closing.match(body, end) if end else None
        if end is None or closing is None:
            return None
        calls.append(body[begin:call_end])
        expected.append(body[between.end() : end])
        tolerance.extend(closing.groups())
        at = closing.end()
    return Tests(function.strip(), tuple(calls), tuple(expected), tuple(tolerance)) if calls else None


def _end_of_string(text: str, at: int) -> int | None:
    """The end of the string literal that starts at `at` with its quotation mark."""
    quote = text[at]
    position = at + 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == quote:
            return position + 1
        else:
            position += 1
    return None


def _end_of_group(text: str, at: int, quotes: str) -> int | None:
    """The end of the bracketed group that starts at `at`, strings inside it skipped."""
    expected: list[str] = []
    while at < len(text):
        character = text[at]
        if character in quotes:
            end = _end_of_string(text, at)
            if end is None:
                return None
            at = end
            continue
        if character in _CLOSERS:
            expected.append(_CLOSERS[character])
        elif character in ")]}":
            if not expected or expected.pop() != character:
                return None
            if not expected:
                return at + 1
        at += 1
    return None


def _end_of_value(text: str, at: int, form: _Form) -> int | None:
    """The end of one value: where the assertion's own bracket closes, or for Racket the end of one datum."""
    while at < len(text):
        character = text[at]
        if character in form.quotes:
            end = _end_of_string(text, at)
        elif character in _CLOSERS:
            end = _end_of_group(text, at, form.quotes)
        elif character in ")]}" or (form.ends_at_space and character.isspace()):
            return at
        else:
            end = at + 1
        if end is None:
            return None
        at = end
    return None
