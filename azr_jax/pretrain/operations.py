"""The steps that pretraining programs are made of, each with its text in four languages, its words and its inverse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

Value = int | tuple[int, ...]
Kind = Literal["int", "list"]
LANGUAGE_ORDER = ("racket", "julia", "javascript", "python")

MAX_ABSOLUTE = 60
MAX_ITEMS = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One kind of step.

    `run` gives the value or None if the step is undefined (languages disagree, or too large). `undo` gives some
    value that the step maps to its argument, or None. `code` has one expression a language in LANGUAGE_ORDER, with
    {x} for the argument and {a}, {b}, {c} for constants; `phrase` says the step in words. `scratch` writes the
    arithmetic of a step from its argument, `undo_scratch` that of its inverse, if there is one.
    """

    name: str
    takes: Kind
    gives: Kind
    constants: tuple[tuple[int, int], ...]
    run: Callable[..., Value | None]
    undo: Callable[..., Value | None]
    code: tuple[str, str, str, str]
    phrase: str
    scratch: Callable[..., str] | None = None
    undo_scratch: Callable[..., str] | None = None


def in_range(value: Value | None) -> bool:
    """Whether a value is small enough to keep; an empty list is not kept (its type in Julia is ambiguous)."""
    if value is None:
        return False
    items = (value,) if isinstance(value, int) else value
    return 1 <= len(items) <= MAX_ITEMS and all(abs(item) <= MAX_ABSOLUTE for item in items)


def _running(step: Callable[[int, int], int]) -> Callable[..., str]:
    def scratch(x: tuple[int, ...]) -> str:
        totals = [x[0]]
        for item in x[1:]:
            totals.append(step(totals[-1], item))
        return " ".join(map(str, totals))

    return scratch


def _each(sign: str, result: Callable[[int, int], int]) -> Callable[..., str]:
    def scratch(x: tuple[int, ...], a: int) -> str:
        return " ".join(f"{v} {sign} {a} = {result(v, a)}" for v in x)

    return scratch


_SMALL = ((1, 9),)
# A table: name and kinds, function and inverse, text in each language, words, arithmetic.
# fmt: off
_INT_OPERATIONS = (
    Operation(
        "add", "int", "int", _SMALL,
        lambda x, a: x + a, lambda y, a: y - a,
        ("(+ {x} {a})", "{x} + {a}", "{x} + {a}", "{x} + {a}"),
        "add {a}", lambda x, a: f"{x} + {a}", lambda y, a: f"{y} - {a}",
    ),
    Operation(
        "sub", "int", "int", _SMALL,
        lambda x, a: x - a, lambda y, a: y + a,
        ("(- {x} {a})", "{x} - {a}", "{x} - {a}", "{x} - {a}"),
        "subtract {a}", lambda x, a: f"{x} - {a}", lambda y, a: f"{y} + {a}",
    ),
    Operation(
        "mul", "int", "int", ((2, 4),),
        lambda x, a: x * a, lambda y, a: y // a if y % a == 0 else None,
        ("(* {x} {a})", "{x} * {a}", "{x} * {a}", "{x} * {a}"),
        "multiply by {a}", lambda x, a: f"{x} * {a}", lambda y, a: f"{y} / {a}",
    ),
    Operation(
        "from", "int", "int", ((5, 20),),
        lambda x, a: a - x, lambda y, a: a - y,
        ("(- {a} {x})", "{a} - {x}", "{a} - {x}", "{a} - {x}"),
        "subtract from {a}", lambda x, a: f"{a} - {x}", lambda y, a: f"{a} - {y}",
    ),
    Operation(
        "max", "int", "int", ((2, 12),),
        max, lambda y, a: y if y >= a else None,
        ("(max {x} {a})", "max({x}, {a})", "Math.max({x}, {a})", "max({x}, {a})"),
        "at least {a}",
    ),
    Operation(
        "min", "int", "int", ((2, 12),),
        min, lambda y, a: y if y <= a else None,
        ("(min {x} {a})", "min({x}, {a})", "Math.min({x}, {a})", "min({x}, {a})"),
        "at most {a}",
    ),
    Operation(
        "mod", "int", "int", ((2, 9),),
        lambda x, a: x % a if x >= 0 else None, lambda y, a: y if 0 <= y < a else None,
        ("(modulo {x} {a})", "mod({x}, {a})", "{x} % {a}", "{x} % {a}"),
        "remainder by {a}", lambda x, a: f"{x} mod {a}",
    ),
    Operation(
        "div", "int", "int", ((2, 5),),
        lambda x, a: x // a if x >= 0 else None, lambda y, a: y * a if y >= 0 else None,
        ("(quotient {x} {a})", "div({x}, {a})", "Math.floor({x} / {a})", "{x} // {a}"),
        "divide by {a}", lambda x, a: f"{x} div {a}", lambda y, a: f"{y} * {a}",
    ),
    Operation(
        "branch", "int", "int", ((3, 9), (1, 9), (1, 9)),
        lambda x, a, b, c: x + b if x > a else x - c,
        lambda y, a, b, c: y - b if y - b > a else (y + c if y + c <= a else None),
        ("(if (> {x} {a}) (+ {x} {b}) (- {x} {c}))", "({x} > {a} ? {x} + {b} : {x} - {c})",
         "({x} > {a} ? {x} + {b} : {x} - {c})", "({x} + {b} if {x} > {a} else {x} - {c})"),
        "if above {a} add {b} else subtract {c}",
        lambda x, a, b, c: f"{x} > {a} {x} + {b}" if x > a else f"{x} <= {a} {x} - {c}",
        lambda y, a, b, c: f"{y} - {b}" if y - b > a else f"{y} + {c}",
    ),
    Operation(
        "pair", "int", "list", _SMALL,
        lambda x, a: (x, x + a), lambda y, a: y[0] if len(y) == 2 and y[1] == y[0] + a else None,
        ("(list {x} (+ {x} {a}))", "[{x}, {x} + {a}]", "[{x}, {x} + {a}]", "[{x}, {x} + {a}]"),
        "list it and it plus {a}", lambda x, a: f"{x} + {a} = {x + a}",
    ),
)
_LIST_OPERATIONS = (
    Operation(
        "reverse", "list", "list", (),
        lambda x: x[::-1], lambda y: y[::-1],
        ("(reverse {x})", "reverse({x})", "[...{x}].reverse()", "{x}[::-1]"),
        "reverse",
    ),
    Operation(
        "sort", "list", "list", (),
        lambda x: tuple(sorted(x)), lambda y: y if tuple(sorted(y)) == y else None,
        ("(sort {x} <)", "sort({x})", "[...{x}].sort((a, b) => a - b)", "sorted({x})"),
        "sort",
    ),
    Operation(
        "map_add", "list", "list", _SMALL,
        lambda x, a: tuple(v + a for v in x), lambda y, a: tuple(v - a for v in y),
        ("(map (lambda (v) (+ v {a})) {x})", "[v + {a} for v in {x}]",
         "{x}.map((v) => v + {a})", "[v + {a} for v in {x}]"),
        "add {a} to each", _each("+", lambda v, a: v + a), _each("-", lambda v, a: v - a),
    ),
    Operation(
        "map_mul", "list", "list", ((2, 3),),
        lambda x, a: tuple(v * a for v in x),
        lambda y, a: tuple(v // a for v in y) if all(v % a == 0 for v in y) else None,
        ("(map (lambda (v) (* v {a})) {x})", "[v * {a} for v in {x}]",
         "{x}.map((v) => v * {a})", "[v * {a} for v in {x}]"),
        "multiply each by {a}", _each("*", lambda v, a: v * a), _each("/", lambda v, a: v // a),
    ),
    Operation(
        "above", "list", "list", ((2, 7),),
        lambda x, a: tuple(v for v in x if v > a), lambda y, a: y if y and min(y) > a else None,
        ("(filter (lambda (v) (> v {a})) {x})", "[v for v in {x} if v > {a}]",
         "{x}.filter((v) => v > {a})", "[v for v in {x} if v > {a}]"),
        "keep those above {a}",
    ),
    Operation(
        "rest", "list", "list", (),
        lambda x: x[1:] if len(x) > 1 else None, lambda y: (1, *y),
        ("(cdr {x})", "{x}[2:end]", "{x}.slice(1)", "{x}[1:]"),
        "drop the first",
    ),
    Operation(
        "push", "list", "list", _SMALL,
        lambda x, a: (*x, a), lambda y, a: y[:-1] if len(y) > 1 and y[-1] == a else None,
        ("(append {x} (list {a}))", "vcat({x}, {a})", "[...{x}, {a}]", "{x} + [{a}]"),
        "put {a} at the end",
    ),
    Operation(
        "cons", "list", "list", _SMALL,
        lambda x, a: (a, *x), lambda y, a: y[1:] if len(y) > 1 and y[0] == a else None,
        ("(cons {a} {x})", "vcat({a}, {x})", "[{a}, ...{x}]", "[{a}] + {x}"),
        "put {a} in front",
    ),
    Operation(
        "sum", "list", "int", (),
        lambda x: sum(x), lambda y: (y,),
        ("(apply + {x})", "sum({x})", "{x}.reduce((a, b) => a + b, 0)", "sum({x})"),
        "sum", _running(lambda a, b: a + b),
    ),
    Operation(
        "length", "list", "int", (),
        lambda x: len(x), lambda y: (1,) * y if 1 <= y <= MAX_ITEMS else None,
        ("(length {x})", "length({x})", "{x}.length", "len({x})"),
        "count them",
    ),
    Operation(
        "largest", "list", "int", (),
        lambda x: max(x), lambda y: (y,),
        ("(apply max {x})", "maximum({x})", "Math.max(...{x})", "max({x})"),
        "largest", _running(max),
    ),
    Operation(
        "smallest", "list", "int", (),
        lambda x: min(x), lambda y: (y,),
        ("(apply min {x})", "minimum({x})", "Math.min(...{x})", "min({x})"),
        "smallest", _running(min),
    ),
    Operation(
        "first", "list", "int", (),
        lambda x: x[0], lambda y: (y,),
        ("(car {x})", "first({x})", "{x}.at(0)", "{x}[0]"),
        "first",
    ),
    Operation(
        "last", "list", "int", (),
        lambda x: x[-1], lambda y: (y,),
        ("(last {x})", "last({x})", "{x}.at(-1)", "{x}[-1]"),
        "last",
    ),
)
# fmt: on
OPERATIONS: tuple[Operation, ...] = _INT_OPERATIONS + _LIST_OPERATIONS
