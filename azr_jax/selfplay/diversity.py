"""How different programs are from each other, as numbers that fall when a proposer repeats itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

NGRAM = 4
_TOKEN = re.compile(r"\w+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Words, numbers and single other characters; white space separates and is dropped."""
    return _TOKEN.findall(text)


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every run of n tokens, in order; none of a text of fewer."""
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def diversity(programs: Sequence[str], outputs: Sequence[str]) -> dict[str, float]:
    """Shares in (0, 1] and a mean length, over some triplets' programs and outputs; nothing of none.

    `distinct_programs` and `distinct_outputs`: different texts among all. `distinct_4grams`: different runs of four
    tokens among all of them (distinct-n, Li et al. 2016, arXiv 1510.03055). `program_tokens`: mean number of tokens.
    """
    if not programs:
        return {}
    split = [tokens(program) for program in programs]
    grams = [gram for words in split for gram in ngrams(words, NGRAM)]
    metrics = {
        "distinct_programs": len({tuple(words) for words in split}) / len(split),
        "distinct_outputs": len(set(outputs)) / len(outputs),
        "program_tokens": sum(map(len, split)) / len(split),
    }
    return metrics | ({"distinct_4grams": len(set(grams)) / len(grams)} if grams else {})
