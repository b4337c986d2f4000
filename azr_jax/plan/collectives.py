"""The collectives of a compiled program, read from its text: kind, bytes and how often each runs."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")

_ITEM_BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128, "token": 0}
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .*)?\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*?) ([a-z][a-z0-9\-]*)\((.*)$")
_SHAPE = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_GROUPS = re.compile(r"replica_groups=(?:\{\{([\d,]*)\}|\[(\d+),(\d+)\]|mesh\[([^\]]*)\] \{([^}]*)\})")
_AXIS = re.compile(r"'([^']+)'=(\d+)")
_COMPARED = re.compile(r"ROOT .* compare\(%?[\w.\-]+, %?([\w.\-]+)\), direction=LT")


@dataclasses.dataclass(frozen=True, slots=True)
class Collective:
    """One collective instruction on one device.

    Attributes:
      kind: one of KINDS.
      result: type and shape of its largest array, as in the text: "bf16[2048,11008]".
      bytes: of the whole array that the devices of a group hold together: what is gathered, reduced or exchanged.
      group: devices in a group.
      times: how often it runs in one call of the program; loops whose length the compiler does not know count once.
      known: whether all loops around it have a known length.
    """

    kind: str
    result: str
    bytes: int
    group: int
    times: int
    known: bool


def find(text: str) -> list[Collective]:
    """Every collective of a compiled module's text (`compiled.as_text()`), with the loops around it multiplied."""
    computations = _computations(text)
    entry = next(name for name, lines in computations.items() if lines and lines[0].startswith("ENTRY"))
    return list(_walk(computations, entry, 1, True))


def by_kind(collectives: list[Collective]) -> dict[str, dict[str, int]]:
    """{kind: {"count", "bytes"}}: executions of one program call and the bytes of them all, on one device."""
    totals: dict[str, dict[str, int]] = {}
    for collective in collectives:
        entry = totals.setdefault(collective.kind, {"count": 0, "bytes": 0})
        entry["count"] += collective.times
        entry["bytes"] += collective.times * collective.bytes
    return totals


def wire_bytes(collectives: list[Collective]) -> float:
    """Bytes that one device sends in a call when every collective runs around a ring of its group."""
    factors = {"all-reduce": 2.0, "collective-permute": 1.0}
    total = 0.0
    for collective in collectives:
        share = 1.0 if collective.kind == "collective-permute" else (collective.group - 1) / max(collective.group, 1)
        total += collective.times * collective.bytes * share * factors.get(collective.kind, 1.0)
    return total


def _computations(text: str) -> dict[str, list[str]]:
    """Name -> its header and instruction lines."""
    computations: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        # A kernel's attributes may hold lines that look like an end, so only the next header ends a computation.
        if header := _COMPUTATION.match(line):
            current = computations.setdefault(header.group(1), [line])
        elif current is not None:
            current.append(line)
    return computations


def _walk(computations: dict[str, list[str]], name: str, times: int, known: bool) -> Iterator[Collective]:
    for line in computations.get(name, [])[1:]:
        match = _INSTRUCTION.match(line)
        if match is None:
            continue
        result, opcode, rest = match.groups()
        kind = opcode.removesuffix("-start")
        if kind in KINDS and not opcode.endswith("-done"):
            # A reduce-scatter may be written as a fusion of an all-reduce and the slice that is kept.
            scattered = kind == "all-reduce" and "reduce-scatter" in name
            arrays = _arrays(result, both=opcode.endswith("-start") and kind != "all-reduce")
            group = _group_size(rest)
            size = sum(size for size, _ in arrays) * (group if kind == "reduce-scatter" else 1)
            yield Collective("reduce-scatter" if scattered else kind, max(arrays)[1], size, group, times, known)
            continue
        inner, inner_known = times, known
        if opcode == "while":
            trips = _trips(computations, rest)
            inner, inner_known = (times, False) if trips is None else (times * trips, known)
        called = [target for role, target in _CALLED.findall(rest) if role != "condition"]
        called += [target.strip().lstrip("%") for group in _BRANCHES.findall(rest) for target in group.split(",")]
        for target in called:
            yield from _walk(computations, target, inner, inner_known)


def _trips(computations: dict[str, list[str]], attributes: str) -> int | None:
    """How often a loop runs, if the compiler says so or its condition compares a count from 0 with a constant."""
    if told := _TRIPS.search(attributes):
        return int(told.group(1))
    condition = next(target for role, target in _CALLED.findall(attributes) if role == "condition")
    lines = computations[condition]
    for compared in (_COMPARED.search(line) for line in lines):
        if compared:
            constant = re.compile(rf"%?{re.escape(compared.group(1))} = s32\[\]\S* constant\((\d+)\)")
            return next((int(match.group(1)) for line in lines if (match := constant.search(line))), None)
    return None


def _group_size(attributes: str) -> int:
    groups = _GROUPS.search(attributes)
    if groups is None:
        return 1
    first, _, columns, mesh, axes = groups.groups()
    if columns is not None:
        return int(columns)
    if mesh is not None:
        sizes = dict(_AXIS.findall(mesh))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", axes))
    return len(first.split(","))


def _arrays(result: str, both: bool) -> list[tuple[int, str]]:
    """(bytes, "type[shape]") of each array of a result; `both`: it holds the operands before the results."""
    arrays = [(_bytes(item, dims), f"{item}[{dims}]") for item, dims in _SHAPE.findall(result)]
    if not both:
        return arrays
    # After them come an asynchronous start's own scalars.
    arrays = [array for array in arrays if not array[1].endswith("[]")]
    return arrays[len(arrays) // 2 :]


def _bytes(item: str, dims: str) -> int:
    digits = re.search(r"\d+", item)
    bits = _ITEM_BITS.get(item, int(digits.group()) if digits else 32)
    return math.prod(int(d) for d in dims.split(",") if d) * bits // 8
