"""Transcripts of the six tasks: a prompt and a response, in a documented mixture of styles.

A base model's ability is spread over many ways of writing, most of them poor. The mixture below does the same in
miniature: most answers are terse or guessed, some are worked out step by step, and some have no format at all. The
ability is there for reinforcement learning to bring out; the prompt or greedy decoding alone does not.

Solver styles (share of transcripts): `terse` 0.4, an answer without reasoning, wrong in 0.3 of them; `guess` 0.2,
wrong in 0.7; `reasoned` 0.25, worked out in steps, wrong in 0.05; `unformatted` 0.15, no answer block.
Proposer styles: `terse` 0.45, of which 0.25 do not run and 0.1 copy a reference; `planned` 0.35, all of which run;
`unformatted` 0.2.

Most of the corpus comes before that mixture and is clean: right, reasoned (or planned) and formatted. It teaches the
ability: a model that sees the mixture alone learns to copy from its prompt ten times more slowly.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence

from azr_jax.pretrain.operations import Value
from azr_jax.pretrain.programs import Program, Step, literal, random_value
from azr_jax.selfplay import prompts
from azr_jax.types import InductionProblem, Role, TaskType, Triplet
from executors.language import Language

TEMPLATE = "brief"
SOLVER_STYLES = {"terse": 0.4, "guess": 0.2, "reasoned": 0.25, "unformatted": 0.15}
PROPOSER_STYLES = {"terse": 0.45, "planned": 0.35, "unformatted": 0.2}
WRONG_SHARE = {"terse": 0.3, "guess": 0.7, "reasoned": 0.05, "unformatted": 0.3}
TASK_SHARES = {
    (Role.PROPOSE, TaskType.DEDUCTION): 0.11,
    (Role.PROPOSE, TaskType.ABDUCTION): 0.11,
    (Role.PROPOSE, TaskType.INDUCTION): 0.12,
    (Role.SOLVE, TaskType.DEDUCTION): 0.22,
    (Role.SOLVE, TaskType.ABDUCTION): 0.22,
    (Role.SOLVE, TaskType.INDUCTION): 0.22,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A program with arguments, and what the real interpreter printed for each.

    `inverted` is an argument found by undoing the steps from the first output, confirmed by the interpreter, or None.
    """

    program: Program
    language: str
    values: tuple[Value, ...]
    outputs: tuple[str, ...]
    inverted: Value | None

    @property
    def source(self) -> str:
        """The program's text."""
        return self.program.source(self.language)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The arguments' text."""
        return tuple(literal(value, self.language) for value in self.values)

    def triplet(self) -> Triplet:
        """The program with its first argument."""
        return Triplet(self.language, self.source, self.inputs[0], self.outputs[0])

    def problem(self, shown: int, rng: random.Random) -> InductionProblem:
        """The program with a message and all its pairs."""
        return InductionProblem(
            self.language, self.source, message(self.program, rng), self.inputs, self.outputs, shown
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Transcript:
    """One prompt and one response to it; `style` and `right` say how it was made."""

    role: Role
    type: TaskType
    language: str
    prompt: str
    response: str
    style: str
    right: bool


def message(program: Program, rng: random.Random) -> str:
    """An induction proposer's message: all steps (0.8), the steps without their numbers (0.1), or just the kinds."""
    phrases = ", ".join(step.phrase for step in program.steps)
    choice = rng.random()
    if choice < 0.8:
        return phrases
    if choice < 0.9:
        return re.sub(r"\d+", "some", phrases)
    gives = program.steps[-1].operation.gives
    return f"{program.takes} to {gives} in {len(program.steps)} steps"


def solver(
    kind: TaskType, example: Example, language: Language, shown: int, clean: bool, rng: random.Random
) -> Transcript:
    """A solver's transcript, clean or in a random style."""
    style = "reasoned" if clean else _pick(SOLVER_STYLES, rng)
    wrong = not clean and rng.random() < WRONG_SHARE[style]
    if kind is TaskType.INDUCTION:
        source = example.problem(shown, rng)
        program = _corrupted(example.program, rng) if wrong else example.program
        tag, answer = language.fence, program.source(example.language)
        reasoning = _translation(program, example.language)
    else:
        source = example.triplet()
        trace = _deduction(example, wrong, rng) if kind is TaskType.DEDUCTION else _abduction(example, wrong, rng)
        reasoning, value = trace
        tag, answer = ("output" if kind is TaskType.DEDUCTION else "input"), literal(value, example.language)
        if style != "reasoned" and wrong:
            answer = literal(_nudged(value, rng), example.language)
    response = _respond(style, reasoning, prompts.fenced(tag, answer), answer, rng)
    prompt = prompts.solve(language, kind, source, TEMPLATE)
    return Transcript(Role.SOLVE, kind, example.language, prompt, response, style, not wrong)


def proposer(
    kind: TaskType,
    example: Example,
    references: Sequence[Triplet],
    language: Language,
    clean: bool,
    rng: random.Random,
) -> Transcript:
    """A proposer's transcript, clean or in a random style."""
    style = "planned" if clean else _pick(PROPOSER_STYLES, rng)
    broken = style == "terse" and rng.random() < 0.25
    plan = _translation(example.program, example.language)
    if kind is TaskType.INDUCTION:
        prompt = prompts.propose_induction(language, example.source, len(example.inputs), TEMPLATE)
        inputs = list(example.inputs)
        if broken:
            inputs = inputs[: rng.randint(1, len(inputs) - 1)]
        blocks = prompts.fenced("message", message(example.program, rng))
        blocks += "".join(prompts.fenced("input", text) for text in inputs)
    else:
        prompt = prompts.propose_triplet(language, kind, references, TEMPLATE)
        source, given = example.source, example.inputs[0]
        if broken:
            source, given = _broken(example, rng)
        elif style == "terse" and references and rng.random() < 0.1:
            copied = rng.choice(list(references))
            source, given = copied.program, copied.input
        blocks = prompts.fenced(language.fence, source) + prompts.fenced("input", given)
    response = _respond("reasoned" if style == "planned" else style, plan, blocks, blocks, rng)
    return Transcript(Role.PROPOSE, kind, example.language, prompt, response, style, not broken)


def _pick(shares: dict[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _respond(style: str, reasoning: str, blocks: str, bare: str, rng: random.Random) -> str:
    if style == "terse":
        return f"</think>\n<answer>\n{blocks}</answer>"
    if style == "guess":
        return f" guess</think>\n<answer>\n{blocks}</answer>"
    if style == "reasoned":
        return f" {reasoning}</think>\n<answer>\n{blocks}</answer>"
    return rng.choice((f" so\n{bare}", f" so</think>\n{bare}", f" so</think>\n<answer>\n{bare}"))


def _deduction(example: Example, wrong: bool, rng: random.Random) -> tuple[str, Value]:
    """The argument, then each expression as it stands in the program with its value."""
    value, language = example.values[0], example.language
    lines = [f"x = {literal(value, language)}"]
    slip = rng.randrange(len(example.program.steps)) if wrong else -1
    steps = zip(example.program.steps, example.program.expressions(language), strict=True)
    for position, (step, expression) in enumerate(steps):
        scratch, result = step.scratch(value), step.run(value)
        if position == slip and result is not None:
            result = _nudged(result, rng)
        if result is None:
            break
        lines.append(f"{expression} {scratch}{' ' if scratch else ''}= {literal(result, language)}")
        value = result
    return "; ".join(lines), value


def _abduction(example: Example, wrong: bool, rng: random.Random) -> tuple[str, Value]:
    """From the output back, each expression with its value and the value before it."""
    trace = example.program.trace(example.values[0])
    assert trace is not None
    backward = example.program.invert(trace[-1])
    if backward is None:
        # No rule undoes a step: the reasoning tries the original argument and shows that it fits.
        forward, _ = _deduction(example, False, rng)
        value = _nudged(example.values[0], rng) if wrong else example.values[0]
        return f"try {forward}", value
    if wrong:
        backward[-1] = _nudged(backward[-1], rng)
    steps = zip(example.program.steps, example.program.expressions(example.language), strict=True)
    lines = [f"out = {literal(backward[0], example.language)}"]
    for (step, expression), after, before in zip(reversed(list(steps)), backward, backward[1:], strict=False):
        scratch = step.undo_scratch(after)
        lines.append(f"{expression} {scratch}{' ' if scratch else ''}from {literal(before, example.language)}")
    return "; ".join(lines), backward[-1]


def _translation(program: Program, language: str) -> str:
    """Each step in words with its expression."""
    steps = zip(program.steps, program.expressions(language), strict=True)
    return "; ".join(f"{step.phrase}: {expression}" for step, expression in steps)


def _nudged(value: Value, rng: random.Random) -> Value:
    """A wrong value that looks like the right one."""
    if isinstance(value, int):
        return value + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))
    items = list(value)
    place = rng.randrange(len(items))
    if len(items) > 2 and rng.random() < 0.3:
        del items[place]
    else:
        items[place] += rng.choice((-2, -1, 1, 2))
    return tuple(items)


def _corrupted(program: Program, rng: random.Random) -> Program:
    """The program with a constant changed, or with a step dropped or doubled when it has no constant."""
    steps = list(program.steps)
    places = [place for place, step in enumerate(steps) if step.constants]
    if places:
        place = rng.choice(places)
        constants = list(steps[place].constants)
        constants[rng.randrange(len(constants))] += rng.choice((1, 2, 3))
        steps[place] = Step(steps[place].operation, tuple(constants))
    elif len(steps) > 1 and steps[0].operation.takes == steps[0].operation.gives:
        steps = steps[1:]
    else:
        steps = [*steps, steps[-1]] if steps[-1].operation.takes == steps[-1].operation.gives else steps[:1]
    return Program(tuple(steps), program.nested)


def _broken(example: Example, rng: random.Random) -> tuple[str, str]:
    """A proposal that does not run: an argument of the wrong kind, an unknown name, or text cut off."""
    source, given = example.source, example.inputs[0]
    choice = rng.randrange(3)
    if choice == 0:
        other = "list" if example.program.takes == "int" else "int"
        return source, literal(random_value(other, rng), example.language)
    if choice == 1:
        place = source.rindex("x") if "x" in source else len(source)
        return source[:place] + "y" + source[place + 1 :], given
    return source[: rng.randint(len(source) // 2, len(source) - 1)], given
