"""Problems of a file as a second source of solver tasks (`problems.path`): which of them a step asks.

They are no part of the buffers: a step's draw depends on the seed, the step and the file alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

from azr_jax.selfplay.randomness import stream
from azr_jax.types import VerifiedProblem
from executors.jobs import Verdict


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemSet:
    """The problems of a run.

    loadable: by language, from the program of an answer to a file that its interpreter loads (as `#lang racket`).
    """

    problems: tuple[VerifiedProblem, ...] = ()
    loadable: Mapping[str, Callable[[str], str]] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What names the problems, their order and tests included; an empty text for none."""
        if not self.problems:
            return ""
        digest = hashlib.sha256()
        for problem in self.problems:
            digest.update(json.dumps(dataclasses.astuple(problem)).encode())
        return digest.hexdigest()[:16]


def draw(problems: Sequence[VerifiedProblem], count: int, step: int, seed: int) -> list[VerifiedProblem]:
    """The `count` problems of a step, from 1: each problem comes once, in random order, before any comes again."""
    drawn = []
    for place in range((step - 1) * count, step * count):
        round_, index = divmod(place, len(problems))
        if not drawn or not index:
            order = stream(seed, round_, "problems").sample(range(len(problems)), len(problems))
        drawn.append(problems[order[index]])
    return drawn


def passed_share(problem: VerifiedProblem, verdict: Verdict | None) -> float:
    """The share of a problem's tests that a program passed, all of them having run; 0 where nothing ran."""
    return 0.0 if verdict is None else sum(verdict.passed) / len(problem.expected)
