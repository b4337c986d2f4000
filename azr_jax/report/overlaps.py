"""Training items that resemble benchmark problems: overlaps of n-grams of canonical text. No jax.

Both texts are made canonical: NFKC, case folded; comment and doctest marks at the start of a line, quotes, brackets
and commas dropped; the problem's function called `f`, as programs here call theirs; split into words, numbers and
operators. The overlap of an item and a problem is the number of different n-grams that both have, divided by the number
that the shorter one has (the overlap coefficient), the largest over the item's texts (its program, and an induction
problem's message) and the problem's (its prompt, and its reference solution if the data has one: MultiPL-E has none,
EvalPlus does). Renamed variables and translations into another language are not found. A text of fewer than n tokens is
not compared.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence

from azr_jax.evaluation.problems.records import AnyProblem, EvalPlusProblem, StdinProblem
from azr_jax.selfplay.novelty import ngrams

N = 10
THRESHOLD = 0.5
_NEAREST = 5
_COMMENT = re.compile(r"^[ \t]*(?:(?:#(?!lang)|;|//+|--+|/\*+|\*/?|\(\*+|!>?|%|>>>)+[ \t]*)+", re.MULTILINE)
_TOKEN = re.compile(r"\w+|[^\w\s()\[\]{},;\"'`.:]")
# Suffixes of the languages whose names may have hyphens.
_HYPHENATED = ("rkt", "scm")
_NUMBERED = re.compile(r"[A-Za-z]+_\d+_(\w+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """Something that was trained on: a triplet or an induction problem (then with a message), from `step`.

    A problem of `problems.path` has its statement as message, no program, and step 0.
    """

    kind: str
    step: int
    program: str
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """An item and the problem it resembles most. `part`: prompt or solution; `shared`: a longest run of both.

    `times`: how many items have these texts; `item` is the first of them.
    """

    item: Item
    benchmark: str
    problem: str
    part: str
    overlap: float
    shared: str
    times: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Findings:
    """`matches`: overlap at or above `threshold`, the largest first; `nearest`: the largest of the others."""

    n: int
    threshold: float
    items: int
    short_items: int
    problems: int
    matches: tuple[Match, ...]
    nearest: tuple[Match, ...]

    @property
    def matching_items(self) -> int:
        """The items that match, repeated ones too."""
        return sum(match.times for match in self.matches)


def canonical(text: str, entry: str = "", hyphenated: bool = False) -> list[str]:
    """The tokens of the canonical text; `entry` is the function that is called f in it, where it is a whole name.

    hyphenated: names have hyphens, as in Racket, so that max-profit has no name profit in it.
    """
    folded = _COMMENT.sub("", _folded(text))
    if name := _folded(entry):
        # Other marks than letters that a name has; at the end of a sentence, a mark is none of the name before it.
        marks = re.escape("".join(set(re.sub(r"\w", "", name)) | ({"-"} if hyphenated else set())))
        before, after = (rf"(?<!\w[{marks}])", rf"(?![{marks}]\w)") if marks else ("", "")
        folded = re.sub(rf"(?<!\w){before}{re.escape(name)}(?!\w){after}", "f", folded)
    return _TOKEN.findall(folded)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def find(
    items: Iterable[Item],
    benchmarks: Sequence[tuple[str, Sequence[AnyProblem]]],
    n: int = N,
    threshold: float = THRESHOLD,
) -> Findings:
    """Compares every item with every problem of the (name, problems) benchmarks.

    Raises:
      ValueError: n below 1 or a threshold that is not above 0 and at most 1.
    """
    if n < 1 or not 0 < threshold <= 1:
        raise ValueError(f"n={n}, threshold={threshold}: use n of at least 1 and a threshold above 0 and at most 1")
    parts: list[tuple[str, str, str, int]] = []
    index: dict[tuple[str, ...], list[int]] = {}
    for benchmark, problems in benchmarks:
        for problem in problems:
            for part, words in _parts(problem):
                grams = set(ngrams(words, n))
                if grams:
                    parts.append((benchmark, problem.name, part, len(grams)))
                    for gram in grams:
                        index.setdefault(gram, []).append(len(parts) - 1)
    best: list[Match] = []
    counted = short = 0
    alike: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        alike.setdefault((item.program, item.message), []).append(item)
    for item, *others in alike.values():
        times = 1 + len(others)
        counted += times
        texts = [canonical(item.program)] + ([canonical(item.message)] if item.message else [])
        short += times if all(len(words) < n for words in texts) else 0
        closest = max((_closest(words, n, index, parts) for words in texts), key=lambda candidate: candidate[0])
        if closest[0]:
            overlap, number, shared = closest
            benchmark, name, part, _ = parts[number]
            best.append(Match(item, benchmark, name, part, overlap, shared, times))
    best.sort(key=lambda match: (-match.overlap, match.item.step, match.problem))
    matches = tuple(match for match in best if match.overlap >= threshold)
    total = sum(len(problems) for _, problems in benchmarks)
    return Findings(n, threshold, counted, short, total, matches, tuple(best[len(matches) :][:_NEAREST]))


def _parts(problem: AnyProblem) -> list[tuple[str, list[str]]]:
    if isinstance(problem, EvalPlusProblem):
        entry = problem.entry_point
        texts = [("prompt", problem.prompt), ("solution", problem.canonical_solution)]
    elif isinstance(problem, StdinProblem):
        entry, texts = "", [("statement", problem.prompt)]
    else:
        numbered = _NUMBERED.fullmatch(problem.name)
        entry = numbered.group(1) if numbered else problem.name
        texts = [("prompt", problem.prompt)]
        if problem.own_tests:
            entry = str(problem.record.get("entry_point", entry))
            texts.append(("solution", str(problem.record.get("canonical_solution", ""))))
    return [(part, canonical(text, entry, problem.language in _HYPHENATED)) for part, text in texts]


def _closest(
    words: Sequence[str], n: int, index: dict[tuple[str, ...], list[int]], parts: Sequence[tuple[str, str, str, int]]
) -> tuple[float, int, str]:
    """(overlap, number of the part, longest shared run) of the problem part that is most like a text."""
    grams = ngrams(words, n)
    different = set(grams)
    counts: collections.Counter[int] = collections.Counter()
    for gram in different:
        counts.update(index.get(gram, ()))
    if not counts:
        return 0.0, -1, ""
    overlap, number = max((count / min(len(different), parts[part][3]), -part) for part, count in counts.items())
    longest = start = length = 0
    for at, gram in enumerate(grams):
        length = length + 1 if -number in index.get(gram, ()) else 0
        if length > longest:
            longest, start = length, at - length + 1
    return overlap, -number, " ".join(words[start : start + longest + n - 1])
