"""`python -m azr_jax.evaluation speed`: times judging, and MultiPL-E's way in the same run.

MultiPL-E has no Python problems: EvalPlus' are compared with the same programs, one cold interpreter after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation.commands import arguments as flags
from azr_jax.evaluation.judging import completion_files
from azr_jax.evaluation.judging.judge import MULTIPL_E, SOUND, Completion, CompletionJudge
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.languages.record import BenchmarkLanguage
from azr_jax.evaluation.problems import files
from azr_jax.evaluation.problems.records import AnyProblem, EvalPlusProblem, StdinProblem


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser(
        "speed",
        aliases=["benchmark"],
        help="time of judging, compared with MultiPL-E's way",
        description="Judges one completion of each problem twice: in the pool, and as MultiPL-E does it, one cold"
        " interpreter after the other (also in the sandbox, which adds some per cent). Both judge the same completions,"
        " and their verdicts are compared.",
    )
    flags.add_language(parser, default="racket")
    parser.add_argument("--benchmark", default="humaneval", help=flags.BENCHMARKS)
    parser.add_argument(
        "--problems",
        default="",
        metavar="FILE",
        help="problems of a file, or a folder of files, instead of a benchmark",
    )
    parser.add_argument("--data_dir", default="", metavar="DIR")
    parser.add_argument(
        "--completions",
        default="",
        metavar="FILE",
        help="completions to judge (default: a wrong one for each problem, in Python the reference solution; of"
        " statements those in FILE alone)",
    )
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N problems")
    parser.add_argument("--workers", type=int, default=None)
    parser.set_defaults(command_function=main)


def _items(arguments: argparse.Namespace, language: BenchmarkLanguage) -> list[tuple[AnyProblem, Completion]]:
    if arguments.problems:
        problems = files.load(Path(arguments.problems), language.suffix)
    else:
        source = files.locate(arguments.benchmark, language, arguments.data_dir)
        problems = files.load(source, language.suffix)
    # No body makes a statement a program: only completions that are given can be timed.
    completions = {
        problem.name: Completion(problem.name, _body(problem, language))
        for problem in problems
        if not isinstance(problem, StdinProblem)
    }
    if arguments.completions:
        given = [completion for _, completion in completion_files.read(Path(arguments.completions))]
        if not {completion.name for completion in given} & {problem.name for problem in problems}:
            raise ValueError(f"--completions={arguments.completions!r}: none is for a problem of this benchmark")
        # Recorded completions that were killed at the time limit would time nothing but the limit.
        completions |= {completion.name: completion for completion in given if completion.extra.get("exit_code") != -1}
    items = [(problem, completions[problem.name]) for problem in problems if problem.name in completions]
    if not items:
        raise ValueError("these problems are statements, solved by whole programs: give --completions=FILE to time")
    return items[: arguments.limit or None]


def _body(problem: AnyProblem, language: BenchmarkLanguage) -> str:
    return problem.canonical_solution if isinstance(problem, EvalPlusProblem) else language.wrong_body


def main(arguments: argparse.Namespace) -> int:
    """Prints both times and the ratio; 1 when a verdict differs."""
    output: TextIO = sys.stdout
    language = known_language(arguments.language, arguments.language_directory)
    if arguments.limit < 0:
        raise ValueError(f"--limit={arguments.limit}: use at least 0, which takes all")
    flags.check_judging(arguments.workers)
    items = _items(arguments, language)
    begin = time.monotonic()
    with CompletionJudge(language, SOUND, workers=arguments.workers) as judge:
        start_s = time.monotonic() - begin
        sound = [judgement.passed for judgement in judge.judge_all(items)]
        pool_s = time.monotonic() - begin
    other = MULTIPL_E if language.in_multipl_e else SOUND
    with CompletionJudge(language, other, workers=1, cold=True) as one_by_one:
        begin = time.monotonic()
        judgements = [one_by_one.judge(*item) for item in items]
        cold_s = time.monotonic() - begin
    broken = next((judgement for judgement in judgements if judgement.infrastructure), None)
    if broken:
        raise RuntimeError(f"{broken.name} can't be judged one by one, so there is nothing to compare: {broken.stderr}")
    differing = [
        problem.name
        for (problem, _), passed, judgement in zip(items, sound, judgements, strict=True)
        if passed != judgement.passed
    ]
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
