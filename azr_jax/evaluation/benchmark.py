"""`python -m azr_jax.evaluation benchmark`: how long judging takes, beside MultiPL-E's way, in the same run.

EvalPlus' Python problems are no part of MultiPL-E: there the other way is the same programs, one cold interpreter after
the other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation import check, problems
from azr_jax.evaluation.judging import MULTIPL_E, SOUND, Completion, Judge, suffix_of
from azr_jax.evaluation.problems import AnyProblem, EvalPlusProblem


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser(
        "benchmark",
        help="time of judging, beside MultiPL-E's way",
        description="Judges one completion of each problem twice: in the pool, and as MultiPL-E does it, one cold"
        " interpreter after the other (in the sandbox all the same, which costs it some hundredths). Both see the same"
        " completions, and their verdicts are compared.",
    )
    parser.add_argument("--language", default="racket", metavar="LANG")
    parser.add_argument("--benchmark", default="humaneval", help="humaneval | mbpp")
    parser.add_argument("--problems", default="", metavar="FILE", help="problems of a file instead of a benchmark")
    parser.add_argument("--data_dir", default="", metavar="DIR")
    parser.add_argument(
        "--completions",
        default="",
        metavar="FILE",
        help="completions to judge (default: a wrong one for each problem, in Python the reference solution)",
    )
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N problems")
    parser.add_argument("--workers", type=int, default=None)
    parser.set_defaults(command_function=main)


# A body that compiles and answers wrongly, so that every test runs.
_WRONG = {"rkt": " #f)\n", "jl": "    return nothing\nend\n", "js": "    return undefined;\n}\n"}
_WRONG |= {"lua": "    return nil\nend\n", "r": "    NULL\n}\n", "ml": ' failwith "wrong"\n'}


def _items(arguments: argparse.Namespace, suffix: str) -> list[tuple[AnyProblem, Completion]]:
    if arguments.problems:
        found: Sequence[AnyProblem] = problems.load_language(arguments.problems, suffix)
    else:
        from azr_jax.evaluation import datasets  # imports tensorflow-datasets, which takes seconds

        found = datasets.load(arguments.benchmark, suffix, arguments.data_dir)
    texts = {each.name: Completion(each.name, _body(each)) for each in found}
    if arguments.completions:
        given = [completion for _, completion in check.read_completions(Path(arguments.completions))]
        if not any(each.name in texts for each in given):
            raise ValueError(f"--completions={arguments.completions!r}: none is for a problem of this benchmark")
        # Recorded completions that were killed at the time limit would time nothing but the limit.
        texts |= {each.name: each for each in given if each.extra.get("exit_code") != -1}
    return [(each, texts[each.name]) for each in found][: arguments.limit or None]


def _body(problem: AnyProblem) -> str:
    if isinstance(problem, EvalPlusProblem):
        return problem.canonical_solution
    return _WRONG.get(problem.language, "")


def main(arguments: argparse.Namespace) -> int:
    """Prints both times and the ratio; 1 when a verdict differs."""
    output: TextIO = sys.stdout
    suffix = suffix_of(arguments.language)
    if arguments.limit < 0:
        raise ValueError(f"--limit={arguments.limit}: use at least 0, which takes all")
    items = _items(arguments, suffix)
    begin = time.monotonic()
    with Judge(suffix, SOUND, workers=arguments.workers) as judge:
        start_s = time.monotonic() - begin
        sound = [judgement.passed for judgement in judge.judge_all(items)]
        pool_s = time.monotonic() - begin
    other = Judge(suffix, SOUND, workers=1, cold=True) if suffix == "py" else Judge(suffix, MULTIPL_E, workers=1)
    with other as one_by_one:
        begin = time.monotonic()
        judged = [one_by_one.judge(*item) for item in items]
        cold_s = time.monotonic() - begin
    broken = next((each for each in judged if each.infrastructure), None)
    if broken:
        raise RuntimeError(f"{broken.name} can't be judged one by one, so there is nothing to compare: {broken.stderr}")
    cold = [each.passed for each in judged]
    differing = [item[0].name for item, one, other in zip(items, sound, cold, strict=True) if one != other]
    row = {
        "language": judge.language.name,
        "problems": len(items),
        "passed": sum(sound),
        "pool_s": round(pool_s, 2),
        "of_which_start_s": round(start_s, 2),
        "workers": judge.workers,
        "one_by_one_s": round(cold_s, 2),
        "ratio": round(pool_s / cold_s, 3),
        "load": round(os.getloadavg()[0], 1),
        "differing": differing,
    }
    output.write(json.dumps(row) + "\n")
    return 1 if differing else 0
