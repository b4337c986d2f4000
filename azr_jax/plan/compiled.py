"""Compiles one program for a slice; the compiler's figures per device."""

from __future__ import annotations

import dataclasses
import re
import time

import jax

from azr_jax.plan import collectives
from azr_jax.plan.collectives import Collective

_NEEDED = re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM|Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True, slots=True)
class Compiled:
    """Bytes of one device, by the compiler.

    Attributes:
      arguments, outputs: with their layout in memory.
      aliased: outputs in the memory of donated arguments.
      temporaries: the compiler's sum, which may count more than are in memory at a time.
      peak: the most that is in memory at a time, arguments included.
      collectives: in the compiled text.
      seconds: wall time of compiling.
      too_large: the compiler's message if it refuses the program (then only `peak` is known), else "".
    """

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    peak: int
    collectives: tuple[Collective, ...]
    seconds: float
    too_large: str = ""


def compile_program(lowered: jax.stages.Lowered) -> Compiled:
    """Compiles; a program that does not fit the chip is a result and not an error."""
    started = time.monotonic()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        message = str(error)
        if "RESOURCE_EXHAUSTED" not in message:
            raise
        return Compiled(0, 0, 0, 0, _needed(message), (), time.monotonic() - started, message.splitlines()[0])
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert memory is not None and text is not None  # the TPU compiler gives both
    return Compiled(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        peak=memory.peak_memory_in_bytes,
        collectives=tuple(collectives.find(text)),
        seconds=time.monotonic() - started,
    )


def _needed(message: str) -> int:
    """Bytes that a refused program needs, by the compiler's message; 0 if it does not say."""
    match = _NEEDED.search(message)
    if match is None:
        return 0
    number, unit = (match.group(1), match.group(2)) if match.group(1) else (match.group(3), match.group(4))
    return int(float(number) * _UNITS[unit])
