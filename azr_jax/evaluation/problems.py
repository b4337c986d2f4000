"""Benchmark problems as data: MultiPL-E's records (eight standard fields) and EvalPlus' (with inputs and tolerance)."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_TEXT_FIELDS = ("name", "language", "prompt", "tests")
_EVALPLUS_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A MultiPL-E problem. `language` is MultiPL-E's suffix (rkt, jl, js, ...); `record` the line as it came."""

    name: str
    language: str
    prompt: str
    tests: str
    stop_tokens: tuple[str, ...]
    record: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class EvalPlusProblem:
    """A HumanEval+ or MBPP+ problem. Inputs are argument lists as JSON has them; `atol` the float tolerance."""

    name: str
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: tuple[Any, ...]
    plus_input: tuple[Any, ...]
    atol: float
    record: Mapping[str, Any]

    language = "py"
    # EvalPlus' own for base models.
    stop_tokens = ("\nclass ", "\ndef ", "\n#", "\n@", "\nprint", "\nif ", "\nassert ", "\n```")


AnyProblem = Problem | EvalPlusProblem


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, value) of each line of a JSON-lines file, gzip-compressed when its name ends in .gz; blank ones skipped.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a line that is not JSON, or no UTF-8, with its number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    number = 0
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line.decode("utf-8"))
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: no JSON in UTF-8: {error}") from None


def load(path: str | Path) -> list[AnyProblem]:
    """The problems of a file, in its order.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a malformed line or a name that comes twice, with its number; or no problem at all.
    """
    path = Path(path)
    problems: dict[str, AnyProblem] = {}
    for number, record in read_lines(path):
        try:
            problem = from_record(record)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if problem.name in problems:
            raise ValueError(f"{path}, line {number}: the name {problem.name!r} comes a second time")
        problems[problem.name] = problem
    if not problems:
        raise ValueError(f"{path}: no problem in it")
    return list(problems.values())


def load_language(path: str | Path, suffix: str) -> list[AnyProblem]:
    """The problems of a file that are to be in one language. Raises as `load`, and ValueError for one in another."""
    found = load(path)
    for problem in found:
        if problem.language != suffix:
            raise ValueError(f"{path}: {problem.name} is a problem in {problem.language!r}, not in {suffix!r}")
    return found


def from_record(record: Any) -> AnyProblem:
    """The problem of one record. Raises ValueError naming the field that is missing or of the wrong type."""
    if not isinstance(record, dict):
        raise ValueError(f"a problem is a JSON object, not {type(record).__name__}")
    if "task_id" in record:
        return _evalplus(record)
    for field in _TEXT_FIELDS:
        if not isinstance(record.get(field), str):
            raise ValueError(f"field {field!r} is {record.get(field)!r:.60}: MultiPL-E's problems have text there")
    stop_tokens = record.get("stop_tokens", [])
    if not isinstance(stop_tokens, list) or not all(isinstance(token, str) for token in stop_tokens):
        raise ValueError("field 'stop_tokens' is no list of texts")
    return Problem(
        record["name"], record["language"], record["prompt"], record["tests"], tuple(stop_tokens), dict(record)
    )


def _evalplus(record: dict[str, Any]) -> EvalPlusProblem:
    missing = [field for field in _EVALPLUS_FIELDS if field not in record]
    if missing:
        raise ValueError(f"an EvalPlus problem lacks {missing}")
    for field in ("task_id", "prompt", "entry_point", "canonical_solution"):
        if not isinstance(record[field], str):
            raise ValueError(f"field {field!r} is {record[field]!r:.60}, not text")
    for field in ("base_input", "plus_input"):
        # MBPP+ has {} where a problem has no further inputs.
        if not isinstance(record[field], list) and record[field] != {}:
            raise ValueError(f"field {field!r} is no list of argument lists")
    return EvalPlusProblem(
        record["task_id"],
        record["prompt"],
        record["entry_point"],
        record["canonical_solution"],
        tuple(record["base_input"]),
        tuple(record["plus_input"]),
        float(record["atol"]),
        {key: record[key] for key in ("task_id", "prompt", "entry_point", "atol")},
    )
