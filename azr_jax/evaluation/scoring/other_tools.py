"""Result files of EvalPlus (`eval_results.json`) and LiveCodeBench (`..._eval_all.json`), read and written.

The forms are those of EvalPlus 0.3 (evalplus/evaluate.py; older files are read too) and of LiveCodeBench's lcb_runner
(benchmarks/code_generation.py, also Multi-LCB's), whose custom evaluator has its records under "eval".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azr_jax.evaluation.scoring import pass_at_k, results

EVALPLUS, LIVECODEBENCH = "evalplus", "livecodebench"
_PASS = ("pass", "success")
_TIMEOUT = ("timeout", "timed out")
_Samples = dict[str, list[dict[str, Any]]]


def read(file: Path) -> _Samples:
    """The results of each problem of such a file, by name, as `results.read` gives those of a folder.

    Raises:
      ValueError: no such file, or a damaged one.
    """
    try:
        content = json.loads(file.read_bytes())
        entries = content["eval"] if isinstance(content, dict) else {entry["question_id"]: entry for entry in content}
        by_name = {str(name): list(_samples(entry)) for name, entry in entries.items()}
        if not by_name or not all(by_name.values()):
            raise ValueError("no problem in it, or one without a sample")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(
            f"{file}: no results of EvalPlus (eval_results.json) or LiveCodeBench (..._eval_all.json): {error!r}"
        ) from None
    return by_name


def _samples(entry: Any) -> Iterator[dict[str, Any]]:
    """The samples of one problem's entry."""
    if isinstance(entry, list):  # EvalPlus 0.2 and later
        for sample in entry:
            yield _evalplus_sample(sample["solution"], sample["base_status"], sample.get("plus_status"))
    elif "graded_list" in entry:
        for code, passed in zip(entry["code_list"], entry["graded_list"], strict=True):
            if not isinstance(passed, bool):
                raise ValueError(f"graded_list holds {passed!r:.60}")
            yield _sample("OK" if passed else "Exception", code)
    else:  # EvalPlus before 0.2: [status, details] of each sample, "plus" empty with --base-only
        plus = entry["plus"] or [[None]] * len(entry["base"])
        for base_result, plus_result in zip(entry["base"], plus, strict=True):
            yield _evalplus_sample("", base_result[0], plus_result[0])


def _evalplus_sample(program: str, base: str, plus: str | None) -> dict[str, Any]:
    """EvalPlus counts a sample as right if both halves pass; without the plus half the base decides."""
    halves = [half for half in (base, plus) if half is not None]
    if not all(isinstance(half, str) for half in halves):
        raise ValueError(f"statuses {halves!r:.60}")
    status = "OK" if all(half in _PASS for half in halves) else "Exception"
    if status != "OK" and all(half in (*_PASS, *_TIMEOUT) for half in halves):
        status = "Timeout"
    return {**_sample(status, program), "base_status": base, "plus_status": plus}


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
    for record in results.read_records(folder):
        name, samples = record["name"], record["results"]
        if any("base_status" not in sample for sample in samples):
            raise ValueError(
                f"{folder}: {name} has no statuses of base and plus tests: it is no problem of EvalPlus', or was judged"
                " before results had them; run the evaluation in a new folder"
            )
        entries[name] = [
            {
                "task_id": name,
                "solution": sample["program"],
                "base_status": sample["base_status"],
                "plus_status": sample["plus_status"],
                "base_fail_tests": [],
                "plus_fail_tests": [],
            }
            for sample in samples
        ]
    return {
        "date": str(manifest.get("finished", "")),
        "hash": str(manifest["settings"].get("problems_digest", "")),
        "eval": entries,
        "pass_at_k": {
            "base": _pass_at_k(entries, ("base_status",)),
            "plus": _pass_at_k(entries, ("base_status", "plus_status")),
        },
    }


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
    for record in results.read_records(folder):
        samples = record["results"]
        graded = [results.passed(sample) for sample in samples]
        entries.append(
            {
                **{key: value for key, value in record.items() if key not in results.ADDED_FIELDS},
                "question_id": record["name"],
                "output_list": [sample.get("response", sample.get("program", "")) for sample in samples],
                "code_list": [sample.get("program", "") for sample in samples],
                "graded_list": graded,
                "pass@1": sum(graded) / len(graded),
            }
        )
    return entries
