"""The time of a step, the memory of the process and its devices, and profiler traces of chosen steps."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

PROFILE = "profile"
STEP_PHASES = ("play", "update", "evaluate", "save")
_PROC = Path("/proc")


class StepClock:
    """The seconds of a step: of each phase, of the whole, and of the save before it."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._whole: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the block's wall seconds to the phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - started

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Times the block as a step; of the phases before it, only "save" counts."""
        self._seconds = {"save": self._seconds.get("save", 0.0)}
        started, cpu_started = time.monotonic(), time.process_time()
        yield
        self._whole = {"time/step_s": time.monotonic() - started, "time/cpu_s": time.process_time() - cpu_started}

    def take(self) -> dict[str, float]:
        """`time/PHASE_s` of the phases of a step, `time/step_s` and `time/cpu_s`; the next step begins at 0."""
        phases = {name: self._seconds.pop(name, 0.0) for name in STEP_PHASES}
        return self._whole | {f"time/{name}_s": seconds for name, seconds in phases.items()}


def machine_metrics() -> dict[str, float]:
    """Memory and processes of this process and its devices: `device/...` and `host/...`."""
    return device_metrics(jax.local_devices()) | host_metrics()


def device_metrics(devices: Sequence[Any]) -> dict[str, float]:
    """`device/in_use_gib`, `device/peak_gib` and `device/limit_gib` of the fullest local device.

    The peak is since the process' start. Absent if the device does not report them, as a CPU.
    """
    stats = [memory for device in devices if (memory := device.memory_stats())]
    names = {"bytes_in_use": "in_use", "peak_bytes_in_use": "peak", "bytes_limit": "limit"}
    return {
        f"device/{name}_gib": max(stat[key] for stat in stats) / 2**30
        for key, name in names.items()
        if stats and all(key in stat for stat in stats)
    }


def host_metrics() -> dict[str, float]:
    """`host/memory_mib` (resident), `host/open_files`, `host/processes` (descendants, alive); {} without /proc."""
    if not (_PROC / "self" / "fd").is_dir():
        return {}
    resident_pages = int((_PROC / "self" / "statm").read_text().split()[1])
    return {
        "host/memory_mib": resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "host/open_files": float(len(os.listdir(_PROC / "self" / "fd"))),
        "host/processes": float(len(_descendants(os.getpid()))),
    }


def _descendants(ancestor: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                # The name before the last ")" may hold anything; state and parent follow it.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
    below: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in below | {ancestor}} - below:
        below |= more
    return below


@contextlib.contextmanager
def profiled(step: int, steps: Collection[int], folder: Path) -> Iterator[None]:
    """Traces the block with the profiler to `folder`/profile/STEP if `step` is one of `steps`.

    A trace that can't be written is logged as an error: the run goes on.
    """
    if step not in steps:
        yield
        return
    place = folder / PROFILE / str(step)
    jax.profiler.start_trace(str(place))
    try:
        yield
    finally:
        try:
            jax.profiler.stop_trace()
            logging.warning("step %d's trace is at %s; look at it with xprof or TensorBoard", step, place)
        except (OSError, RuntimeError) as error:
            logging.error("step %d's trace can't be written to %s: %s", step, place, error)
