"""`python -m azr_jax.evaluation check`: judges existing completions."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation.commands import arguments as flags
from azr_jax.evaluation.judging import completion_files
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
        "--completions",
        required=True,
        metavar="FILE",
        help='JSON lines {"name", "completion"}, also id, mode; or EvalPlus\' samples, LiveCodeBench\'s .json, or a'
        " folder of MultiPL-E's completions",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="JSON lines of verdicts; an interrupted command is continued"
    )
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


def read_items(problems: Path, completions: Path, suffix: str) -> list[tuple[AnyProblem, Completion]]:
    """Each completion with its problem.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a malformed line, a name without a problem, a problem in another language.
    """
    known = {problem.name: problem for problem in problem_files.load_language(problems, suffix)}
    items = []
    for place, completion in completion_files.read(completions):
        if completion.name not in known:
            raise ValueError(f"{place}: no problem {completion.name!r:.80} in {problems}")
        items.append((known[completion.name], completion))
    return items


class _Lines:
    """The lines of --out, each flushed at once. Until they are complete, FILE.begun says of which command they are.

    kept: what the same command judged before it was interrupted, up to a line that the executors failed on. Raises
    ValueError if FILE is of another command that was interrupted.
    """

    def __init__(self, out: Path, command: str) -> None:
        self.kept: list[dict[str, Any]] = []
        target = out.resolve()  # of /dev/stdout too
        self._begun = target.with_name(f"{target.name}.begun")
        if out.is_file() and self._begun.exists():
            if self._begun.read_text(encoding="utf-8") != command:
                raise ValueError(
                    f"--out={str(out)!r} holds what an interrupted command with other problems, completions, settings"
                    f" or interpreter judged: choose another --out, or delete it and {self._begun.name}"
                )
            whole = list(itertools.takewhile(_is_kept, out.read_bytes().splitlines(keepends=True)))
            self.kept = [json.loads(line) for line in whole]
            os.truncate(out, sum(map(len, whole)))
        elif out.is_file() or not out.exists():
            out.write_bytes(b"")
            self._begun.write_text(command, encoding="utf-8")
        self._file = out.open("a", encoding="utf-8")

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends a line."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self, complete: bool) -> None:
        """Ends the file, which is kept as unfinished unless it is `complete`."""
        self._file.close()
        if complete:
            self._begun.unlink(missing_ok=True)


def _is_kept(line: bytes) -> bool:
    return line.endswith(b"\n") and "infrastructure" not in json.loads(line)


def _digest(problems: Path, items: Sequence[tuple[AnyProblem, Completion]], *settings: Any) -> str:
    """Names the command: what its lines depend on."""
    digest = hashlib.sha256(problems.read_bytes())
    for _, completion in items:
        digest.update(repr((completion.name, completion.text, completion.whole, completion.extra.get("id"))).encode())
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def main(arguments: argparse.Namespace) -> int:
    """Judges and writes; 1 when the executors failed on a completion, else 0."""
    output: TextIO = sys.stdout
    language = known_language(arguments.language, arguments.language_directory)
    for name in ("problems", "completions"):
        if Path(arguments.out).resolve() == Path(getattr(arguments, name)).resolve():
            raise ValueError(f"--out={arguments.out!r} would overwrite --{name}: choose another file")
    policies = {None: [SOUND], MULTIPL_E: [MULTIPL_E], BOTH: [SOUND, MULTIPL_E]}[arguments.compat]
    problems = Path(arguments.problems)
    items = read_items(problems, Path(arguments.completions), language.suffix)
    with open_judges(language, policies, workers=arguments.workers, timeout_s=arguments.timeout) as judges:
        version = judges[0].interpreter_version
        lines = _Lines(Path(arguments.out), _digest(problems, items, version, policies, arguments.timeout))
        judged = list(lines.kept)
        if judged:
            sys.stderr.write(f"{arguments.out} has {len(judged)} of {len(items)} already\n")
        try:
            missing = items[len(judged) :]
            for (_, completion), judgements in zip(missing, _judge_all(judges, missing), strict=True):
                line = judgements[0].line(completion)
                if len(judgements) == 2:
                    line["multipl_e_status"] = judgements[1].status
                if any(judgement.infrastructure for judgement in judgements):
                    line["infrastructure"] = True
                lines.write(line)
                judged.append(line)
        finally:
            lines.close(complete=len(judged) == len(items))
    keys = {policies[0]: "status", policies[-1]: "multipl_e_status" if len(policies) == 2 else "status"}
    for policy, key in keys.items():
        output.write(f"{policy}: {sum(line[key] == 'OK' for line in judged)} of {len(items)} pass\n")
    if own_way := sum("judged" in line for line in judged):
        output.write(f"{own_way} of {len(items)} were judged by their own tests, which a completion can fool\n")
    if broken := sum("infrastructure" in line for line in judged):
        output.write(f"the executors failed on {broken}, which count as not passed; run `python -m executors doctor`\n")
    return 1 if broken else 0


def _judge_all(
    judges: Sequence[CompletionJudge], items: Sequence[tuple[AnyProblem, Completion]]
) -> Iterator[tuple[Judgement, ...]]:
    return zip(*(judge.judge_all(items) for judge in judges), strict=True)
