"""The argument lists of EvalPlus' problems as Python values, from JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# JSON has lists where these MBPP+ problems have tuples; the numbers are EvalPlus' (mbpp_deserialize_inputs).
_TUPLES_AT_1 = {2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424}
_TUPLES_AT_1 |= {429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809}
_TUPLES_AT_2 = {63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780}
_FIRST_IS_TUPLE = {250, 405, 446, 617, 720, 763, 808, 307}


def arguments_of(name: str, inputs: Sequence[Any]) -> list[Any]:  # noqa: C901 - EvalPlus' table
    """The argument lists of the problem `name` as Python values."""
    if not name.startswith("Mbpp/"):
        return list(inputs)
    number = int(name.partition("/")[2])
    if number in _TUPLES_AT_1:
        return [[tuple(value) for value in given] for given in inputs]
    if number in _TUPLES_AT_2:
        return [[[tuple(item) for item in value] for value in given] for given in inputs]
    if number in {75, 413, 444, 753}:
        return [[[tuple(item) for item in given[0]], given[1]] for given in inputs]
    if number in {106, 750}:
        return [[given[0], tuple(given[1])] for given in inputs]
    if number == 115:
        return [[[set(item) if isinstance(item, list) and item else {} for item in given[0]]] for given in inputs]
    if number == 124:
        return [(float(given[0]), complex(given[1])) for given in inputs]
    if number in _FIRST_IS_TUPLE:
        return [[tuple(given[0]), *given[1:]] for given in inputs]
    if number in {259, 401, 445}:
        return [[tuple(tuple(item) for item in value) for value in given] for given in inputs]
    if number == 278:
        return [[tuple(tuple(item) if isinstance(item, list) else item for item in given[0])] for given in inputs]
    if number == 722:
        return [[{key: tuple(value) for key, value in given[0].items()}, *given[1:]] for given in inputs]
    if number == 252:
        return [[complex(given[0])] for given in inputs]
    if number in {580, 615, 791}:
        return [_all_tuples(given) for given in inputs]
    return list(inputs)


def _all_tuples(value: Any) -> Any:
    return tuple(_all_tuples(item) for item in value) if isinstance(value, list) else value
