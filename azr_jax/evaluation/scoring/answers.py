"""From a problem to a prompt, and from a response to a completion, in both prompt modes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from azr_jax.evaluation.judging.judge import Completion
from azr_jax.evaluation.languages.record import BenchmarkLanguage
from azr_jax.evaluation.problems.records import AnyProblem, EvalPlusProblem, StdinProblem
from azr_jax.selfplay import parsing, prompts
from azr_jax.types import Invalid, Role, TaskType
from executors import Language

COMPLETION, CHAT = "completion", "chat"
MODES = (COMPLETION, CHAT)
# Stop tokens: without the faulty ones, as published, or sampled without them and judged both ways.
MENDED, PUBLISHED, BOTH = "mended", "multipl-e", "both"
STOPS = (MENDED, PUBLISHED, BOTH)
_ANSWER_END = "</answer>"
_STDIN = "Write a whole program that reads standard input and writes its answer to standard output."
_MOST_PROGRAM_CHARS = 1 << 20
_FENCED = re.compile(r"^(`{3,})[ \t]*([^\s`]*)[^\n`]*\n(.*?)\n?^\1`*[ \t]*$", re.DOTALL | re.MULTILINE)


def check_mode(problems: Sequence[AnyProblem], mode: str) -> None:
    """Raises ValueError for problems that have no beginning of a program to be completed."""
    if mode == COMPLETION and any(isinstance(problem, StdinProblem) for problem in problems):
        raise ValueError("--prompt=completion: these problems are statements in words: use --prompt=chat")


def prompt_of(problem: AnyProblem, language: Language, mode: str) -> str:
    """What the model sees: the stripped prompt (MultiPL-E; with a line end for EvalPlus), or Listing 1 around it."""
    text = problem.prompt.strip()
    if isinstance(problem, StdinProblem):
        text = f"{text}\n\n{_STDIN}"
    if mode == CHAT:
        return prompts.evaluation_chat(language, text)
    return text + "\n" if isinstance(problem, EvalPlusProblem) else text


def stop_of(problem: AnyProblem, language: BenchmarkLanguage, mode: str, published: bool = False) -> tuple[str, ...]:
    """Stop tokens of completion mode are the problem's own; they would cut chat answers to pieces.

    The language's faulty ones are left out unless `published`.
    """
    if mode == CHAT:
        return (_ANSWER_END,)
    faulty = () if published else language.faulty_stops
    return tuple(token for token in problem.stop_tokens if token not in faulty)


def cut_as_published(problem: AnyProblem, language: BenchmarkLanguage, text: str) -> str:
    """A completion that was sampled without the faulty stop tokens, cut where the published way would end it."""
    cuts = [text.find(token) for token in problem.stop_tokens if token in language.faulty_stops]
    return text[: min((cut for cut in cuts if cut >= 0), default=len(text))]


def completion_of(
    problem: AnyProblem, benchmark_language: BenchmarkLanguage, mode: str, text: str
) -> Completion | Invalid:
    """The completion in a response, or why there is none.

    A chat answer is read as in training; one that is not in that format counts too when its last block in the
    language is closed. A Racket answer without a #lang line gets the prompt's. EvalPlus has four spaces for a tab (its
    providers' codegen), which Python refuses beside the prompt's spaces.
    """
    if isinstance(problem, EvalPlusProblem):
        text = text.replace("\t", "    ")
    if mode == COMPLETION:
        return Completion(problem.name, text)
    language = benchmark_language.language
    tags = (language.fence, *language.fence_aliases)
    closed = f"{text}{_ANSWER_END}" if text.rfind("<answer>") > text.rfind(_ANSWER_END) else text
    answer = parsing.parse(
        Role.SOLVE,
        TaskType.INDUCTION,
        closed,
        parsing.Form("strict", tags, induction_inputs=0, max_program_chars=_MOST_PROGRAM_CHARS),
    )
    if isinstance(answer, Invalid):
        lines = closed.replace("\r\n", "\n").replace("\r", "\n").replace(_ANSWER_END, f"\n{_ANSWER_END}")
        programs = [match[3] for match in _FENCED.finditer(lines) if match[2].lower() in tags]
        if not programs:
            return answer
        program = programs[-1]
    else:
        program = answer.program
    return Completion(problem.name, benchmark_language.loadable(program), whole=True)
