"""Whether a program printed what its test expects."""

from __future__ import annotations

import math

_TOLERANCE = 1e-6


def same(actual: str, expected: str, how: str) -> bool:
    """Compares by one of jobs.COMPARISONS, which `Job` describes."""
    if how == "exact":
        return actual == expected
    if how == "trimmed":
        return _trimmed(actual) == _trimmed(expected)
    words, wanted = actual.split(), expected.split()
    return len(words) == len(wanted) and all(map(_same_word, words, wanted))


def _trimmed(text: str) -> list[str]:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip().split("\n")


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    try:
        return math.isclose(float(word), float(wanted), rel_tol=0.0, abs_tol=_TOLERANCE * max(1.0, abs(float(wanted))))
    except ValueError:
        return False
