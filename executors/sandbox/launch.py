"""What is started inside a sandbox (`Launch`), in which way (`Mode`), and what contains it (`Tier`)."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from pathlib import Path

from executors.language import Forking, Interpreter
from executors.sandbox import clock

HARNESS_DIR = "/azr/harness"
INSIDE_DIR = "/azr/inside"
# What every harness may use: in the tier namespaces it is shown at INSIDE_DIR.
INSIDE = Path(__file__).resolve().parent.parent / "inside"
FILTER_PATH = "/azr/child_filter.bpf"
PROGRAM_DIR = "/tmp"
_BASE_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "TZ": "UTC"}
# The second process of a determinism check has another time zone and another clock.
_TOMORROW = "AZR-23:59:59"
OPEN_FILES = 256
_REQUEST_MIB = 256


class Tier(enum.IntEnum):
    """What contains a program, best last. Names are those of `allow_tier` in the configuration."""

    LIMITS = 1
    LANDLOCK = 2
    NAMESPACES = 3


TIER_MEANING = {
    Tier.NAMESPACES: "own user, process, network, mount and IPC namespaces (bubblewrap), seccomp, resource limits",
    Tier.LANDLOCK: "Landlock (reads only the interpreter's files, writes nothing), seccomp, resource limits; programs "
    "see the machine's process list, and share its process numbers",
    Tier.LIMITS: "seccomp and resource limits only: programs can read every file that this user can read, and "
    "the memory of this user's other processes, but not of the one that starts them",
}


class Mode(enum.StrEnum):
    """`SERVE`: a warm harness. `ONCE`: a harness for one request. `PROGRAM`: a file and its real interpreter.

    `FORK`: an interpreter that forks for each run of a program (fork_server.py).
    """

    SERVE = "--serve"
    ONCE = "--once"
    PROGRAM = "program"
    FORK = "fork"


def parse_tier(name: str) -> Tier:
    """The tier called `name` ("namespaces", "landlock" or "limits"); ValueError for other names."""
    try:
        return Tier[name.upper()]
    except KeyError:
        names = ", ".join(tier.name.lower() for tier in reversed(Tier))
        raise ValueError(f"allow_tier is {name!r}: use one of {names}") from None


@dataclasses.dataclass(frozen=True, slots=True)
class Launch:
    """What to start: see `sandbox.start`.

    argv: from the folder of the harness (or of the program's file), as seen inside, to the argv; a word of it that
    begins with {inside} names a file of executors/inside.
    memory_mib, cpu_s: limits of the whole process from its start; 0: the harness sets them for each request.
    bound_mib, tasks: limits of its control group, if there is one; 0: none.
    threads: whether the process that runs untrusted code may start threads of the operating system. hardens: whether
    the harness puts the child filter on it.
    children: whether a PROGRAM may start processes, as a compiler does, which runs nothing of what it reads.
    file_mib: largest file that can be written. source_name, source: the file of a PROGRAM; stdin: its standard input;
    output_bytes: how much it may print. library, forking: of a FORK.
    """

    mode: Mode
    argv: Callable[[str], Sequence[str]]
    interpreter: Interpreter
    tier: Tier
    hash_seed: int = 0
    harness_dir: Path | None = None
    memory_mib: int = 0
    cpu_s: float = 0.0
    bound_mib: int = 0
    tasks: int = 0
    threads: bool = True
    hardens: bool = True
    children: bool = False
    file_mib: int = 1
    source_name: str = ""
    source: bytes = b""
    stdin: bytes = b""
    output_bytes: int = 0
    library: Path | None = None
    forking: Forking | None = None

    @property
    def runs_file(self) -> bool:
        """Whether the process gets a program's file in a folder that it can write."""
        return self.mode in (Mode.PROGRAM, Mode.FORK)

    @property
    def file_blocks(self) -> int:
        """Blocks of 512 bytes of the largest file that can be written."""
        # A serving harness puts requests into memory files; its children write nothing.
        file_mib = _REQUEST_MIB if self.mode in (Mode.SERVE, Mode.FORK) else self.file_mib
        return max(file_mib * 2048, len(self.source) // 512 + 1, 64)

    @property
    def read_only(self) -> tuple[Path, ...]:
        """What the interpreter reads outside the system's folders, at the same paths inside."""
        libraries = ((clock.shared_object(),) if self.hash_seed else (), (self.library,) if self.library else ())
        return (*self.interpreter.read_only, *libraries[0], *libraries[1])

    @property
    def folder_bytes(self) -> int:
        """Most bytes in the folder of a PROGRAM."""
        return (self.file_mib * 16 << 20) + 2 * len(self.source)


def command(launch: Launch, folder: str, inside: str) -> list[str]:
    """The argv of `launch`, with `folder` and that of executors/inside as they are seen inside."""
    return [
        inside + word.removeprefix("{inside}") if word.startswith("{inside}") else word for word in launch.argv(folder)
    ]


def environment(launch: Launch, filter_path: str, inside: str) -> dict[str, str]:
    """The whole environment of the contained process; the paths are those seen inside."""
    variables = dict(_BASE_ENVIRONMENT)
    seed = str(launch.hash_seed)
    if launch.hash_seed:
        variables["TZ"] = _TOMORROW
        variables["LD_PRELOAD"] = str(clock.shared_object())
    variables.update((name, value.replace("{hash_seed}", seed)) for name, value in launch.interpreter.environment)
    if launch.mode is not Mode.PROGRAM:
        variables["AZR_CHILD_FILTER"] = filter_path
        variables["AZR_INSIDE"] = inside
        variables["AZR_NEW_PID"] = "1" if launch.tier is Tier.NAMESPACES else "0"
    return variables
