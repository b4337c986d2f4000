"""Runs that differ only in their seed are one arm: its curves are means with a band."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from azr_jax.report.runs import RunData

# Settings that do not change what a run learns.
_FREE = ("seed", "metrics", "monitoring", "checkpoint", "executor", "mesh", "evaluation", "pretrain")


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """Some runs of the same settings with different seeds; most often just one."""

    name: str
    runs: tuple[RunData, ...]

    @property
    def label(self) -> str:
        """The name, with the number of seeds if there are several."""
        return self.name if len(self.runs) == 1 else f"{self.name} ({len(self.runs)} seeds)"


def arms_of(runs: Sequence[RunData]) -> list[Arm]:
    """The runs by settings, in the order of the first run of each; runs without settings or of one seed stay alone."""
    groups: dict[str, list[RunData]] = {}
    for run in runs:
        groups.setdefault(_key(run, runs), []).append(run)
    names = [_name(group) for group in groups.values()]
    if len(set(names)) < len(names):
        names = [" + ".join(run.name for run in group) for group in groups.values()]
    return [Arm(name, tuple(group)) for name, group in zip(names, groups.values(), strict=True)]


def _key(run: RunData, runs: Sequence[RunData]) -> str:
    settings = _settings(run)
    twins = [other for other in runs if other is not run and _settings(other) == settings]
    if not run.config or any(twin.config.get("seed") == run.config.get("seed") for twin in twins):
        return f"run {run.name}"
    return settings


def _settings(run: RunData) -> str:
    return json.dumps({key: value for key, value in run.config.items() if key not in _FREE}, sort_keys=True)


def _name(group: Sequence[RunData]) -> str:
    if len(group) == 1:
        return group[0].name
    first, last = min(run.name for run in group), max(run.name for run in group)
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    shared = first[:same].rstrip("-_. /")
    return shared.removesuffix("seed").rstrip("-_. /") or " + ".join(run.name for run in group)
