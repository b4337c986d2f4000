"""Metrics of the proposers' programs: size, depth, difference from each other. No jax."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from azr_jax.selfplay.novelty import alike_by_tokens, copied_share, grams_of, tokens
from executors.language import Language

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def program_metrics(programs: Sequence[str], outputs: Sequence[str], language: Language) -> dict[str, float]:
    """Means over some programs of one language and their outputs; {} for none. Texts are canonical: no comments.

    `tokens`: words, numbers and single other characters of a program. `nodes`, `depth`: of its syntax tree if the
    language has one (`Language.tree_size`); otherwise there are no `nodes`, and the depth is that of its
    brackets. Both leave out a program without a tree. `distance`: mean over the pairs of programs of
    1 - |A & B| / |A | B|, A and B the sets of their 4-grams of tokens (Jaccard); 0 when all are the same, at most 1,
    and absent with fewer than two. `distinct`: share of different programs, by canonical text. `distinct_outputs`:
    share of different outputs. `near_copies`: share of programs that have a near copy among the others (novelty.py).
    """
    if not programs:
        return {}
    texts = [language.canonical_program(program) for program in programs]
    split = [tokens(text) for text in texts]
    metrics = {
        "tokens": sum(map(len, split)) / len(split),
        "distinct": len(set(texts)) / len(texts),
        "distinct_outputs": len(set(outputs)) / len(outputs),
        "near_copies": copied_share(alike_by_tokens(texts)),
    }
    if language.tree_size is None:
        metrics["depth"] = sum(bracket_depth(words) for words in split) / len(split)
    else:
        sizes = [size for size in map(language.tree_size, programs) if size is not None]
        if sizes:
            metrics["nodes"] = sum(nodes for nodes, _ in sizes) / len(sizes)
            metrics["depth"] = sum(depth for _, depth in sizes) / len(sizes)
    pairs = list(itertools.combinations([grams_of(words) for words in split], 2))
    if pairs:
        metrics["distance"] = sum(1.0 - len(a & b) / len(a | b) for a, b in pairs) / len(pairs)
    return metrics


def bracket_depth(words: Sequence[str]) -> int:
    """The most brackets open at once, of any kind, in a list of tokens; surplus closing ones are ignored."""
    deepest = depth = 0
    for word in words:
        depth = max(0, depth + (word in _OPENING) - (word in _CLOSING))
        deepest = max(deepest, depth)
    return deepest
