"""TPU generations: what a chip has, and the slices that can be planned. No jax: read before libtpu is configured."""

from __future__ import annotations

import dataclasses
import importlib.util
import os


@dataclasses.dataclass(frozen=True, slots=True)
class Chip:
    """What one device (a chip, or half of a tpu7x) has, by Google's pages on each generation.

    Attributes:
      hbm_gib: what the compiler lets programs use, by its own message when a program is too large.
      tflops: peak of bfloat16 matrix products, 10^12 a second.
      hbm_gbps: peak memory bandwidth, 10^9 bytes a second.
      ici_gbps: what one device can send to its neighbours at once, 10^9 bytes a second (half of "bidirectional").
      devices: jax devices of one chip.
      shapes: slices of this generation that this command knows.
      config_name: for the topology description.
    """

    hbm_gib: float
    tflops: float
    hbm_gbps: float
    ici_gbps: float
    devices: int
    shapes: tuple[str, ...]
    config_name: str = ""


_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBE = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4")

CHIPS: dict[str, Chip] = {
    "v4": Chip(30.75, 275.0, 1200.0, 150.0, 1, _CUBE, "megacore"),
    "v5e": Chip(15.75, 197.0, 819.0, 200.0, 1, _FLAT),
    "v5p": Chip(95.74, 459.0, 2765.0, 300.0, 1, _CUBE),
    "v6e": Chip(31.25, 918.0, 1638.0, 400.0, 1, _FLAT),
    "tpu7x": Chip(94.75, 1153.5, 3690.0, 300.0, 2, _CUBE),
}


def parse(topology: str) -> tuple[str, Chip, str]:
    """(generation, chip, shape) of a name such as "v5e:4x4".

    Raises:
      ValueError: a name that is none of those, listing them.
    """
    generation, _, shape = topology.partition(":")
    if generation not in CHIPS or shape not in CHIPS[generation].shapes:
        known = "; ".join(f"{name}:{{{','.join(chip.shapes)}}}" for name, chip in CHIPS.items())
        raise ValueError(f"--topology={topology!r} is unknown; use a generation and a shape in chips: {known}")
    return generation, CHIPS[generation], shape


def chip_count(shape: str) -> int:
    """Chips of a shape such as "4x4" or "2x2x1"."""
    count = 1
    for side in shape.split("x"):
        count *= int(side)
    return count


def configure() -> None:
    """Makes this process one that compiles for TPUs without having any; before jax is imported.

    Raises:
      RuntimeError: the TPU compiler is not installed, with the command that installs it.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise RuntimeError(
            "azr_jax.plan needs the TPU compiler, which is in the package libtpu (Linux on x86-64): install it with"
            " `pip install -c constraints.txt libtpu`, or all of `.[tpu]`"
        )
    # No TPU is looked for; the same values serve every generation. Two processes at a time would else meet on a lock.
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-16",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_LOG_DIR": "disabled",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
