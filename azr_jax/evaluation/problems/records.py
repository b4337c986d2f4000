"""Benchmark problems as data: MultiPL-E's records (eight standard fields) and EvalPlus' (with inputs and tolerance)."""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from azr_jax.evaluation.problems.evalplus_inputs import arguments_of

_TEXT_FIELDS = ("name", "language", "prompt", "tests")
_EVALPLUS_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")
_EVALPLUS_STOPS = ("\nif __name__", "\ndef main(", "\nprint(")
_HUMANEVAL_STOPS = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
_MBPP_STOPS = ('\n"""', "\nassert")


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

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """EvalPlus' own for base models (v0.3.1, provider/utility.py); its end-of-text words are the tokenizer's here.

        An MBPP+ prompt is a docstring, and an answer to it imports and defines as many functions as it likes.
        """
        return _EVALPLUS_STOPS + (_MBPP_STOPS if self.name.startswith("Mbpp/") else _HUMANEVAL_STOPS)


AnyProblem = Problem | EvalPlusProblem


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, value) of each line of a JSON-lines file, gzip-compressed when its name ends in .gz; blank ones skipped.

    A byte order mark at the start is skipped too.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a damaged .gz file, or a line that is not JSON, or no UTF-8, with its number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        for number, line in enumerate(_whole_lines(path, file), start=1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                try:
                    value = json.loads(text.decode("utf-8"))
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{path}, line {number}: no JSON in UTF-8: {error}") from None
                yield number, value


def _whole_lines(path: Path, file: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged, or no gzip file ({error}); download it again, or name it without .gz if it is plain text"
        ) from None


def load(path: str | Path) -> list[AnyProblem]:
    """The problems of a file, in its order.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a malformed line or a name that comes twice, with its number; or no problem at all.
    """
    path = Path(path)
    return of_records(path, "line", read_lines(path))


def of_records(path: Path, unit: str, records: Iterable[tuple[int, Any]]) -> list[AnyProblem]:
    """The problems of numbered records, each `unit` NUMBER of `path`. Raises ValueError as `load`."""
    problems: dict[str, AnyProblem] = {}
    for number, record in records:
        try:
            problem = from_record(record)
        except ValueError as error:
            raise ValueError(f"{path}, {unit} {number}: {error}") from None
        if problem.name in problems:
            raise ValueError(f"{path}, {unit} {number}: the name {problem.name!r} comes a second time")
        problems[problem.name] = problem
    if not problems:
        raise ValueError(f"{path}: no problem in it")
    return list(problems.values())


def load_language(path: str | Path, suffix: str) -> list[AnyProblem]:
    """The problems of a file that are to be in one language. Raises as `load`, and ValueError for one in another."""
    found = load(path)
    check_language(path, found, suffix)
    return found


def check_language(path: str | Path, found: Iterable[AnyProblem], suffix: str) -> None:
    """Raises ValueError for a problem in another language."""
    for problem in found:
        if problem.language != suffix:
            raise ValueError(f"{path}: {problem.name} is a problem in {problem.language!r}, not in {suffix!r}")


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
        raise ValueError(f"field 'stop_tokens' is {stop_tokens!r:.60}: MultiPL-E's problems have a list of texts there")
    if not all(stop_tokens):
        raise ValueError("field 'stop_tokens' holds an empty text, which would end every completion: leave it out")
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
        if record[field] != {} and not (
            isinstance(record[field], list) and all(isinstance(each, list) for each in record[field])
        ):
            raise ValueError(f"field {field!r} is {record[field]!r:.60}: EvalPlus has a list of argument lists there")
    atol = record["atol"]
    if isinstance(atol, bool) or not isinstance(atol, int | float) or not 0 <= atol < 1e300:
        raise ValueError(f"field 'atol' is {atol!r:.60}: EvalPlus has a tolerance of at least 0 there")
    prefix, _, number = record["task_id"].partition("/")
    if prefix == "Mbpp" and not (number.isascii() and number.isdecimal()):
        raise ValueError(f"field 'task_id' is {record['task_id']!r:.60}: MBPP+ has Mbpp/NUMBER there")
    problem = EvalPlusProblem(
        record["task_id"],
        record["prompt"],
        record["entry_point"],
        record["canonical_solution"],
        tuple(record["base_input"]),
        tuple(record["plus_input"]),
        float(atol),
        {key: record[key] for key in ("task_id", "prompt", "entry_point", "atol")},
    )
    try:
        arguments_of(problem.name, [*problem.base_input, *problem.plus_input])
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ValueError(f"fields 'base_input' and 'plus_input' are not what {problem.name} takes: {error!r}") from None
    return problem
