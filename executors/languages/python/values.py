"""Python values as text: a parser of literals and an emitter of the canonical form. Runs inside the sandbox.

Canonical form: `repr` of exact built-in types, with sets and dicts in the order of their elements' canonical texts and
with `float('nan')`, `float('inf')`, `float('-inf')` and `complex(a, b)` for what has no literal. Equal texts are equal
values of equal types: 1, 1.0 and True are three.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable

# CPython's tokenizer refuses 200 nested brackets; a frozenset takes two a level.
MAX_DEPTH = 90
_NUMBER_WORDS = {"nan", "inf", "infinity", "-nan", "-inf", "-infinity", "+inf", "+infinity", "+nan"}


class NotAValueError(Exception):
    """The text is no literal, nor a constructor call that this module reads."""


class UnserialisableError(Exception):
    """The value holds something that can't be written down; the argument names its type."""


class TooLongError(Exception):
    """The value's text has more characters than allowed."""


def parse(text: str) -> object:
    """The value that `text` writes down; nothing is executed.

    Reads literals, signed numbers, `a + bj`, inf and nan, and the calls set(), frozenset(...), tuple(), list(), dict(),
    float('nan'), float('inf'), complex(a, b) with literal arguments. Raises NotAValueError.
    """
    sys.set_int_max_str_digits(0)
    try:
        return _build(ast.parse(text.strip(), mode="eval").body)
    except NotAValueError:
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise NotAValueError(f"not a value: {type(error).__name__}: {error}") from None


def _build(node: ast.expr) -> object:
    match node:
        case ast.Constant(value=value) if value is not Ellipsis:
            return value
        case ast.Tuple(elts=elements):
            return tuple(map(_build, elements))
        case ast.List(elts=elements):
            return list(map(_build, elements))
        case ast.Set(elts=elements):
            return set(map(_build, elements))
        case ast.Dict(keys=keys, values=values):
            return {_build(_present(key)): _build(value) for key, value in zip(keys, values, strict=True)}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(operand, (int, float, complex))
            return -number if isinstance(sign, ast.USub) else +number
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as operator, right=right):
            real, imaginary = _number(left, (int, float)), _number(right, (complex,))
            return real + imaginary if isinstance(operator, ast.Add) else real - imaginary
        case ast.Name(id="inf" | "nan" as name):
            return float(name)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _construct(name, arguments)
    raise NotAValueError(f"not a value: {type(node).__name__} is no literal")


def _present(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise NotAValueError("not a value: ** in a dict")
    return key


def _number(node: ast.expr, types: tuple[type, ...]) -> complex:
    value = _build(node)
    if type(value) not in types:
        raise NotAValueError(f"not a value: arithmetic on {type(value).__name__}")
    return value  # type: ignore[return-value]


def _construct(name: str, arguments: list[ast.expr]) -> object:
    values = [_build(argument) for argument in arguments]
    match name, values:
        case "set" | "frozenset" | "tuple" | "list" | "dict", []:
            return getattr(builtins, name)()
        case ("set" | "frozenset") as kind, [list() | tuple() | set() as elements]:
            return set(elements) if kind == "set" else frozenset(elements)
        case "float", [str() as word] if word.strip().lower() in _NUMBER_WORDS:
            return float(word)
        case "complex", [int() | float() as real, int() | float() as imaginary]:
            return complex(real, imaginary)
    raise NotAValueError(f"not a value: the call of {name}")


def make_emitter() -> Callable[[object, int], str]:  # noqa: C901 - one closure
    """The function from a value and a number of characters to its canonical text.

    Everything it uses is bound here, before any program runs: a program that replaces builtins or this module's globals
    changes nothing. It calls no method of the value's own class. Raises UnserialisableError or TooLongError.
    """
    kind_of, size, order, join, identity, name_of = type, len, sorted, str.join, id, type.__getattribute__
    bool_type, int_type, float_type, complex_type, str_type, bytes_type = bool, int, float, complex, str, bytes
    list_type, tuple_type, set_type, frozenset_type, dict_type = list, tuple, set, frozenset, dict
    int_text, float_text, str_text, bytes_text = int.__repr__, float.__repr__, str.__repr__, bytes.__repr__
    bits, items, any_digits = int.bit_length, dict.items, sys.set_int_max_str_digits
    get_depth, set_depth = sys.getrecursionlimit, sys.setrecursionlimit
    unserialisable, too_long, max_depth = UnserialisableError, TooLongError, MAX_DEPTH
    special = {"nan": "float('nan')", "inf": "float('inf')", "-inf": "float('-inf')"}
    get_special, key_of = special.get, lambda pair: pair[0]

    def emit(value: object, max_chars: int) -> str:  # noqa: C901 - as above
        left = max_chars
        path: list[int] = []
        any_digits(0)
        depth_of_program = get_depth()
        set_depth(10_000)

        def spend(chars: int) -> None:
            nonlocal left
            left -= chars
            if left < 0:
                raise too_long

        def real(number: float) -> str:
            text = float_text(number)
            return get_special(text, text)

        def atom(item: object, kind: type) -> str | None:
            if item is None or kind is bool_type:
                return "None" if item is None else "True" if item else "False"
            if kind is int_type:
                if bits(item) > 4 * left + 8:  # type: ignore[arg-type]
                    raise too_long
                return int_text(item)  # type: ignore[arg-type]
            if kind is float_type:
                return real(item)  # type: ignore[arg-type]
            if kind is complex_type:
                return f"complex({real(item.real)}, {real(item.imag)})"  # type: ignore[attr-defined]
            if kind is str_type or kind is bytes_type:
                if size(item) > left:  # type: ignore[arg-type]
                    raise too_long
                return str_text(item) if kind is str_type else bytes_text(item)  # type: ignore[arg-type]
            return None

        def container(item: object, kind: type) -> str:
            if kind is dict_type:
                pairs = [(walk(key), walk(entry)) for key, entry in list_type(items(item))]  # type: ignore[arg-type]
                return "{" + join(", ", [f"{key}: {entry}" for key, entry in order(pairs, key=key_of)]) + "}"
            texts = [walk(entry) for entry in list_type(item)]  # type: ignore[call-overload]
            if kind is list_type:
                return "[" + join(", ", texts) + "]"
            if kind is tuple_type:
                return f"({texts[0]},)" if size(texts) == 1 else "(" + join(", ", texts) + ")"
            braces = "{" + join(", ", order(texts)) + "}" if texts else ""
            if kind is set_type:
                return braces or "set()"
            return f"frozenset({braces})"

        def walk(item: object) -> str:
            kind = kind_of(item)
            text = atom(item, kind)
            if text is not None:
                spend(size(text))
                return text
            if not (
                kind is list_type
                or kind is tuple_type
                or kind is dict_type
                or kind is set_type
                or kind is frozenset_type
            ):
                raise unserialisable(name_of(kind, "__name__"))
            if identity(item) in path:
                raise unserialisable("a value that contains itself")
            if size(path) >= max_depth:
                raise unserialisable(f"more than {max_depth} levels")
            path.append(identity(item))
            # Separators, so that a long walk ends early; the length is checked exactly at the end.
            spend(2 * size(item) - 2)  # type: ignore[arg-type]
            text = container(item, kind)
            path.pop()
            return text

        text = walk(value)
        if size(text) > max_chars:
            raise too_long
        set_depth(depth_of_program)
        return text

    return emit
