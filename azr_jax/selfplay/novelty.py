"""Finds programs that are near copies of each other, by text or by behaviour, and penalises their proposers.

Programs that are alike, directly or through others, form a cluster.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

_NGRAM = 4
_TOKEN = re.compile(r"\w+|[^\w\s]")

# Two programs are near copies when they share more than half of their 4-grams of tokens.
_NEAR = 0.5

# The value texts of a program on the probe inputs, in their order; "" if it gave none.
Behaviour = tuple[str, ...]


def tokens(text: str) -> list[str]:
    """Words, numbers and single other characters; white space separates and is dropped."""
    return _TOKEN.findall(text)


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every run of n tokens, in order; none of a shorter text."""
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def alike_by_tokens(programs: Sequence[str]) -> list[int]:
    """The cluster of each program, as a number: A and B are alike if |A & B| / |A | B| is above one half.

    A and B are the sets of the programs' 4-grams of tokens (Jaccard). `programs` are canonical texts, so that comments
    and layout make nothing new.
    """
    grams = [grams_of(tokens(program)) for program in programs]
    return _joined(len(grams), lambda left, right: _similarity(grams[left], grams[right]) > _NEAR)


def alike_by_bleu(programs: Sequence[str]) -> list[int]:
    """The cluster of each program, as a number, as R-Zero (arXiv 2508.05004) clusters questions.

    The distance of two is 1 - BLEU of their tokens, here the mean of both directions; clusters are joined as long as
    the mean distance between their programs (average linkage) is at most one half.
    """
    counts = [_counts(tokens(program)) for program in programs]
    if len(counts) < 2:
        return list(range(len(counts)))
    from scipy.cluster import hierarchy  # here: it takes half a second, which no other run has to wait

    distances = [1.0 - (_bleu(a, b) + _bleu(b, a)) / 2 for a, b in itertools.combinations(counts, 2)]
    return hierarchy.fcluster(hierarchy.linkage(distances, "average"), 1.0 - _NEAR, "distance").tolist()


def alike_by_behaviour(behaviours: Sequence[Behaviour]) -> list[int]:
    """The cluster of each program, as a number: two are alike if they give the same values on all probe inputs.

    A program that gives no value on any of them is like no other.
    """
    return _joined(len(behaviours), lambda left, right: behaviours[left] == behaviours[right] and any(behaviours[left]))


def _joined(count: int, alike: Callable[[int, int], bool]) -> list[int]:
    roots = list(range(count))

    def root(index: int) -> int:
        while roots[index] != index:
            roots[index] = roots[roots[index]]
            index = roots[index]
        return index

    for right in range(count):
        for left in range(right):
            if alike(left, right):
                roots[root(left)] = root(right)
    return [root(index) for index in range(count)]


def cluster_sizes(clusters: Sequence[int]) -> list[int]:
    """The size of each program's cluster, in order."""
    return [clusters.count(cluster) for cluster in clusters]


def copied_share(clusters: Sequence[int]) -> float:
    """The share of programs that are alike to another; at least one program must be given."""
    return sum(size > 1 for size in cluster_sizes(clusters)) / len(clusters)


def constant_share(behaviours: Sequence[Behaviour]) -> float | None:
    """The share of programs that give one value on all probe inputs, of those that give a value on two or more.

    None if there are none of those. A rare output may be missed: such a share is never quite 0.
    """
    given = [values for behaviour in behaviours if len(values := [value for value in behaviour if value]) > 1]
    return sum(len(set(values)) == 1 for values in given) / len(given) if given else None


def repetition_penalties(clusters: Sequence[int]) -> list[float]:
    """(size of a program's cluster - 1) / number of programs, for each: 0 for one like no other, at most near 1.

    R-Zero subtracts a multiple of |C| / B; without the program itself, a step without repetition has no penalty.
    """
    return [(size - 1) / len(clusters) for size in cluster_sizes(clusters)]


def grams_of(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """The 4-grams; of a text of fewer tokens, the text itself, so that no set is empty."""
    return frozenset(ngrams(words, _NGRAM) or [tuple(words)])


def _similarity(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> float:
    if min(len(left), len(right)) <= _NEAR * max(len(left), len(right)):
        return 0.0  # cannot be above _NEAR
    return len(left & right) / len(left | right)


def _counts(words: Sequence[str]) -> list[Counter[tuple[str, ...]]]:
    """How often each run of 1, 2, 3 and 4 tokens occurs."""
    return [Counter(ngrams(words, n)) for n in range(1, _NGRAM + 1)]


def _bleu(text: list[Counter[tuple[str, ...]]], reference: list[Counter[tuple[str, ...]]]) -> float:
    """BLEU of a text against one reference, 0 to 1: geometric mean of the clipped precisions times the brevity penalty.

    A precision without a match counts 0.1 matches (method 1 of Chen and Cherry, 2014); no common token is 0.
    """
    if not text[0].keys() & reference[0].keys():
        return 0.0
    matches = ((own & other).total() for own, other in zip(text, reference, strict=True))
    precisions = [(shared or 0.1) / max(1, own.total()) for shared, own in zip(matches, text, strict=True)]
    brevity = min(1.0, math.exp(1.0 - reference[0].total() / text[0].total()))
    return brevity * math.exp(math.fsum(map(math.log, precisions)) / len(precisions))
