"""The pretraining corpus and the held-out problems: generated programs, run by the real interpreters.

Everything follows from one seed. Held-out and validation programs are drawn first and no pretraining program equals
one of them, whatever its layout.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Sequence

from absl import logging

from azr_jax.pretrain import transcripts
from azr_jax.pretrain.operations import Value
from azr_jax.pretrain.programs import Program, literal, random_inputs, random_program
from azr_jax.pretrain.transcripts import Example, Transcript
from azr_jax.types import TASK_TYPES, InductionProblem, Role, TaskType, Triplet
from executors import LANGUAGES, Job, JobKind, Limits, Pool

CHUNK_PROGRAMS = 200
_RUN_MANY = {
    "racket": "{functions}\n(define fs (vector {names}))\n(define (f p) ((vector-ref fs (car p)) (cadr p)))",
    "julia": "{functions}\nfs = [{names}]\nf(p) = fs[p[1] + 1](p[2])",
    "javascript": "{functions}\nconst fs = [{names}];\nfunction f(p) {{ return fs[p[0]](p[1]); }}",
    "python": "{functions}\nfs = [{names}]\ndef f(p):\n    return fs[p[0]](p[1])",
    "lua": "{functions}\nlocal fs = {{{names}}}\nfunction f(p) return fs[p[1] + 1](p[2]) end",
}
_PAIR = {
    "racket": "(list {0} {1})",
    "julia": "({0}, {1})",
    "javascript": "[{0}, {1}]",
    "python": "({0}, {1})",
    "lua": "{{{0}, {1}}}",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """A program and arguments on which it is defined, not yet run."""

    program: Program
    values: tuple[Value, ...]


def draw(count: int, inputs: int, rng: random.Random, taken: set[tuple]) -> list[Drawn]:
    """`count` programs, none in `taken` (which they join), each with `inputs` different arguments."""
    drawn: list[Drawn] = []
    while len(drawn) < count:
        program = random_program(rng)
        if key(program) in taken:
            continue
        values = random_inputs(program, inputs, rng)
        if values is not None:
            taken.add(key(program))
            drawn.append(Drawn(program, tuple(values)))
    return drawn


def key(program: Program) -> tuple:
    """A key that programs with the same steps share, whatever their layout."""
    return tuple((step.operation.name, step.constants) for step in program.steps)


def splits(seed: int, inputs: int, heldout: int, pretraining: dict[str, int]) -> dict[str, list[Drawn]]:
    """Programs of the `heldout` and `validation` splits and of each language's pretraining, disjoint from those two.

    A pretraining program may recur in another language but not within one.
    """
    reserved: set[tuple] = set()
    parts = {
        name: draw(heldout, inputs, random.Random(f"{seed}/{name}"), reserved) for name in ("heldout", "validation")
    }
    for language, count in pretraining.items():
        parts[language] = draw(count, inputs, random.Random(f"{seed}/{language}"), set(reserved))
    return parts


def run(language: str, drawn: Sequence[Drawn], workers: int) -> list[Example]:
    """Runs every program on all its arguments, and on the one found by undoing its steps, with the real interpreter.

    Raises:
      RuntimeError: an interpreter failed, or disagrees with the value that the generator expects.
    """
    chunks = [drawn[start : start + CHUNK_PROGRAMS] for start in range(0, len(drawn), CHUNK_PROGRAMS)]
    limits = Limits(wall_s=120.0, cpu_s=120.0, memory_mib=2048)
    with Pool(language, workers=workers, limits=limits) as pool:
        verdicts = pool.run_all([_job(language, number, chunk) for number, chunk in enumerate(chunks)])
    examples: list[Example] = []
    for chunk, verdict in zip(chunks, verdicts, strict=True):
        if not verdict.ok:
            raise RuntimeError(f"{language} could not run the corpus: {verdict.status}: {verdict.message}")
        values = iter(verdict.values)
        examples += [_example(language, item, values) for item in chunk]
    logging.info("%s: %d programs run", language, len(examples))
    return examples


def _arguments(item: Drawn) -> tuple[Value, ...]:
    inverted = _inverted(item)
    return item.values if inverted is None else (*item.values, inverted)


def _inverted(item: Drawn) -> Value | None:
    trace = item.program.trace(item.values[0])
    assert trace is not None
    backward = item.program.invert(trace[-1])
    return None if backward is None else backward[-1]


def _job(language: str, number: int, chunk: Sequence[Drawn]) -> Job:
    names = [f"g{index}" for index in range(len(chunk))]
    separator = " " if language == "racket" else ", "
    source = _RUN_MANY[language].format(
        functions="\n".join(item.program.source(language, name) for item, name in zip(chunk, names, strict=True)),
        names=separator.join(names),
    )
    inputs = tuple(
        _PAIR[language].format(index, literal(value, language))
        for index, item in enumerate(chunk)
        for value in _arguments(item)
    )
    return Job(f"{language}/{number}", JobKind.EVALUATE, source, inputs, together=True)


def _example(language: str, item: Drawn, outputs: Iterator[str]) -> Example:
    values = []
    for value in item.values:
        trace = item.program.trace(value)
        assert trace is not None
        printed, expected = next(outputs), literal(trace[-1], language)
        if printed != expected:
            source = item.program.source(language)
            raise RuntimeError(f"{language} gives {printed} for {value}, {expected} was expected:\n{source}")
        values.append(printed)
    inverted = _inverted(item)
    if inverted is not None and (printed := next(outputs)) != values[0]:
        raise RuntimeError(f"{language} gives {printed} for the inverse {inverted}, not {values[0]}")
    return Example(item.program, language, item.values, tuple(values), inverted)


def write(
    examples: Sequence[Example], count: int, shown: int, references: int, clean: bool, seed: str
) -> list[Transcript]:
    """`count` transcripts over the six tasks in the documented shares; examples are used in turn."""
    rng = random.Random(seed)
    language = LANGUAGES[examples[0].language]
    identity = Triplet(language.name, language.identity, language.identity_input, language.identity_output)
    written = []
    tasks = list(transcripts.TASK_SHARES)
    weights = list(transcripts.TASK_SHARES.values())
    for number in range(count):
        example = examples[number % len(examples)]
        role, kind = rng.choices(tasks, weights)[0]
        if role is Role.SOLVE:
            written.append(transcripts.solver(kind, example, language, shown, clean, rng))
        else:
            shown_triplets = [other.triplet() for other in rng.sample(examples, rng.randint(1, references))]
            if rng.random() < 0.15:
                shown_triplets[rng.randrange(len(shown_triplets))] = identity
            written.append(transcripts.proposer(kind, example, shown_triplets, language, clean, rng))
    return written


def problem_lines(examples: Sequence[Example], shown: int, seed: str) -> list[str]:
    """JSON lines of a problem set: the examples in turn as deduction, abduction and induction problems."""
    rng = random.Random(seed)
    lines = []
    for number, example in enumerate(examples):
        kind = TASK_TYPES[number % 3]
        source: Triplet | InductionProblem = (
            example.problem(shown, rng) if kind is TaskType.INDUCTION else example.triplet()
        )
        lines.append(json.dumps({"type": kind.value, **dataclasses.asdict(source)}))
    return lines
