"""From a problem to a prompt, and from a response to a completion, in the three prompt modes.

`completion` is the beginning of a program, `chat` the paper's Listing 1, which trained models know, and `instruct` a
user's message in the model's own chat template.
"""

from __future__ import annotations

import ast
import contextlib
import re
import textwrap
from collections.abc import Sequence

from azr_jax.evaluation.judging import assertions
from azr_jax.evaluation.judging.judge import Completion
from azr_jax.evaluation.languages.record import BenchmarkLanguage
from azr_jax.evaluation.problems.records import AGNOSTICS, MULTI_LCB, AnyProblem, EvalPlusProblem, StdinProblem
from azr_jax.model.tokenizer import Tokenizer
from azr_jax.selfplay import parsing, prompts
from azr_jax.selfplay.fences import loose_blocks
from azr_jax.types import Invalid, Role, TaskType
from executors import Language

COMPLETION, CHAT, INSTRUCT = "completion", "chat", "instruct"
MODES = (COMPLETION, CHAT, INSTRUCT)
# Stop tokens: without the faulty ones, as published, or sampled without them and judged both ways.
MENDED, PUBLISHED, BOTH = "mended", "multipl-e", "both"
STOPS = (MENDED, PUBLISHED, BOTH)
_ANSWER_END = "</answer>"
_AGNOSTICS_MESSAGE = (
    "# Problem\n{statement}\n\n# Task\n"
    "Provide a full implementation of the specified program in a Markdown code block.\n"
    "Use the following programming language: {language}\n"
)
_MULTI_LCB_MESSAGE = (
    "You are an expert {language} programmer. You will be given a question (problem specification) and will generate a"
    " correct {language} program that matches the specification and passes all tests.\n\n"
    "### Question:\n{statement}\n\n"
    "### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on"
    " the sample inputs). Enclose your code within delimiters as follows. Ensure that when the {tag} program runs, it"
    " reads the inputs, runs the algorithm and writes output to STDOUT.\n\n\n"
    "```{tag}\n{comment}\n```\n\n### Answer: (use the provided format with backticks)\n\n"
)
_INSTRUCTION = "Complete this {language} program. Answer with the whole program in one fenced block.\n\n"
_MOST_PROGRAM_CHARS = 1 << 20
# A definition of a function: by any language's keyword, by assignment (R, lambdas), or by an equation (Julia).
_DEFINITION = (
    r"\b(?:function|def|define(?:/contract|/match)?|let|rec|const|var|fun|sub|local)\b[\s*(]*{name}(?![\w-])"
    r"|^[ \t]*{name}(?:[ \t]*(?:<-|=)[ \t]*(?:(?:function|lambda)\b|\\\()"
    r"|\(.*\)(?:::\S+)?(?:[ \t]+where\b[^\n=]{{0,80}}?)?[ \t]*=[^=])"
    r"|^[ \t]*{name}[ \t]*=[ \t]*(?:\([^()\n]*\)|\w+)[ \t]*[-=]>"
)


def check_mode(problems: Sequence[AnyProblem], mode: str) -> None:
    """Raises ValueError for problems that have no program to complete."""
    if mode == COMPLETION and any(isinstance(problem, StdinProblem) for problem in problems):
        raise ValueError("--prompt=completion: these problems are statements in words: use --prompt=chat or instruct")


def prompt_of(problem: AnyProblem, language: Language, mode: str) -> str:
    """The model's input: the stripped prompt (MultiPL-E; with a line end for EvalPlus), or Listing 1 around it.

    For `instruct` the text of a user's message.
    """
    text = problem.prompt.strip()
    if isinstance(problem, StdinProblem):
        if mode == CHAT:
            return prompts.solve_problem(language, text, "paper")
        return _instruction_of(problem, language)
    if mode == CHAT:
        return prompts.evaluation_chat(language, text)
    if mode == INSTRUCT:
        return _INSTRUCTION.format(language=language.full_name) + prompts.fenced(language.fence, text)
    return text + "\n" if isinstance(problem, EvalPlusProblem) else text


def _instruction_of(problem: StdinProblem, language: Language) -> str:
    """The user's message: Agnostics' (arXiv 2508.04865), Multi-LCB's with its system message in front, or our own."""
    name, tag = language.full_name, language.fence
    if problem.form == AGNOSTICS:
        return _AGNOSTICS_MESSAGE.format(statement=problem.prompt, language=name)
    if problem.form == MULTI_LCB:
        comment = language.commented("YOUR CODE HERE")
        return _MULTI_LCB_MESSAGE.format(statement=problem.prompt, language=name, tag=tag, comment=comment)
    return f"{problem.prompt.strip()}\n\n{prompts.WHOLE_PROGRAM} Answer with a {name} program in one fenced block."


def prompt_ids_of(tokenizer: Tokenizer, problem: AnyProblem, language: Language, mode: str) -> tuple[int, ...]:
    """Token ids of the prompt.

    Raises:
      ValueError: `instruct`, and a model without a chat template or with one that cannot be used.
    """
    prompt = prompt_of(problem, language, mode)
    return tuple(tokenizer.encode_chat(prompt) if mode == INSTRUCT else tokenizer.encode_prompt(prompt))


def stop_of(problem: AnyProblem, language: BenchmarkLanguage, mode: str, published: bool = False) -> tuple[str, ...]:
    """The stop tokens: in completion mode the problem's, which would cut chat answers.

    Leaves out the language's faulty ones unless `published`.
    """
    if mode != COMPLETION:
        return (_ANSWER_END,) if mode == CHAT else ()
    faulty = () if published else language.faulty_stops
    return tuple(token for token in problem.stop_tokens if token not in faulty)


def cut_as_published(problem: AnyProblem, language: BenchmarkLanguage, text: str) -> str:
    """A completion that was sampled without the faulty stop tokens, cut where these end it."""
    cuts = [text.find(token) for token in problem.stop_tokens if token in language.faulty_stops]
    return text[: min((cut for cut in cuts if cut >= 0), default=len(text))]


def completion_of(
    problem: AnyProblem, benchmark_language: BenchmarkLanguage, mode: str, text: str
) -> Completion | Invalid:
    """The completion in a response, or why there is none.

    A chat answer is read as in training (`selfplay.format="azr"`), without asking for the format. A Racket answer
    without a #lang line gets the prompt's. As in EvalPlus (its providers' codegen), four spaces replace a tab, which
    Python refuses beside spaces. `_instructed` reads `instruct`.
    """
    if isinstance(problem, EvalPlusProblem):
        text = text.replace("\t", "    ")
    if mode == COMPLETION:
        return Completion(problem.name, text)
    if mode == INSTRUCT:
        return _instructed(problem, benchmark_language, text)
    language = benchmark_language.language
    tags = (language.fence, *language.fence_aliases)
    definition = _definition_of(problem, benchmark_language)
    closed = f"{text}{_ANSWER_END}" if text.rfind("<answer>") > text.rfind(_ANSWER_END) else text
    how = parsing.Form("azr", tags, 0, _MOST_PROGRAM_CHARS, definition.pattern if definition else "", may_be_body=True)
    reading = parsing.read(Role.SOLVE, TaskType.INDUCTION, closed, how)
    if isinstance(reading.answer, Invalid):
        return reading.checked if isinstance(reading.checked, Invalid) else reading.answer
    return Completion(problem.name, benchmark_language.loadable(reading.answer.program), whole=True)


def _instructed(problem: AnyProblem, benchmark_language: BenchmarkLanguage, text: str) -> Completion | Invalid:
    """The last fenced block of the language, or else the last without a tag, or of another; else the whole text.

    A block that defines the problem's function comes before others: a call of it may follow. What a model thought
    aloud, up to `</think>`, is left out; thoughts that do not end are no answer. A text that defines the problem's
    function is a whole program; in EvalPlus' Python, the prompt's imports and helpers before that function precede it.
    Any other text is the function's body and is appended to the prompt; Python's is indented if it is not, as is a
    first line whose spaces alone are missing.
    """
    language = benchmark_language.language
    tags = frozenset(tag.lower() for tag in (language.fence, *language.fence_aliases))
    _, ends, text = text.replace("\r\n", "\n").replace("\r", "\n").rpartition("</think>")
    if not ends and "<think>" in text:
        return Invalid("no_think_end")
    blocks = [(tag, block.strip("\n").rstrip()) for tag, block, _ in loose_blocks(text, tags)]
    blocks = [block for block in blocks if block[1]] or blocks or [("", text.strip("\n").rstrip())]
    definition = _definition_of(problem, benchmark_language)
    own, plain = [text for tag, text in blocks if tag in tags], [text for tag, text in blocks if not tag]
    ranked = [own, plain, [text for _, text in blocks]]
    all_defining = ([text for text in texts if definition and definition.search(text)] for texts in ranked)
    defining = next(filter(None, all_defining), [])
    program = (defining or next(filter(None, ranked)))[-1]
    if not program:
        return Invalid("empty_block")
    if isinstance(problem, EvalPlusProblem):
        own = definition.search(problem.prompt) if definition else None
        if defining or own is None:
            before = problem.prompt[: own.start()] if own else ""
            return Completion(problem.name, before + program, whole=True)
        return Completion(problem.name, _indented(program))
    if definition and not defining:
        return Completion(problem.name, f"{program}\n")
    return Completion(problem.name, benchmark_language.loadable(program), whole=True)


def _definition_of(problem: AnyProblem, benchmark_language: BenchmarkLanguage) -> re.Pattern[str] | None:
    """What defines the function that the problem's tests call; None if it has none, or they do not name it."""
    if isinstance(problem, EvalPlusProblem):
        name = re.escape(problem.entry_point)
        return re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{name}\b|^{name}[ \t]*=[ \t]*lambda\b", re.MULTILINE)
    if isinstance(problem, StdinProblem) or problem.own_tests:
        return None
    tests = assertions.parse(benchmark_language.form, problem.tests)
    return tests and re.compile(_DEFINITION.format(name=re.escape(tests.function)), re.MULTILINE)


def _indented(body: str) -> str:
    """The body of a Python function, indented in the first way in which Python reads it."""
    if body[0].isspace():
        return body
    indented = textwrap.indent(body, "    ")
    for way in (body, indented, f"    {body}"):
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            ast.parse(f"def f():\n{way}")
            return way
    return indented
