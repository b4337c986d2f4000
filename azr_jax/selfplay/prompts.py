"""The prompts of the six tasks (Listing 2's sections), of problems, and the evaluation prompt (Listing 1).

Text in, text out.

Two templates: `paper` with instructions in prose, for pretrained models, and `brief` without the prose, for small
models, where prompt tokens are dear. The proposer prompts of `paper` say, in words of our own, what those of the
public Absolute Zero code say: requirements, what to avoid, a plan before the program, the form as a skeleton that does
not run (a base model proposes an example that runs back), and the references last. All end inside an open <think> tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from azr_jax.selfplay.comments import without_comments
from azr_jax.types import InductionProblem, Role, TaskType, Triplet
from executors.language import Language

RESPONSE_FORMAT = (
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively,"
    " i.e., <think> reasoning process here </think> <answer> answer here </answer>."
)
OPENING = "Assistant: <think>"

_REQUIREMENTS = """# Code Requirements:
- Write the program in {language}.
- Name the entry function `f`; it takes at least one argument and returns a value.
- The same input always gives the same output: no random numbers, no clock, no environment.
- No input or output, no files, no network, no processes.
- The returned value can be written as a literal of the language.
"""
_PROPOSAL_REQUIREMENTS = """# Code Requirements:
- Write the program in {language}. Name its entry function `f`; it takes at least one argument, and several are welcome.
- `f` returns a value that can be written as a literal of the language.
- Other functions, nested ones, recursion and data types of your own are allowed.
- Let state change in several transformations that build on each other, so that no step can be skipped or guessed.
- The program and its input are new: they differ from all references.

# Avoid:
- random numbers, dates and clocks, and whatever else gives another result the next time
- reading input, printing, files, the network, other processes or threads
- anything that is defined outside the program

# Plan First:
While you think, and before you write the program: choose what state there is, how every transformation changes it, and
why someone has to follow all of them to find the answer.
"""
_PROPOSAL_FORMAT = """# Format:
{example}This shows the form alone; it does not run. Replace whatever stands in <angle brackets>. The input is what
stands between the parentheses of a call of `f`: all arguments, as expressions of {language}.

"""

_GIVEN = """# Given Function:
The function `g` below is defined before your program. Call it in `f` and build on what it returns, so that `f` does
more than `g` does. Do not define it again.
"""

_INPUT_REQUIREMENTS = """# Input Requirements:
- Let the inputs differ in kind and size, reach every branch of the program, and include unusual ones.
- Give every input as many arguments as the program's `f` takes.
- Use no random numbers, clocks, files or anything outside the program.
"""

_PROPOSE = {
    TaskType.DEDUCTION: (
        "# Task: Write a new {language} program and one input for it. Someone who is shown both has to work out the"
        " output, and should need a long chain of careful reasoning."
    ),
    TaskType.ABDUCTION: (
        "# Task: Write a new {language} program and one input for it. Someone who is shown the program and its output"
        " has to find an input that gives it, and should need a long chain of careful reasoning."
    ),
    TaskType.INDUCTION: (
        "# Task: For the {language} program below, write {inputs} different inputs and a message. The inputs together"
        " with their outputs and the message must allow someone who cannot see the program to write it, without the"
        " message giving the program away."
    ),
}
_SOLVE = {
    TaskType.DEDUCTION: "# Task: Predict the value that the {language} program `f` returns for the input.",
    TaskType.ABDUCTION: "# Task: Find an input for which the {language} program `f` returns the output. Any will do.",
    TaskType.INDUCTION: (
        "# Task: Write the {language} program `f` that maps every input to its output, held-out pairs included."
        " The message describes it."
    ),
}
_WANTED = {
    TaskType.DEDUCTION: "Write the output in one ```output``` block, as a literal of {language}.\n\n",
    TaskType.ABDUCTION: (
        "Write the input in one ```input``` block: what stands between the parentheses of a call of `f`, all arguments"
        " as expressions of {language}.\n\n"
    ),
}
_BRIEF = {
    (Role.PROPOSE, TaskType.DEDUCTION): "# Task: {language}, propose for output",
    (Role.PROPOSE, TaskType.ABDUCTION): "# Task: {language}, propose for input",
    (Role.PROPOSE, TaskType.INDUCTION): "# Task: {language}, propose message and {inputs} inputs",
    (Role.SOLVE, TaskType.DEDUCTION): "# Task: {language}, find output",
    (Role.SOLVE, TaskType.ABDUCTION): "# Task: {language}, find input",
    (Role.SOLVE, TaskType.INDUCTION): "# Task: {language}, find program",
}
# What is added to a statement whose tests are of standard input and output.
WHOLE_PROGRAM = "Write a whole program that reads standard input and writes its answer to standard output."
_BACKTICKS = re.compile(r"`{3,}")


def fenced(tag: str, text: str) -> str:
    """`text` in a fenced block; the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{tag}\n{text}\n{fence}\n"


def propose_triplet(
    language: Language, kind: TaskType, references: Sequence[Triplet], template: str, given: str = ""
) -> str:
    """The deduction or abduction proposer's prompt with its K reference triplets.

    `given`: the definition of a function g that the program has to call (composite.py).
    """
    shown = "".join(
        fenced(language.fence, triplet.program) + fenced("input", triplet.input) + fenced("output", triplet.output)
        for triplet in references
    )
    if template == "brief":
        brief = _brief(language, Role.PROPOSE, kind)
        if given:
            brief = brief.rstrip("\n") + ", call g\n" + fenced(language.fence, given)
        return brief + shown + OPENING
    skeleton = fenced(language.fence, language.skeleton) + fenced("input", language.skeleton_input)
    return (
        _headline(_PROPOSE[kind], language)
        + _PROPOSAL_REQUIREMENTS.format(language=language.full_name)
        + _PROPOSAL_FORMAT.format(language=language.full_name, example=skeleton)
        + f"Write the program in one ```{language.fence}``` block and its input in one ```input``` block.\n\n"
        + (_GIVEN + fenced(language.fence, given) + "\n" if given else "")
        + f"# References:\n{shown}\n"
        + OPENING
    )


def propose_induction(language: Language, program: str, inputs: int, template: str) -> str:
    """The induction proposer's prompt, which asks for a message and `inputs` inputs to a program."""
    shown = fenced(language.fence, program)
    if template == "brief":
        return _brief(language, Role.PROPOSE, TaskType.INDUCTION, inputs) + shown + OPENING
    example = fenced("message", "<what the function does, without its code>") + fenced("input", language.skeleton_input)
    return (
        _headline(_PROPOSE[TaskType.INDUCTION], language, inputs)
        + _INPUT_REQUIREMENTS
        + _PROPOSAL_FORMAT.format(language=language.full_name, example=example)
        + f"Write one ```message``` block and {inputs} ```input``` blocks, one for each input.\n\n"
        + f"# Program:\n{shown}\n"
        + OPENING
    )


def solve(
    language: Language,
    kind: TaskType,
    source: Triplet | InductionProblem,
    template: str,
    drop_comments: bool = False,
) -> str:
    """A solver's prompt. An induction problem shows its first `shown` pairs and never the rest.

    With `drop_comments` the program is shown without its comments (`selfplay.drop_comments`).
    """
    if isinstance(source, InductionProblem):
        pairs = zip(source.inputs[: source.shown], source.outputs[: source.shown], strict=True)
        shown = "".join(fenced("input", given) + fenced("output", result) for given, result in pairs)
        message = fenced("message", source.message)
        sections = f"# Input and Output Pairs:\n{shown}# Message:\n{message}"
        if template == "brief":
            return _brief(language, Role.SOLVE, kind) + shown + message + OPENING
        example = fenced(language.fence, language.example)
        wanted = f"Write the program in one ```{language.fence}``` block.\n\n"
    else:
        known = "input" if kind is TaskType.DEDUCTION else "output"
        asked = "output" if kind is TaskType.DEDUCTION else "input"
        known_text = source.input if kind is TaskType.DEDUCTION else source.output
        program = without_comments(language, source.program) if drop_comments else source.program
        sections = f"# Program:\n{fenced(language.fence, program)}# {known.title()}:\n{fenced(known, known_text)}"
        if template == "brief":
            body = fenced(language.fence, program) + fenced(known, known_text)
            return _brief(language, Role.SOLVE, kind) + body + OPENING
        example = fenced(asked, language.identity_output)
        wanted = _WANTED[kind].format(language=language.full_name)
    requirements = _REQUIREMENTS.format(language=language.full_name) if kind is TaskType.INDUCTION else ""
    return (
        _headline(_SOLVE[kind], language) + requirements + sections + f"# Example Output:\n{example}" + wanted + OPENING
    )


def solve_problem(language: Language, statement: str, template: str) -> str:
    """The prompt of a problem of whole programs: with `paper` that of an evaluation on such problems."""
    if template == "brief":
        return f"# Task: {language.full_name}, find program from standard input\n{statement.strip()}\n{OPENING}"
    return evaluation_chat(language, f"{statement.strip()}\n\n{WHOLE_PROGRAM}")


def evaluation_chat(language: Language, question: str) -> str:
    """The paper's Listing 1: the benchmark prompt for trained models."""
    name, fence = language.full_name, language.fence
    return (
        "# Task: You will be given a question (problem specification) and will generate a correct"
        f" {name} program that matches the specification and passes all tests. {RESPONSE_FORMAT}"
        f" Your final answer should be wrapped in ```{fence}``` tags.\n"
        f"Question: {question}\n\n"
        "You will use the following starter code to write the solution to the problem and enclose your code within"
        f" delimiters.\n```{fence}\n{language.commented('YOUR CODE HERE')}\n```\n\n{OPENING}"
    )


def _headline(task: str, language: Language, inputs: int = 0) -> str:
    return f"{task.format(language=language.full_name, inputs=inputs)} {RESPONSE_FORMAT}\n"


def _brief(language: Language, role: Role, kind: TaskType, inputs: int = 0) -> str:
    return _BRIEF[role, kind].format(language=language.full_name, inputs=inputs) + "\n"
