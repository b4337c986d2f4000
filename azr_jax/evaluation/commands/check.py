"""`python -m azr_jax.evaluation check`: judges existing completions."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation.commands import arguments as flags
from azr_jax.evaluation.judging.judge import MULTIPL_E, SOUND, Completion, CompletionJudge, Judgement, open_judges
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import records as problem_files
from azr_jax.evaluation.problems.records import AnyProblem

BOTH = "both"


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser(
        "check",
        help="judge existing completions",
        description="Writes a line {name, status, exit_code, stdout, stderr, seconds} for each completion, in order.",
    )
    flags.add_language(parser)
    parser.add_argument(
        "--problems", required=True, metavar="FILE", help="JSON lines of MultiPL-E or EvalPlus problems"
    )
    parser.add_argument(
        "--completions", required=True, metavar="FILE", help='JSON lines {"name", "completion"}; also id, mode'
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON lines of verdicts")
    parser.add_argument(
        "--compat",
        choices=[MULTIPL_E, BOTH],
        help="judge as MultiPL-E's scripts do; both: their status and the sound one, with both scores",
    )
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="S", help="seconds for a program (default: its benchmark's)"
    )
    parser.add_argument(
        "--workers", type=int, default=None, metavar="N", help="programs at once (default: one per core)"
    )
    parser.set_defaults(command_function=main)


def read_completions(path: Path) -> Iterator[tuple[int, Completion]]:
    """(line number, completion) of a completions file.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a line that is no completion, with its number.
    """
    for number, record in problem_files.read_lines(path):
        place = f"{path}, line {number}"
        if not isinstance(record, dict):
            raise ValueError(f"{place}: a completion is a JSON object, not {type(record).__name__}")
        for field in ("name", "completion"):
            if not isinstance(record.get(field), str):
                raise ValueError(f"{place}: field {field!r} is {record.get(field)!r:.60}, not text")
        mode = record.get("mode", "completion")
        if mode not in ("completion", "full"):
            raise ValueError(
                f"{place}: mode is {mode!r:.60}: use completion (after the prompt) or full (a whole program)"
            )
        yield number, Completion(record["name"], record["completion"], mode == "full", record)


def read_items(problems: Path, completions: Path, suffix: str) -> list[tuple[AnyProblem, Completion]]:
    """Each completion with its problem.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a malformed line, a name without a problem, a problem in another language.
    """
    known = {problem.name: problem for problem in problem_files.load_language(problems, suffix)}
    items = []
    for number, completion in read_completions(completions):
        if completion.name not in known:
            raise ValueError(f"{completions}, line {number}: no problem {completion.name!r:.80} in {problems}")
        items.append((known[completion.name], completion))
    return items


def main(arguments: argparse.Namespace) -> int:
    """Judges and writes; 1 when the executors failed on a completion, else 0."""
    output: TextIO = sys.stdout
    language = known_language(arguments.language, arguments.language_directory)
    for name in ("problems", "completions"):
        if Path(arguments.out).resolve() == Path(getattr(arguments, name)).resolve():
            raise ValueError(f"--out={arguments.out!r} would overwrite --{name}: choose another file")
    policies = {None: [SOUND], MULTIPL_E: [MULTIPL_E], BOTH: [SOUND, MULTIPL_E]}[arguments.compat]
    items = read_items(Path(arguments.problems), Path(arguments.completions), language.suffix)
    passed = dict.fromkeys(policies, 0)
    broken = own_way = 0
    with (
        open_judges(language, policies, workers=arguments.workers, timeout_s=arguments.timeout) as judges,
        open(arguments.out, "w", encoding="utf-8") as file,
    ):
        for (_, completion), judgements in zip(items, _judge_all(judges, items), strict=True):
            line = judgements[0].line(completion)
            if len(judgements) == 2:
                line["multipl_e_status"] = judgements[1].status
            own_way += judgements[0].own_way
            for policy, judgement in zip(policies, judgements, strict=True):
                passed[policy] += judgement.passed
                broken += judgement.infrastructure
            # Flushed at once, so that a judged line is kept if the command is killed.
            file.write(json.dumps(line) + "\n")
            file.flush()
    for policy in policies:
        output.write(f"{policy}: {passed[policy]} of {len(items)} pass\n")
    if own_way:
        output.write(f"{own_way} of {len(items)} were judged by their own tests, which a completion can fool\n")
    if broken:
        output.write(f"the executors failed on {broken}, which count as not passed; run `python -m executors doctor`\n")
    return 1 if broken else 0


def _judge_all(
    judges: Sequence[CompletionJudge], items: Sequence[tuple[AnyProblem, Completion]]
) -> Iterator[tuple[Judgement, ...]]:
    return zip(*(judge.judge_all(items) for judge in judges), strict=True)
