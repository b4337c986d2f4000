"""Result files of EvalPlus (`eval_results.json`) and LiveCodeBench (`..._eval_all.json`), read and written.

The forms are those of EvalPlus 0.3 (evalplus/evaluate.py; older files are read too) and of LiveCodeBench's lcb_runner
(benchmarks/code_generation.py, also Multi-LCB's). Its newer custom evaluator writes the same list of records, the older
one an object that has them by name under "eval".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azr_jax.evaluation.scoring import pass_at_k, results

EVALPLUS, LIVECODEBENCH = "evalplus", "livecodebench"
_PASS, _FAIL, _TIMEOUT = ("pass", "success"), ("fail", "failed"), ("timeout", "timed out")
_WORDS = (*_PASS, *_FAIL, *_TIMEOUT)
_Samples = dict[str, list[dict[str, Any]]]


def read(file: Path) -> _Samples:
    """The results of each problem of such a file, by name, as `results.read` gives those of a folder.

    Raises:
      FileNotFoundError: no such file.
      ValueError: another or a damaged file, with what is wrong in it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    content = file.read_bytes()
    try:
        return _by_name(json.loads(content))
    except (ValueError, RecursionError) as error:
        if (lines := _json_lines(content)) is not None:
            raise ValueError(
                f"{file}: {lines}, no results; give a folder of results (`run` writes it), or a file of EvalPlus"
                " (eval_results.json) or LiveCodeBench (..._eval_all.json)"
            ) from None
        raise ValueError(
            f"{file}: no results of EvalPlus (eval_results.json) or LiveCodeBench (..._eval_all.json): {error}"
        ) from None


def _json_lines(content: bytes) -> str | None:
    """What a file is whose first line is a completion's or `check`'s; None for any other."""
    try:
        first = json.loads(content.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return None
    if not isinstance(first, dict) or not first.keys() & {"name", "task_id"}:
        return None
    return "lines of `check`" if "status" in first else "JSON lines"


def _by_name(content: Any) -> _Samples:
    entries: Any = content
    if isinstance(content, dict):
        entries = content.get("eval")
        if not isinstance(entries, dict):
            raise ValueError(f"field 'eval' is {entries!r:.60}, not an object")
        pairs = list(entries.items())
    elif isinstance(content, list):
        pairs = [_named(number, record) for number, record in enumerate(content, start=1)]
    else:
        raise ValueError(f"it holds {content!r:.60}, not an object or a list")
    by_name: _Samples = {}
    for name, entry in pairs:
        if name in by_name:
            raise ValueError(f"question_id {name!r:.60} comes a second time")
        try:
            by_name[name] = list(_samples(entry))
        except ValueError as error:
            raise ValueError(f"{name!r:.60}: {error}") from None
        if not by_name[name]:
            raise ValueError(f"{name!r:.60} has no sample")
    if not by_name:
        raise ValueError("no problem in it")
    return by_name


def _named(number: int, record: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(record, dict):
        raise ValueError(f"record {number} is {record!r:.60}, not an object")
    name = record.get("question_id")
    if isinstance(name, bool) or not isinstance(name, str | int) or "graded_list" not in record:
        raise ValueError(f"record {number} has no 'question_id' (it is {name!r:.60}) or no 'graded_list'")
    return str(name), record


def _samples(entry: Any) -> Iterator[dict[str, Any]]:
    """The samples of one problem's entry."""
    if isinstance(entry, list):  # EvalPlus 0.2 and later
        for sample in entry:
            if not isinstance(sample, dict):
                raise ValueError(f"a sample is {sample!r:.60}, not an object")
            program = _program(sample.get("solution"), "solution")
            yield _evalplus_sample(program, sample.get("base_status"), sample.get("plus_status"))
    elif not isinstance(entry, dict):
        raise ValueError(f"its entry is {entry!r:.60}, not a list or an object")
    elif "graded_list" in entry:
        for code, passed in _paired(entry, "code_list", "graded_list"):
            if not isinstance(passed, bool):
                raise ValueError(f"graded_list holds {passed!r:.60}, not true or false")
            yield _sample("OK" if passed else "Exception", _program(code, "code_list"))
    else:  # EvalPlus before 0.2: [status, details] of each sample, "plus" empty with --base-only
        with_plus = {**entry, "plus": entry.get("plus") or [[None, None] for _ in _list(entry, "base")]}
        for base, plus in _paired(with_plus, "base", "plus"):
            for pair in (base, plus):
                if not isinstance(pair, list) or len(pair) != 2:
                    raise ValueError(f"a result is {pair!r:.60}, not a list of a status and details")
            yield _evalplus_sample("", base[0], plus[0])


def _paired(entry: Mapping[str, Any], first: str, second: str) -> Iterator[tuple[Any, Any]]:
    left, right = _list(entry, first), _list(entry, second)
    if len(left) != len(right):
        raise ValueError(f"{first} has {len(left)} entries and {second} {len(right)}")
    return zip(left, right, strict=True)


def _list(entry: Mapping[str, Any], field: str) -> list[Any]:
    value = entry.get(field)
    if not isinstance(value, list):
        raise ValueError(f"field {field!r} is {value!r:.60}, not a list")
    return value


def _program(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"field {field!r} has {value!r:.60}, not text")
    return value


def _evalplus_sample(program: str, base: Any, plus: Any) -> dict[str, Any]:
    """EvalPlus counts a sample as right if both halves pass; without the plus half the base decides."""
    _check_statuses(base, plus)
    halves = [half for half in (base, plus) if half is not None]
    status = "OK" if all(half in _PASS for half in halves) else "Exception"
    if status != "OK" and all(half in (*_PASS, *_TIMEOUT) for half in halves):
        status = "Timeout"
    return {**_sample(status, program), "base_status": base, "plus_status": plus}


def _check_statuses(base: Any, plus: Any) -> None:
    """Raises ValueError for a word that is none of EvalPlus'; only the plus half may be left out."""
    for half, value in (("base", base), ("plus", plus)):
        if not (isinstance(value, str) and value in _WORDS) and not (half == "plus" and value is None):
            raise ValueError(
                f"the status of the {half} tests is {value!r:.60}: EvalPlus has one of {', '.join(_WORDS)}"
            )


def _sample(status: str, program: str) -> dict[str, Any]:
    return {"program": program, "status": status, "exit_code": 0 if status == "OK" else 1}


def to_evalplus(folder: Path) -> dict[str, Any]:
    """The results of a folder of HumanEval+ or MBPP+ in EvalPlus' form.

    The tests that a program fails are not listed, as judging stops at the first; "hash" is the digest of the problems.

    Raises:
      ValueError: not such a folder.
    """
    manifest = results.read_manifest(folder)
    entries: dict[str, list[dict[str, Any]]] = {}
    for record in _records(folder):
        name, samples = record["name"], record["results"]
        entries[name] = [_evalplus_entry(folder, name, sample) for sample in samples]
    return {
        "date": str(manifest.get("finished", "")),
        "hash": str(manifest["settings"].get("problems_digest", "")),
        "eval": entries,
        "pass_at_k": {
            "base": _pass_at_k(entries, ("base_status",)),
            "plus": _pass_at_k(entries, ("base_status", "plus_status")),
        },
    }


def _evalplus_entry(folder: Path, name: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    if "base_status" not in sample:
        raise ValueError(
            f"{folder}: {name} has no statuses of base and plus tests: it is no problem of EvalPlus', or was judged"
            " before results had them; run the evaluation in a new folder"
        )
    base, plus = sample["base_status"], sample.get("plus_status")
    try:
        _check_statuses(base, plus)
    except ValueError as error:
        raise ValueError(f"{folder}: {name}: {error}") from None
    entry = {"task_id": name, "solution": sample["program"], "base_status": base, "plus_status": plus}
    return entry | {"base_fail_tests": [], "plus_fail_tests": []}


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of a folder's files. Raises ValueError for a result without a program."""
    for record in results.read_records(folder):
        for sample in record["results"]:
            try:
                _program(sample.get("program"), "program")
            except ValueError as error:
                raise ValueError(f"{folder}: a result of {record['name']}: {error}") from None
        yield record


def _pass_at_k(entries: Mapping[str, Sequence[Mapping[str, Any]]], keys: Sequence[str]) -> dict[str, float]:
    """pass@1, 10 and 100, as far as the samples go."""
    counts = [
        (len(samples), sum(all(sample[key] == "pass" for key in keys) for sample in samples))
        for samples in entries.values()
    ]
    fewest = min(samples for samples, _ in counts)
    return {
        f"pass@{k}": sum(pass_at_k.pass_at_k(samples, correct, k) for samples, correct in counts) / len(counts)
        for k in (1, 10, 100)
        if k <= fewest
    }


def to_livecodebench(folder: Path) -> list[dict[str, Any]]:
    """The results of a folder in LiveCodeBench's form; of a problem it has the fields that its own record had.

    Raises:
      ValueError: not a folder of results.
    """
    entries = []
    for record in _records(folder):
        samples = record["results"]
        graded = [results.passed(sample) for sample in samples]
        entries.append(
            {
                **{key: value for key, value in record.items() if key not in results.ADDED_FIELDS},
                "question_id": record["name"],
                "output_list": [sample.get("response", sample["program"]) for sample in samples],
                "code_list": [sample["program"] for sample in samples],
                "graded_list": graded,
                "pass@1": sum(graded) / len(graded),
            }
        )
    return entries
