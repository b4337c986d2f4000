"""`python -m azr_jax.evaluation check`: judges existing completions."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation.commands import arguments as flags
from azr_jax.evaluation.commands import outputs
from azr_jax.evaluation.commands.verdict_lines import begun_of, open_lines
from azr_jax.evaluation.judging import completion_files
from azr_jax.evaluation.judging.judge import MULTIPL_E, SOUND, Completion, CompletionJudge, Judgement, open_judges
from azr_jax.evaluation.languages.known import known_language
from azr_jax.evaluation.problems import files
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
        "--problems",
        required=True,
        metavar="FILE",
        help="problems of any benchmark: JSON lines, the hub's parquet, or a folder of such files",
    )
    parser.add_argument(
        "--completions",
        required=True,
        metavar="FILE",
        help='JSON lines {"name", "completion"}, also id, mode; or EvalPlus\' samples, LiveCodeBench\'s .json, or a'
        " folder of MultiPL-E's completions",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="JSON lines of verdicts, written at the end; FILE.begun keeps them for the same command",
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
      ValueError: a malformed line, no completion, a name without a problem, a problem in another language, or
        completions that MultiPL-E made in another language or of another prompt.
    """
    known = {problem.name: problem for problem in files.load(problems, suffix)}
    items = []
    for place, completion in completion_files.read(completions):
        if completions.is_dir() and (language := completion.extra.get("language") or suffix) != suffix:
            raise ValueError(f"{place}: its completions are in {language!r:.60}, not in {suffix!r}")
        if completion.name not in known:
            raise ValueError(f"{place}: no problem {completion.name!r:.80} in {problems}")
        problem = known[completion.name]
        if completions.is_dir() and not _continues(completion, problem):
            raise ValueError(
                f"{place}: its completions continue another prompt than that of {problem.name} in {problems}"
            )
        items.append((problem, completion))
    if not items:
        raise ValueError(f"{completions}: no completion in it")
    return items


def _continues(completion: Completion, problem: AnyProblem) -> bool:
    """Whether the prompt in MultiPL-E's file is the problem's; models are shown it without white space at its ends."""
    prompts = (problem.prompt, problem.record.get("prompt"))
    return completion.extra["prompt"].strip() in [prompt.strip() for prompt in prompts if isinstance(prompt, str)]


def _digest(problems: Path, items: Sequence[tuple[AnyProblem, Completion]], *settings: Any) -> str:
    """Names the command: what its lines depend on."""
    digest = hashlib.sha256(files.data_version(problems).encode())
    for _, completion in items:
        digest.update(repr((completion.name, completion.text, completion.whole, completion.extra.get("id"))).encode())
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def main(arguments: argparse.Namespace) -> int:
    """Judges and writes; 1 when the executors failed on a completion, else 0."""
    language = known_language(arguments.language, arguments.language_directory)
    flags.check_judging(arguments.workers, arguments.timeout)
    out, problems, completions = Path(arguments.out), Path(arguments.problems), Path(arguments.completions)
    for written in (out, begun_of(out)):
        outputs.check_out(written, {"--problems": problems, "--completions": completions})
    output: TextIO = sys.stderr if outputs.is_stdout(out) else sys.stdout
    policies = {None: [SOUND], MULTIPL_E: [MULTIPL_E], BOTH: [SOUND, MULTIPL_E]}[arguments.compat]
    items = read_items(problems, completions, language.suffix)
    with open_judges(language, policies, workers=arguments.workers, timeout_s=arguments.timeout) as judges:
        command = _digest(problems, items, judges[0].interpreter_version, policies, arguments.timeout)
        fields = ["name", "status", *(["multipl_e_status"] if len(policies) == 2 else [])]
        with open_lines(out, command, [completion for _, completion in items], fields) as lines:
            judged = dict(lines.kept)
            if judged:
                sys.stderr.write(f"{begun_of(out)} has {len(judged)} of {len(items)} already\n")
            missing = [number for number in range(len(items)) if number not in judged]
            judging = _judge_all(judges, [items[number] for number in missing])
            for number, judgements in zip(missing, judging, strict=True):
                judged[number] = _line(items[number][1], judgements)
                lines.add(number, judged[number])
            in_order = [judged[number] for number in range(len(items))]
            lines.finish(in_order)
            output.write(_summary(in_order, policies))
    return 1 if any("infrastructure" in line for line in in_order) else 0


def _line(completion: Completion, judgements: Sequence[Judgement]) -> dict[str, Any]:
    line = judgements[0].line(completion)
    if len(judgements) == 2:
        line["multipl_e_status"] = judgements[1].status
    if any(judgement.infrastructure for judgement in judgements):
        line["infrastructure"] = True
    return line


def _summary(lines: Sequence[Mapping[str, Any]], policies: Sequence[str]) -> str:
    text = ""
    keys = {policies[0]: "status", policies[-1]: "multipl_e_status" if len(policies) == 2 else "status"}
    for policy, key in keys.items():
        text += f"{policy}: {sum(line[key] == 'OK' for line in lines)} of {len(lines)} pass\n"
    if own_way := sum("judged" in line for line in lines):
        text += f"{own_way} of {len(lines)} were judged by their own tests, which a completion can fool\n"
    if broken := sum("infrastructure" in line for line in lines):
        text += f"the executors failed on {broken}, which count as not passed; run `python -m executors doctor`\n"
    return text


def _judge_all(
    judges: Sequence[CompletionJudge], items: Sequence[tuple[AnyProblem, Completion]]
) -> Iterator[tuple[Judgement, ...]]:
    return zip(*(judge.judge_all(items) for judge in judges), strict=True)
