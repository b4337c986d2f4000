"""Reads completions: JSON lines, EvalPlus' samples, LiveCodeBench's output files, and folders of MultiPL-E's."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azr_jax.evaluation.judging.judge import Completion
from azr_jax.evaluation.problems.records import read_lines

_LISTS = (".json", ".json.gz")
_MODES = ("completion", "full")


def read(path: Path) -> Iterator[tuple[str, Completion]]:
    """(where it stands, completion) of each completion of a file or folder, in its order.

    A file of JSON lines has {"name", "completion"} and may have "mode" and "id", or is EvalPlus': {"task_id",
    "completion"} or, of a whole program, {"task_id", "solution"}. A .json or .json.gz file is LiveCodeBench's. A folder
    has MultiPL-E's files of completions: `extra` has the prompt that they continue, and the language if they name it.

    Raises:
      FileNotFoundError: no such file.
      ValueError: what is no completion, with its place.
    """
    if path.is_dir():
        return _of_folder(path)
    return _of_list(path) if path.name.endswith(_LISTS) else _of_lines(path)


def _of_lines(path: Path) -> Iterator[tuple[str, Completion]]:
    for number, record in read_lines(path):
        place = f"{path}, line {number}"
        if not isinstance(record, dict):
            raise ValueError(f"{place}: a completion is a JSON object, not {type(record).__name__}")
        is_evalplus = "name" not in record and "task_id" in record
        is_solution = is_evalplus and "solution" in record
        name = _text(record, "task_id" if is_evalplus else "name", place)
        text = _text(record, "solution" if is_solution else "completion", place)
        mode = record.get("mode", _MODES[is_solution])
        if mode not in _MODES:
            raise ValueError(
                f"{place}: mode is {mode!r:.60}: use completion (after the prompt) or full (a whole program)"
            )
        yield place, Completion(name, text, mode == "full", record)


def _of_list(path: Path) -> Iterator[tuple[str, Completion]]:
    """LiveCodeBench's output files: whole programs."""
    records = _loaded(path)
    if not isinstance(records, list):
        raise ValueError(
            f"{path}: LiveCodeBench's files hold a list, not {type(records).__name__}; if these are JSON lines, name it"
            " .jsonl"
        )
    for number, record in enumerate(records, start=1):
        place = f"{path}, record {number}"
        if not isinstance(record, dict):
            raise ValueError(f"{place}: a JSON object is expected, not {type(record).__name__}")
        name = _text(record, "question_id", place)
        for text in _texts(record, "code_list", place):
            yield place, Completion(name, text, whole=True)


def _of_folder(folder: Path) -> Iterator[tuple[str, Completion]]:
    """MultiPL-E's files NAME.json.gz, and its form of results that has the completions too.

    An unpacked file beside the packed one is left out.
    """
    names = {path.name for path in folder.iterdir()}
    paths = [folder / name for name in sorted(names) if name.endswith(_LISTS) and f"{name}.gz" not in names]
    records = [(path, record) for path in paths if isinstance(record := _loaded(path), dict) and "prompt" in record]
    if not any("completions" in record for _, record in records):
        raise ValueError(
            f"{folder}: no file of MultiPL-E's completions (NAME.json.gz with prompt and completions) in it"
        )
    by_name: dict[str, Path] = {}
    for path, record in records:
        judged = record.get("results", [])
        if not isinstance(judged, list) or not all(isinstance(result, dict) for result in judged):
            raise ValueError(f"{path}: field 'results' is {judged!r:.60}, not a list of objects")
        if any("response" in result for result in judged):
            raise ValueError(f"{path}: its completions are answers to another prompt than MultiPL-E's")
        place = str(path)
        name = _text(record, "name", place)
        continued = {field: _text(record, field, place) for field in ("prompt", "language") if field in record}
        if "completions" in record and (other := by_name.setdefault(name, path)) != path:
            raise ValueError(f"{path}: completions of {name!r:.80}, which {other.name} has too: remove one of the two")
        for text in _texts(record, "completions", place) if "completions" in record else ():
            yield place, Completion(name, text, extra=continued)


def _loaded(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        return json.loads(content)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        lines = "; if these are JSON lines, name it .jsonl" if str(error).startswith("Extra data") else ""
        raise ValueError(f"{path}: damaged, or not JSON ({error}){lines}") from None


def _text(record: Mapping[str, Any], field: str, place: str) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        raise ValueError(f"{place}: field {field!r} is {value!r:.60}, not text")
    return value


def _texts(record: Mapping[str, Any], field: str, place: str) -> list[str]:
    values = record.get(field)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{place}: field {field!r} is {values!r:.60}, not a list of texts")
    return values
