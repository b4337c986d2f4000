"""The machine that is measured: its description, its ceilings, and timing without warm-up."""

from __future__ import annotations

import importlib.metadata
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from azr_jax.speed.sizes import Size

_PACKAGES = ("jax", "jaxlib", "flax", "numpy")
_CHAINED = 8  # calls for each reading of the clock, so that the cost of a launch is not counted


class Report:
    """Collects results, and writes a line for each as it comes."""

    def __init__(self, command: str, size: Size) -> None:
        device = jax.devices()[0]
        self.result: dict[str, Any] = {
            "speed": command,
            "size": size.name,
            "device": device.device_kind,
            "platform": device.platform,
            "devices": jax.device_count(),
            "host_cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        }
        if size.name != "full":
            lacks = "" if device.platform in ("gpu", "cuda") else "no GPU here; "
            self.result["note"] = f"{size.name} shapes: {lacks}the figures say nothing about the 3B on a GPU"
        self.line(
            f"{command}, {size.name} size, on {device.device_kind} ({device.platform}), load {self.result['load']}"
        )
        if size.name != "full":
            self.line(self.result["note"])

    def add(self, name: str, **figures: Any) -> None:
        """One workload's figures; floats are kept to four digits."""
        kept = {key: _rounded(value) for key, value in figures.items()}
        self.result[name] = kept
        self.line(f"{name}: " + ", ".join(f"{key} {value}" for key, value in kept.items()))

    def line(self, text: str) -> None:
        """Writes a line for the reader at once."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def median_s(run: Callable[[], Any], repeats: int) -> float:
    """Median seconds of `repeats` calls after a warm-up call; the function must wait for its own results."""
    run()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def copy_bandwidth(size: Size, repeats: int) -> float:
    """Bytes a second, read and written together, of the best plain pass over a large array."""
    array = jnp.zeros((size.copy_bytes // 2,), jnp.bfloat16)
    passing = jax.jit(lambda array: array + jnp.bfloat16(1), donate_argnums=0)

    def run() -> None:
        nonlocal array
        for _ in range(_CHAINED):
            array = passing(array)
        array.block_until_ready()

    return 2.0 * array.nbytes * _CHAINED / median_s(run, repeats)


def matmul_flops(size: Size, repeats: int) -> float:
    """FLOPs per second of a large square product in the size's compute dtype."""
    dtype = jnp.dtype(size.compute_dtype)
    product = jax.jit(lambda left, right: jnp.dot(left, right, preferred_element_type=dtype))
    right = jax.random.normal(jax.random.key(0), (size.matmul, size.matmul), dtype) / size.matmul**0.5

    def run() -> None:
        left = right
        for _ in range(_CHAINED):
            left = product(left, right)
        left.block_until_ready()

    return 2.0 * size.matmul**3 * _CHAINED / median_s(run, repeats)
