"""Which programs of a step are near copies of each other, and what that costs their proposers."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NGRAM = 4
_TOKEN = re.compile(r"\w+|[^\w\s]")

# Two programs are near copies when they share more than half of their 4-grams of tokens.
_NEAR = 0.5


def tokens(text: str) -> list[str]:
    """Words, numbers and single other characters; white space separates and is dropped."""
    return _TOKEN.findall(text)


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every run of n tokens, in order; none of a text of fewer."""
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def cluster_sizes(programs: Sequence[str]) -> list[int]:
    """How many of the programs lie in each one's cluster, itself included; in their order.

    A cluster is what near copies join: programs of which |A & B| / |A | B| is above one half, A and B the sets of their
    4-grams of tokens (Jaccard), and what is near to either. R-Zero (arXiv 2508.05004) clusters
    by BLEU; Jaccard is symmetric and takes a fraction of the time.
    """
    grams = [grams_of(tokens(program)) for program in programs]
    roots = list(range(len(programs)))

    def root(index: int) -> int:
        while roots[index] != index:
            roots[index] = roots[roots[index]]
            index = roots[index]
        return index

    for right in range(len(programs)):
        for left in range(right):
            if _similarity(grams[left], grams[right]) > _NEAR:
                roots[root(left)] = root(right)
    ends = [root(index) for index in range(len(programs))]
    return [ends.count(end) for end in ends]


def repetition_penalties(programs: Sequence[str]) -> list[float]:
    """(size of a program's cluster - 1) / number of programs, for each: 0 for one like no other, at most near 1.

    R-Zero subtracts a multiple of |C| / B; without the program itself, a step without repetition has no penalty.
    """
    return [(size - 1) / len(programs) for size in cluster_sizes(programs)]


def grams_of(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """The 4-grams; of a text of fewer tokens, the text itself, so that no set is empty."""
    return frozenset(ngrams(words, _NGRAM) or [tuple(words)])


def _similarity(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> float:
    if min(len(left), len(right)) <= _NEAR * max(len(left), len(right)):
        return 0.0  # cannot be above _NEAR
    return len(left & right) / len(left | right)
