"""Benchmark data and recorded verdicts beside the project, read in place; tests that need them are skipped by name."""

import json
from pathlib import Path

import pytest

from azr_jax.evaluation.judging.judge import Completion
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import records

DATA = Path(__file__).parents[3] / "shared" / "data"
EVALPLUS = {"humanevalplus": "HumanEvalPlus-v0.1.10.jsonl.gz", "mbppplus": "MbppPlus-v0.2.0.jsonl.gz"}

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no benchmark data: ../shared/data is not there")


def needs(suffix):
    """Skips by name where the interpreter is not installed."""
    language = known_language(suffix)
    missing = language.language.find() is None
    return pytest.mark.skipif(missing, reason=f"no {language.name} interpreter here")


def recorded(suffix):
    """(problem, completion, row) of each recorded verdict of a MultiPL-E language."""
    known = {}
    for benchmark in ("humaneval", "mbpp"):
        known |= {problem.name: problem for problem in records.load(DATA / "multipl-e" / f"{benchmark}-{suffix}.jsonl")}
    rows = [row for _, row in records.read_lines(DATA / "verdicts" / f"{suffix}.jsonl")]
    return [
        (known[row["name"]], Completion(row["name"], row["completion"], row["mode"] == "full"), row) for row in rows
    ]


def recorded_python(dataset):
    """The same for EvalPlus."""
    known = {problem.name: problem for problem in records.load(DATA / "evalplus" / EVALPLUS[dataset])}
    rows = [row for _, row in records.read_lines(DATA / "verdicts" / f"py_{dataset}_recorded.jsonl")]
    kept = [row for row in rows if row["name"] in known]
    return [(known[row["name"]], Completion(row["name"], row["completion"], whole=True), row) for row in kept]


def some(items, count):
    """Every kind once, then evenly spread ones, `count` in all; nothing that runs into a time limit or sleeps long."""
    slow = ("loop", "sleep", "slow", "pending", "flood")
    quick = [item for item in items if not any(word in item[2]["kind"] for word in slow)]
    quick = [item for item in quick if item[2]["exit_code"] != -1 and "killed" not in (item[2]["note"] or "")]
    kinds = {item[2]["kind"]: item for item in reversed(quick)}
    chosen = [json.dumps(item[2]) for item in kinds.values()]
    rest = [item for item in quick if json.dumps(item[2]) not in chosen]
    step = max(1, len(rest) // max(1, count - len(kinds)))
    return [*kinds.values(), *rest[::step]][:count]
