"""Whether a program printed what its test expects."""

from __future__ import annotations

import decimal
import math
import re

_TOLERANCE = 1e-6
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)
# More digits than any output has: no value is rounded, however long its text.
_EXACT = decimal.Context(prec=decimal.MAX_PREC, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


def same(actual: str, expected: str, how: str) -> bool:
    """Compares by one of jobs.COMPARISONS, which `Job` describes."""
    match how:
        case "exact":
            return actual == expected
        case "trimmed":
            return _trimmed(actual) == _trimmed(expected)
        case "decimals":
            lines, wanted = ([line.strip() for line in text.strip().split("\n")] for text in (actual, expected))
            return len(lines) == len(wanted) and all(map(_same_decimals, lines, wanted))
    words, wanted = actual.split(), expected.split()
    return len(words) == len(wanted) and all(map(_same_word, words, wanted))


def _trimmed(text: str) -> list[str]:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip().split("\n")


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    if not (_NUMBER.fullmatch(word) and _NUMBER.fullmatch(wanted)):
        return False
    if _WHOLE.fullmatch(word) and _WHOLE.fullmatch(wanted):
        return _value(word) == _value(wanted)
    number, right = float(word), float(wanted)
    if math.isnan(number) or math.isnan(right):
        return math.isnan(number) and math.isnan(right)
    # A number beyond the range of floats is not close to another.
    if math.isinf(number) or math.isinf(right):
        return _value(word) == _value(wanted)
    return math.isclose(number, right, rel_tol=0.0, abs_tol=_TOLERANCE * max(1.0, abs(right)))


def _same_decimals(line: str, wanted: str) -> bool:
    if line == wanted:
        return True
    words, right = line.split(), wanted.split()
    if len(words) != len(right) or not all(map(_NUMBER.fullmatch, (*words, *right))):
        return False
    return all(_value(word) == _value(number) for word, number in zip(words, right, strict=True))


def _value(word: str) -> decimal.Decimal:
    return decimal.Decimal(word, _EXACT)
