"""Solver accuracy on a fixed problem set that training never sees."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azr_jax.config import Config, located
from azr_jax.evaluation.problems.records import read_lines
from azr_jax.loop.play import Player, Solution
from azr_jax.selfplay.validation import is_dropped
from azr_jax.types import TASK_TYPES, InductionProblem, Task, TaskType, Triplet

HeldoutProblem = tuple[TaskType, Triplet | InductionProblem]
Counts = dict[str, dict[str, int]]
_FIELDS = {
    TaskType.DEDUCTION: {"language", "program", "input", "output"},
    TaskType.ABDUCTION: {"language", "program", "input", "output"},
    TaskType.INDUCTION: {"language", "program", "message", "inputs", "outputs", "shown"},
}


def load(path: str | Path, limit: int = 0, key: str = "evaluation.heldout") -> list[HeldoutProblem]:
    """Problems of a JSON-lines file, each {"type", "language", "program", ...}; `limit` 0 takes all.

    Commas separate several files; the limit is for each. `key` is the setting that names them, for messages.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a line that is no problem, with its number; no problem at all.
    """
    if "," in str(path):
        return [problem for file in str(path).split(",") for problem in load(file.strip(), limit, key)]
    path = Path(located(str(path)))
    if not path.is_file():
        raise FileNotFoundError(f"{key}={str(path)!r}: no such file; name a problems file or set it to ''")
    problems = []
    for number, fields in read_lines(path):
        try:
            problems.append(_problem(fields))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}: {error!r}; each line is one problem as pretrain writes it"
            ) from error
    if not problems:
        raise ValueError(f"{key}={str(path)!r}: no problem in it; name a problems file or set it to ''")
    return problems[:limit] if limit else problems


def _problem(fields: dict[str, Any]) -> HeldoutProblem:
    kind = TaskType(fields.pop("type"))
    if kind not in _FIELDS:
        raise ValueError(f"type is {kind.value!r}: use one of {', '.join(_FIELDS)}")
    missing = _FIELDS[kind] - set(fields)
    if missing:
        raise ValueError(f"{kind} problem lacks {sorted(missing)}")
    for name in _FIELDS[kind]:
        _check(name, fields[name])
    if kind is TaskType.INDUCTION:
        pairs = len(fields["inputs"])
        if len(fields["outputs"]) != pairs or not 0 < fields["shown"] <= pairs:
            raise ValueError(f"{pairs} inputs, {len(fields['outputs'])} outputs, of which {fields['shown']} are shown")
        fields |= {"inputs": tuple(fields["inputs"]), "outputs": tuple(fields["outputs"])}
        return kind, InductionProblem(**fields)
    return kind, Triplet(**fields)


def _check(name: str, value: Any) -> None:
    if name == "shown":
        good, noun = isinstance(value, int) and not isinstance(value, bool), "a number of pairs"
    elif name in ("inputs", "outputs"):
        good, noun = isinstance(value, list) and all(isinstance(text, str) for text in value), "a list of texts"
    else:
        good, noun = isinstance(value, str), "text"
    if not good:
        raise ValueError(f"{name} is {value!r:.60}, not {noun}")


def check_languages(config: Config, problems: Sequence[HeldoutProblem]) -> None:
    """Raises ValueError if a problem is in a language that the run does not have."""
    for language in dict.fromkeys(item.language for _, item in problems):
        if language not in config.languages:
            raise ValueError(
                f"evaluation.heldout={config.evaluation.heldout!r}: has problems in {language}, and languages="
                f"{config.languages!r}; name a file of those, or several with commas between them"
            )


def tasks(player: Player, problems: Sequence[HeldoutProblem]) -> tuple[Task, ...]:
    """The solver's task about each problem, its prompt tokenised once for all evaluations.

    Raises:
      ValueError: a problem in a language that the player does not play.
    """
    check_languages(player.config, problems)
    return tuple(player.solver_task(str(number), kind, item) for number, (kind, item) in enumerate(problems))


def solve_all(player: Player, params: Any, asked: Sequence[Task], temperature: float, name: str) -> list[Solution]:
    """One answer to each task; `name` names the random stream, so that equal names give equal answers."""
    named = [dataclasses.replace(task, id=f"{name}/{number}") for number, task in enumerate(asked)]

    async def play() -> list[Solution]:
        return list(await asyncio.gather(*(player.solve(task, temperature) for task in named)))

    return player.run(params, player.config.seed, play)[0]


def count(solutions: Sequence[Solution]) -> Counts:
    """{task type: {"n", "correct", "formatted"}}; answers that the executors failed on are not counted."""
    counts: Counts = {kind.value: {"n": 0, "correct": 0, "formatted": 0} for kind in TASK_TYPES}
    for solution in solutions:
        if is_dropped(solution.outcome):
            continue
        entry = counts[solution.task.type.value]
        entry["n"] += 1
        entry["correct"] += solution.correct
        entry["formatted"] += solution.formatted
    return counts


def count_languages(solutions: Sequence[Solution], mode: str) -> dict[str, Counts]:
    """`count` of all as MODE and, if there are several languages, of each as MODE/LANGUAGE."""
    counts = {mode: count(solutions)}
    names = dict.fromkeys(solution.task.language for solution in solutions)
    if len(names) > 1:
        for name in names:
            counts[f"{mode}/{name}"] = count([solution for solution in solutions if solution.task.language == name])
    return counts


def metrics(counts: Counts, prefix: str) -> dict[str, float]:
    """`PREFIX/TYPE/accuracy`, `/formatted` and `/accuracy_formatted` (of the formatted ones), and the same for all."""
    everything = {key: sum(entry[key] for entry in counts.values()) for key in ("n", "correct", "formatted")}
    result = {}
    for name, entry in (*counts.items(), ("all", everything)):
        if entry["n"]:
            result[f"{prefix}/{name}/accuracy"] = entry["correct"] / entry["n"]
            result[f"{prefix}/{name}/formatted"] = entry["formatted"] / entry["n"]
        if entry["formatted"]:
            result[f"{prefix}/{name}/accuracy_formatted"] = entry["correct"] / entry["formatted"]
    return result
