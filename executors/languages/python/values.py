"""Python values as text: a parser of literals and an emitter of the canonical form. Runs inside the sandbox.

Canonical form: `repr` of exact built-in types, with sets and dicts in the order of their elements' canonical texts and
with `float('nan')`, `float('inf')`, `float('-inf')` and `complex(a, b)` for what has no literal. Types of the standard
library whose constructor text reads back are values too: Counter, defaultdict of a built-in type, OrderedDict, deque,
Decimal, Fraction, date, time, datetime without a time zone, timedelta, range, bytearray. Equal texts are equal values
of equal types: 1, 1.0 and True differ.
"""

from __future__ import annotations

import ast
import builtins
import collections
import datetime
import decimal
import fractions
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

# CPython's tokenizer refuses 200 nested brackets; a frozenset takes two a level.
MAX_DEPTH = 90
_NUMBER_WORDS = {"nan", "inf", "infinity", "-nan", "-inf", "-infinity", "+inf", "+infinity", "+nan"}


class NotAValueError(Exception):
    """The text is neither a literal nor a constructor call that this module reads."""


class UnserialisableError(Exception):
    """The value holds something that can't be written down; the argument names its type."""


class TooLongError(Exception):
    """The value's text has more characters than allowed."""


def parse(text: str) -> object:
    """The value written in `text`; nothing is executed.

    Reads literals, signed numbers, `a + bj`, inf and nan, and calls of the constructors that the canonical form uses
    with literal arguments. Raises NotAValueError.
    """
    return _read(lambda: _build(ast.parse(text.strip(), mode="eval").body))


def parse_arguments(text: str) -> tuple[tuple[object, ...], dict[str, object]]:
    """The positional and keyword arguments in `text`, the part of a call between its parentheses.

    Every argument is a value as `parse` reads it; nothing is executed. Raises NotAValueError.
    """

    def read() -> tuple[tuple[object, ...], dict[str, object]]:
        call = call_of(text)
        names = [keyword.arg for keyword in call.keywords]
        if None in names or len(set(names)) < len(names):
            raise NotAValueError("not a value: ** or a repeated name among the keyword arguments")
        named = {str(keyword.arg): _build(keyword.value) for keyword in call.keywords}
        return tuple(map(_build, call.args)), named

    return _read(read)


def call_of(text: str) -> ast.Call:
    """The syntax tree of the call f(text). Raises NotAValueError if text is no argument list, or an empty one."""
    try:
        call = ast.parse(f"f({text}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotAValueError(f"no argument list: {type(error).__name__}: {error}") from None
    # A text such as "1)(2" closes the parenthesis by itself.
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise NotAValueError("no argument list: its parentheses are not balanced")
    if not call.args and not call.keywords:
        raise NotAValueError("no argument list: f needs an argument")
    return call


Read = TypeVar("Read")


def _read(read: Callable[[], Read]) -> Read:
    sys.set_int_max_str_digits(0)
    try:
        return read()
    except NotAValueError:
        raise
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, ArithmeticError) as error:
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
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id=_), attr=name), keywords=keywords):
            return _construct(name, node.args, keywords)
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


_FACTORIES = {
    kind.__name__: kind for kind in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}
_DATES = {"date": datetime.date, "time": datetime.time, "datetime": datetime.datetime, "timedelta": datetime.timedelta}


def _construct(name: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> object:  # noqa: C901 - a table
    if name == "defaultdict" and arguments and not keywords:
        return _default_dict(arguments)
    values = [_build(argument) for argument in arguments]
    named = {str(keyword.arg): _build(keyword.value) for keyword in keywords}
    if name in _DATES and all(type(number) is int for number in (*values, *named.values())):
        return _DATES[name](*values, **named)
    match name, values, named:
        case "dict", [], _ if None not in {keyword.arg for keyword in keywords}:
            return named
        case "deque", [list() as items], {"maxlen": int() as longest}:
            return collections.deque(items, longest)
        case _ if named:
            pass
        case "set" | "frozenset" | "tuple" | "list" | "Counter" | "OrderedDict" | "deque", [], _:
            return (getattr(builtins, name, None) or getattr(collections, name))()
        case ("set" | "frozenset") as kind, [list() | tuple() | set() as elements], _:
            return set(elements) if kind == "set" else frozenset(elements)
        case "float", [str() as word], _ if word.strip().lower() in _NUMBER_WORDS:
            return float(word)
        case "complex", [int() | float() as real, int() | float() as imaginary], _:
            return complex(real, imaginary)
        case "Counter", [dict() as counts], _:
            return collections.Counter(counts)
        case "OrderedDict", [list() | dict() as items], _:
            return collections.OrderedDict(items)
        case "deque", [list() as items], _:
            return collections.deque(items)
        case "Decimal", [str() | int() as number], _:
            return decimal.Decimal(number)
        case "Fraction", [int(), int()] | [int() | str()], _:
            return fractions.Fraction(*values)  # type: ignore[arg-type]
        case "range", [int(), *_], _ if all(type(number) is int for number in values):
            return range(*values)  # type: ignore[call-overload]
        case "bytearray", [bytes() as content], _:
            return bytearray(content)
    raise NotAValueError(f"not a value: the call of {name}")


def _default_dict(arguments: list[ast.expr]) -> object:
    match arguments[0]:
        case ast.Name(id=name) if name in _FACTORIES:
            factory = _FACTORIES[name]
        case ast.Constant(value=None):
            factory = None
        case _:
            raise NotAValueError("not a value: a defaultdict of something else than a built-in type")
    items = [_build(argument) for argument in arguments[1:]]
    if not (items == [] or (len(items) == 1 and type(items[0]) is dict)):
        raise NotAValueError("not a value: a defaultdict of something else than a dict")
    return collections.defaultdict(factory, *items)


def evaluate_arguments(text: str, names: dict[str, object]) -> tuple[tuple[object, ...], dict[str, object]]:
    """Evaluates the arguments in `text`, as in a call of f, with `names` as globals.

    Runs the text's code: only for a separate process. Raises NotAValueError, and whatever the text raises.
    """
    call = call_of(text)
    call.func = ast.copy_location(ast.Name("the call's arguments", ast.Load()), call.func)
    names["the call's arguments"] = lambda *positional, **named: (positional, named)
    arguments = eval(compile(ast.Expression(call), "input", "eval", dont_inherit=True), names)  # noqa: S307
    if not any(arguments):  # *[]
        raise NotAValueError("no argument list: f needs an argument")
    return arguments


def make_emitter() -> Callable[..., str]:
    """The function from a value, a number of characters and `in_order` to its canonical text.

    With `in_order` dicts keep the order of their entries, as arguments must: a program may depend on it.
    Everything it uses is bound here, before any program runs: a program that replaces builtins or this module's globals
    changes nothing. It calls no method of the value's own class. Raises UnserialisableError or TooLongError.
    """
    kind_of, size, identity, name_of, any_digits = type, len, id, type.__getattribute__, sys.set_int_max_str_digits
    get_depth, set_depth, list_type, append, pop = (
        sys.getrecursionlimit,
        sys.setrecursionlimit,
        list,
        list.append,
        list.pop,
    )
    unserialisable, too_long, max_depth = UnserialisableError, TooLongError, MAX_DEPTH
    atom, container = _make_atom(), _make_container()

    def emit(value: object, max_chars: int, in_order: bool = False) -> str:
        left = max_chars
        path: list[int] = list_type()
        any_digits(0)
        depth_of_program = get_depth()
        set_depth(10_000)

        def spend(chars: int) -> None:
            nonlocal left
            left -= chars
            if left < 0:
                raise too_long

        def walk(item: Any) -> str:
            kind = kind_of(item)
            text = atom(item, kind, left)
            if text is not None:
                spend(size(text))
                return text
            write = container(kind)
            if write is None:
                raise unserialisable(name_of(kind, "__name__"))
            if identity(item) in path:
                raise unserialisable("a value that contains itself")
            if size(path) >= max_depth:
                raise unserialisable(f"more than {max_depth} levels")
            append(path, identity(item))
            # Separators, so that a long walk ends early; the length is checked exactly at the end.
            spend(2 * size(item) - 2)
            text = write(item, walk, in_order)
            pop(path)
            return text

        text = walk(value)
        if size(text) > max_chars:
            raise too_long
        set_depth(depth_of_program)
        return text

    return emit


def _make_atom() -> Callable[[Any, type, int], str | None]:  # noqa: C901 - one closure
    """The function from a value, its type and the characters left to its text; None for a container or no value."""
    kind_of, size, join, too_long, unserialisable = type, len, str.join, TooLongError, UnserialisableError
    bool_type, int_type, float_type, complex_type, str_type, bytes_type = bool, int, float, complex, str, bytes
    int_text, float_text, str_text, bytes_text = int.__repr__, float.__repr__, str.__repr__, bytes.__repr__
    bits, get_special = int.bit_length, {"nan": "float('nan')", "inf": "float('inf')", "-inf": "float('-inf')"}.get
    fraction_type, datetime_type, time_type = fractions.Fraction, datetime.datetime, datetime.time
    bytearray_type, decimal_type = bytearray, decimal.Decimal
    numerator_of = fraction_type._numerator.__get__
    denominator_of = fraction_type._denominator.__get__
    datetime_zone, time_zone = datetime_type.tzinfo.__get__, time_type.tzinfo.__get__
    # Types of C, whose methods no program can replace.
    own_text = _by_type(
        (kind, kind.__repr__)
        for kind in (decimal_type, datetime.date, datetime_type, time_type, datetime.timedelta, range, bytearray_type)
    )

    def real(number: float) -> str:
        text = float_text(number)
        return get_special(text, text)

    def integer(number: int, left: int) -> str:
        if bits(number) > 4 * left + 8:
            raise too_long
        return int_text(number)

    def library(item: Any, kind: type, left: int) -> str | None:
        if kind is fraction_type:
            parts = (numerator_of(item), denominator_of(item))
            if not (kind_of(parts[0]) is int_type and kind_of(parts[1]) is int_type):
                raise unserialisable("a Fraction of something else than integers")
            return f"Fraction({join(', ', [integer(part, left) for part in parts])})"
        write = own_text(kind)
        if write is None:
            return None
        if (kind is datetime_type and datetime_zone(item)) or (kind is time_type and time_zone(item)):
            raise unserialisable("a time with a time zone")
        if kind is bytearray_type and size(item) > left:
            raise too_long
        return write(item)

    def atom(item: Any, kind: type, left: int) -> str | None:
        if item is None or kind is bool_type:
            return "None" if item is None else "True" if item else "False"
        if kind is int_type:
            return integer(item, left)
        if kind is float_type:
            return real(item)
        if kind is complex_type:
            return f"complex({real(item.real)}, {real(item.imag)})"
        if kind is str_type or kind is bytes_type:
            if size(item) > left:
                raise too_long
            return str_text(item) if kind is str_type else bytes_text(item)
        return library(item, kind, left)

    return atom


def _make_container() -> Callable[[type], Callable[..., str] | None]:  # noqa: C901 - one closure
    """From a type to the function that writes a container of it: from the value, `walk` for its entries, `in_order`."""
    size, order, join, items, list_type, int_text = len, sorted, str.join, dict.items, list, int.__repr__
    unserialisable, key_of = UnserialisableError, lambda pair: pair[0]
    default_type, ordered_type, deque_type = collections.defaultdict, collections.OrderedDict, collections.deque
    ordered_items, longest_of, deque_items = ordered_type.items, deque_type.maxlen.__get__, deque_type.__iter__
    factory_of = default_type.default_factory.__get__  # pyright: ignore[reportAttributeAccessIssue]
    factory_names = [(None, "None"), *((kind, name) for name, kind in _FACTORIES.items())]

    def braced(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        pairs = [(walk(key), walk(entry)) for key, entry in list_type(items(item))]
        if not in_order:
            pairs = order(pairs, key=key_of)
        return "{" + join(", ", [f"{key}: {entry}" for key, entry in pairs]) + "}"

    def counter(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        return f"Counter({braced(item, walk, in_order) if size(item) else ''})"

    def default(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        for factory, name in factory_names:
            if factory is factory_of(item):
                return f"defaultdict({name}, {braced(item, walk, in_order)})"
        raise unserialisable("a defaultdict of something else than a built-in type")

    def ordered(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        pairs = [f"({walk(key)}, {walk(entry)})" for key, entry in list_type(ordered_items(item))]
        return f"OrderedDict([{join(', ', pairs)}])"

    def deque(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        texts, longest = [walk(entry) for entry in list_type(deque_items(item))], longest_of(item)
        return f"deque([{join(', ', texts)}]{'' if longest is None else f', maxlen={int_text(longest)}'})"

    def listed(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        return "[" + join(", ", [walk(entry) for entry in list_type(item)]) + "]"

    def tupled(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        texts = [walk(entry) for entry in list_type(item)]
        return f"({texts[0]},)" if size(texts) == 1 else "(" + join(", ", texts) + ")"

    def set_of(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        texts = [walk(entry) for entry in list_type(item)]
        return "{" + join(", ", order(texts)) + "}" if texts else "set()"

    def frozen(item: Any, walk: Callable[[Any], str], in_order: bool) -> str:
        return f"frozenset({set_of(item, walk, in_order) if size(item) else ''})"

    return _by_type(
        [
            *((list, listed), (tuple, tupled), (dict, braced), (set, set_of), (frozenset, frozen)),
            *((collections.Counter, counter), (default_type, default), (ordered_type, ordered), (deque_type, deque)),
        ]
    )


def _by_type(pairs: Iterable[tuple[type, Callable[..., str]]]) -> Callable[[type], Callable[..., str] | None]:
    """From a type to the function for exactly this type; a program's metaclass is never called."""
    known = list(pairs)

    def find(kind: type) -> Callable[..., str] | None:
        for other, write in known:
            if other is kind:
                return write
        return None

    return find
