"""Takes MultiPL-E's tests apart: the calls of the candidate, and what each must equal.

A sound judge runs the calls in the process of the program and compares elsewhere, so that no expected value and no
assertion is ever in that process. The tests have one fixed form in each language; a test text of another form is None
here and is judged in MultiPL-E's own way.
"""

from __future__ import annotations

import functools
import re

from azr_jax.evaluation.languages.record import Form, Tests

_CLOSERS = {"(": ")", "[": "]", "{": "}"}


@functools.lru_cache(maxsize=4096)
def parse(form: Form | None, tests: str) -> Tests | None:
    """The assertions of a test text; None if it has another form than the language's."""
    match = form.whole.fullmatch(tests) if form else None
    if form is None or match is None:
        return None
    function, body = match.groups()
    calls, expected, tolerance, at = [], [], [], 0
    while at < len(body):
        if body[at].isspace():
            at += 1
            continue
        if not body.startswith(form.opening, at):
            return None
        taken = (_value_and_call if form.expected_first else _call_and_value)(body, at + len(form.opening), form)
        closing = form.closing.match(body, taken[2]) if taken else None
        if taken is None or closing is None:
            return None
        calls.append(taken[0])
        expected.append(taken[1])
        tolerance.extend(closing.groups())
        at = closing.end()
    return Tests(function.strip(), tuple(calls), tuple(expected), tuple(tolerance)) if calls else None


def _call_and_value(text: str, at: int, form: Form) -> tuple[str, str, int] | None:
    """The call, the expected value after it and where that ends; None if they are missing."""
    call_end = _end_of_call(text, at, form)
    between = form.between.match(text, call_end) if call_end else None
    end = _end_of_value(text, between.end(), form) if between else None
    if call_end is None or between is None or end is None:
        return None
    return text[at:call_end], text[between.end() : end], end


def _value_and_call(text: str, at: int, form: Form) -> tuple[str, str, int] | None:
    """The same for a form with the expected value first: it ends where the call begins."""
    begins = re.compile(f"{form.between.pattern}(?={re.escape(form.call)})")
    value_end = _end_of_value(text, at, form, begins)
    between = begins.match(text, value_end) if value_end else None
    end = _end_of_call(text, between.end(), form) if between else None
    if value_end is None or between is None or end is None:
        return None
    return text[between.end() : end], text[at:value_end], end


def _end_of_call(text: str, at: int, form: Form) -> int | None:
    if not text.startswith(form.call, at):
        return None
    return _end_of_group(text, at + form.call.index("("), form.quotes)


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


def _end_of_value(text: str, at: int, form: Form, before: re.Pattern[str] | None = None) -> int | None:
    """The end of one value: where the assertion's bracket closes or `before` matches; for Racket, of one datum."""
    while at < len(text):
        if before and before.match(text, at):
            return at
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
