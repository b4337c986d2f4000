"""A control group for each contained process, if the machine allows one: limits on memory and tasks.

Resource limits bound the address space of each process; a group bounds the memory of all processes of a worker, with
memory files and kernel memory, and reports whether memory ran out. Both versions of control groups are used: version 1
with its `memory` and `pids` hierarchies, version 2 if our group or its parent delegates the controllers. The choice is
tried once with a real process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from executors.sandbox import guardian

_SEQUENCE = itertools.count()
_MEMORY_FILES = ("memory.max", "memory.limit_in_bytes")
_OOM_FILES = ("memory.events", "memory.oom_control")
# Version 2 counts the group's own shortages as `oom`; version 1 counts how often it reached its limit.
_OWN_SHORTAGE_FILES = ("memory.events", "memory.failcnt")
_PEAK_FILES = ("memory.peak", "memory.max_usage_in_bytes")
_REMOVE_S = 1.0
JOIN_FAILED = 96


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """The folders in which groups can be made: one per hierarchy (a single one in version 2)."""

    folders: tuple[Path, ...]
    controllers: tuple[str, ...]

    def new_group(self) -> Group:
        """A group with a unique name, not made yet."""
        name = f"azr_{os.getpid()}_{next(_SEQUENCE)}"
        return Group(tuple(folder / name for folder in self.folders))


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """One control group. A process joins it by writing its pid to `doors`."""

    folders: tuple[Path, ...]

    def make(self, memory_mib: int, tasks: int) -> None:
        """Make it: at most `memory_mib` MiB and `tasks` tasks, including bubblewrap's and the harness'."""
        for folder in self.folders:
            folder.mkdir()
            for file in _MEMORY_FILES:
                _write_if_there(folder / file, str(memory_mib << 20))
            # Without this a program swaps instead of ending.
            _write_if_there(folder / "memory.swap.max", "0")
            _write_if_there(folder / "pids.max", str(tasks))

    @property
    def doors(self) -> tuple[str, ...]:
        """Files to which a process writes its pid."""
        return tuple(f"{folder}/cgroup.procs" for folder in self.folders)

    def memory_kills(self) -> int:
        """How many processes of the group the kernel has killed so far for lack of memory, the machine's included."""
        return self._count(_OOM_FILES, "oom_kill")

    def own_shortages(self) -> int:
        """How often the group reached its own memory limit so far."""
        return self._count(_OWN_SHORTAGE_FILES, "oom")

    def _count(self, files: Sequence[str], wanted: str) -> int:
        """The number on the line `wanted`, or the file's only number; 0 if there is none."""
        for folder in self.folders:
            for file in files:
                with contextlib.suppress(OSError):
                    for line in (folder / file).read_text().splitlines():
                        name, _, count = line.partition(" ")
                        if name == wanted:
                            return int(count)
                        if name.isdecimal():
                            return int(name)
        return 0

    def peak_mib(self) -> float:
        """The most memory that the group has held; 0 if the kernel does not report it."""
        for folder in self.folders:
            for file in _PEAK_FILES:
                with contextlib.suppress(OSError, ValueError):
                    return int((folder / file).read_text()) / 2**20
        return 0.0

    def remove(self) -> None:
        """Delete the group; its processes have been killed and may need a moment to be gone."""
        end = time.monotonic() + _REMOVE_S
        for folder in self.folders:
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > end:
                        break
                    time.sleep(0.002)


def _write_if_there(file: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        # Not write_text, which would try to make the file.
        descriptor = os.open(file, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _mounts() -> dict[str, Path]:
    """Where each version 1 controller is mounted, and version 2 under the name ""."""
    mounts: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == "cgroup2":
            mounts.setdefault("", Path(path))
        elif kind == "cgroup":
            for option in options.split(","):
                mounts.setdefault(option, Path(path))
    return mounts


def _own_groups() -> dict[str, str]:
    """The group of this process in each hierarchy, by controller; version 2 under the name ""."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def own_folder(controller: str) -> Path | None:
    """The folder of our own group for a controller of version 1, or with "" of version 2; None if there is none."""
    mounts, groups = _mounts(), _own_groups()
    if controller not in mounts or controller not in groups:
        return None
    return Path(f"{mounts[controller]}/{groups[controller].lstrip('/')}")


def _candidates() -> list[Place]:
    mounts, groups = _mounts(), _own_groups()
    places = []
    if "" in mounts and "" in groups:
        own = Path(f"{mounts['']}/{groups[''].lstrip('/')}")
        for folder in (own, own.parent) if own != mounts[""] else (own,):
            with contextlib.suppress(OSError):
                handed_down = (folder / "cgroup.subtree_control").read_text().split()
                if "memory" in handed_down:
                    known = tuple(name for name in ("memory", "pids") if name in handed_down)
                    places.append(Place((folder,), known))
    first = [name for name in ("memory", "pids") if name in mounts and name in groups]
    for names in (first, [name for name in first if name == "memory"]):
        if names:
            folders = tuple(Path(f"{mounts[name]}/{groups[name].lstrip('/')}") for name in names)
            places.append(Place(folders, tuple(names)))
    return places


def _works(place: Place) -> bool:
    group = place.new_group()
    with guardian.Guardian() as watch:
        for folder in group.folders:
            watch.add(guardian.group(folder))
        try:
            group.make(64, 16)
            return subprocess.run(["/bin/sh", "-c", join_script(group)], check=False, timeout=10).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False
        finally:
            group.remove()


def join_script(group: Group) -> str:
    """Shell commands that move the shell into `group`, or end it if that fails."""
    return "".join(f"echo $$ > {shlex.quote(door)} || exit {JOIN_FAILED}; " for door in group.doors)


@functools.cache
def find_place() -> Place | None:
    """Where groups can be made, or None; tried with a real process."""
    try:
        return next((place for place in _candidates() if _works(place)), None)
    except OSError:
        return None
