"""Small programs over integers and lists of integers: generated, run, inverted, and written in four languages and Lua.

A `Program` is one to three steps; each step is an `Operation` with constants. The values that the steps pass through
are computed here to write reasoning; the interpreters decide what a program returns (see corpus.py).
"""

from __future__ import annotations

import dataclasses
import random

from azr_jax.pretrain import lua
from azr_jax.pretrain.operations import LANGUAGE_ORDER, OPERATIONS, Kind, Operation, Value, in_range

_TAKING = {kind: tuple(op for op in OPERATIONS if op.takes == kind) for kind in ("int", "list")}
_STEP_NAMES = ("a", "b", "c")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """An operation with its constants."""

    operation: Operation
    constants: tuple[int, ...]

    def run(self, value: Value) -> Value | None:
        """The step's value, or None if it is undefined or too large to keep."""
        result = self.operation.run(value, *self.constants)
        return result if in_range(result) else None

    def undo(self, value: Value) -> Value | None:
        """A value that `run` maps to `value`, or None."""
        result = self.operation.undo(value, *self.constants)
        return result if in_range(result) and self.run(result) == value else None  # type: ignore[arg-type]

    def fill(self, template: str, **names: str) -> str:
        """A template of the operation with the constants in place."""
        return template.format(**dict(zip("abc", map(str, self.constants), strict=False)), **names)

    @property
    def phrase(self) -> str:
        """The step in words."""
        return self.fill(self.operation.phrase)

    def scratch(self, value: Value) -> str:
        """The arithmetic of the step on a value, or nothing."""
        return "" if self.operation.scratch is None else self.operation.scratch(value, *self.constants)

    def undo_scratch(self, value: Value) -> str:
        """The arithmetic of undoing the step on a value, or nothing."""
        return "" if self.operation.undo_scratch is None else self.operation.undo_scratch(value, *self.constants)


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """Steps applied one after another; `nested` writes them as one expression instead of named steps."""

    steps: tuple[Step, ...]
    nested: bool

    @property
    def takes(self) -> Kind:
        """The kind of its argument."""
        return self.steps[0].operation.takes

    def trace(self, value: Value) -> list[Value] | None:
        """The argument and the value after each step, or None if a step is undefined."""
        values = [value]
        for step in self.steps:
            result = step.run(values[-1])
            if result is None:
                return None
            values.append(result)
        return values

    def invert(self, output: Value) -> list[Value] | None:
        """The values from `output` back to an argument that gives it, or None if a step cannot be undone."""
        values = [output]
        for step in reversed(self.steps):
            previous = step.undo(values[-1])
            if previous is None:
                return None
            values.append(previous)
        return values

    def source(self, language: str, name: str = "f") -> str:
        """The program's text in a language, its entry function called `name`; Lua is never nested."""
        if language == "lua":
            return lua.source([(step.operation.name, step.constants) for step in self.steps], name)
        column = LANGUAGE_ORDER.index(language)
        if self.nested or len(self.steps) == 1:
            expression = "x"
            for position, step in enumerate(self.steps):
                inner = expression if position == 0 or language == "racket" else f"({expression})"
                expression = step.fill(step.operation.code[column], x=inner)
            return _FUNCTION[language].format(name=name, lines="", result=expression)
        *values, result = self.expressions(language)
        lines = "".join(
            _ASSIGN[language].format(name=variable, value=value)
            for variable, value in zip(_STEP_NAMES, values, strict=False)
        )
        return _FUNCTION[language].format(name=name, lines=lines, result=result)

    def expressions(self, language: str) -> list[str]:
        """Each step's expression as it stands in the program that is not nested."""
        column = LANGUAGE_ORDER.index(language)
        return [
            step.fill(step.operation.code[column], x=variable)
            for step, variable in zip(self.steps, ("x", *_STEP_NAMES), strict=False)
        ]


_FUNCTION = {
    "racket": "(define (f x)\n{lines}  {result})",
    "julia": "function f(x)\n{lines}    return {result}\nend",
    "javascript": "function f(x) {{\n{lines}  return {result};\n}}",
    "python": "def f(x):\n{lines}    return {result}",
}
_FUNCTION = {language: text.replace(" f", " {name}").replace("(f", "({name}") for language, text in _FUNCTION.items()}
_ASSIGN = {
    "racket": "  (define {name} {value})\n",
    "julia": "    {name} = {value}\n",
    "javascript": "  const {name} = {value};\n",
    "python": "    {name} = {value}\n",
}


def literal(value: Value, language: str) -> str:
    """A value as the executor of the language prints it (a test compares it with the interpreters)."""
    if isinstance(value, int):
        return str(value)
    if language == "lua":
        return lua.literal(value)
    if language == "racket":
        return "(list " + " ".join(map(str, value)) + ")"
    return "[" + ("," if language == "javascript" else ", ").join(map(str, value)) + "]"


def random_value(kind: Kind, rng: random.Random) -> Value:
    """An integer of 0 to 15, or a list of two to four digits."""
    if kind == "int":
        return rng.randint(0, 15)
    return tuple(rng.randint(0, 9) for _ in range(rng.randint(2, 4)))


def random_program(rng: random.Random, steps: int | None = None) -> Program:
    """A random program of one to three steps (two on average)."""
    count = steps or rng.choice((1, 2, 2, 3))
    kind: Kind = rng.choice(("int", "list"))
    chosen: list[Step] = []
    for _ in range(count):
        operation = rng.choice(_TAKING[kind])
        chosen.append(Step(operation, tuple(rng.randint(low, high) for low, high in operation.constants)))
        kind = operation.gives
    return Program(tuple(chosen), nested=rng.random() < 0.1)


def random_inputs(program: Program, count: int, rng: random.Random) -> list[Value] | None:
    """`count` different arguments on which every step is defined, or None if they are not found soon."""
    inputs: list[Value] = []
    for _ in range(20 * count):
        value = random_value(program.takes, rng)
        if value not in inputs and program.trace(value) is not None:
            inputs.append(value)
            if len(inputs) == count:
                return inputs
    return None
