"""Which saves stay. No jax."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from absl import logging
from etils import epath

from azr_jax.workdir import atomic

SCORES_FILE = "scores.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Retention:
    """The newest `newest` saves stay, those whose step is a multiple of `every` (0: none), and the best-scored one."""

    newest: int
    every: int = 0

    def __post_init__(self) -> None:
        if self.newest < 1:
            raise ValueError(f"checkpoint.keep={self.newest}: must be at least 1")

    def dropped(self, steps: Sequence[int], scores: Mapping[int, float]) -> list[int]:
        """Those of the ascending `steps` that need not stay; of equal scores the later step is the best."""
        scored = [step for step in steps if step in scores]
        best = max(scored, key=lambda step: (scores[step], step), default=None)
        return [
            step
            for step in steps[: -self.newest]
            if step != best and not (self.every and step > 0 and step % self.every == 0)
        ]


def read_scores(directory: epath.Path) -> dict[int, float]:
    """Score by step of the saves that have one. A damaged file is a warning: it only decides what is deleted."""
    file = directory / SCORES_FILE
    if not file.exists():
        return {}
    try:
        return {int(step): float(score) for step, score in json.loads(file.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as error:
        logging.warning("%s is damaged (%s): scores of earlier saves are forgotten", file, error)
        return {}


def write_scores(directory: epath.Path, scores: Mapping[int, float]) -> None:
    """Replaces the file in one move."""
    atomic.write(directory / SCORES_FILE, json.dumps(scores))
