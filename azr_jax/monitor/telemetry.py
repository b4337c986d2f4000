"""Where a step's time goes, what the process and its devices hold, and profiler traces of chosen steps."""

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
_PROC = Path("/proc")


class Stopwatch:
    """Seconds in each phase; a phase lasts until the next one starts."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase = ""
        self._since = time.monotonic()

    def start(self, phase: str) -> None:
        """Ends the phase that was on and starts this one; "" starts none."""
        now = time.monotonic()
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def take(self) -> dict[str, float]:
        """Seconds by phase since the last call; ends the phase that is on."""
        self.start("")
        taken, self._seconds = self._seconds, {}
        return taken


def device_metrics(devices: Sequence[Any]) -> dict[str, float]:
    """`device/in_use_gib`, `device/peak_gib` and `device/limit_gib` of the fullest local device.

    The peak is the process' own since its start. Absent where the device does not say: CPU.
    """
    stats = [found for device in devices if (found := device.memory_stats())]
    names = {"bytes_in_use": "in_use", "peak_bytes_in_use": "peak", "bytes_limit": "limit"}
    return {
        f"device/{name}_gib": max(each[key] for each in stats) / 2**30
        for key, name in names.items()
        if stats and all(key in each for each in stats)
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
    found: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in found | {ancestor}} - found:
        found |= more
    return found


@contextlib.contextmanager
def profiled(step: int, steps: Collection[int], folder: Path) -> Iterator[None]:
    """A profiler trace of the block to `folder`/profile/STEP when `step` is one of `steps`.

    A trace that can't be written is a warning: the step matters more.
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
