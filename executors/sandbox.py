"""One contained process: how it is started, spoken to and killed. The tiers say what contains it.

The process is started by Popen without preexec_fn (safe in a process that holds threads and JAX), from the thread that
owns it: its death signal follows that thread. Nothing of the parent's environment is passed on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from executors import protocol, seccomp
from executors.language import Interpreter

HARNESS_DIR = "/azr/harness"
FILTER_PATH = "/azr/child_filter.bpf"
PROGRAM_DIR = "/tmp"
_BASE_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "TZ": "UTC"}
_DEVICES = ("null", "zero", "full", "random", "urandom")
# What programs of /usr need of /etc: no names, no keys, no hosts.
_ETC = ("/etc/ld.so.cache", "/etc/alternatives")
_OPEN_FILES = 256


class Tier(enum.IntEnum):
    """What contains a program, best last. Names are those of `allow_tier` in the configuration."""

    LIMITS = 1
    LANDLOCK = 2
    NAMESPACES = 3


TIER_MEANING = {
    Tier.NAMESPACES: "own user, process, network, mount and IPC namespaces (bubblewrap), seccomp, resource limits",
    Tier.LANDLOCK: "Landlock (reads only the interpreter's files, writes nothing), seccomp, resource limits; programs "
    "see the machine's process list, and share its process numbers",
    Tier.LIMITS: "seccomp and resource limits only: programs can read every file that this user can read",
}


class Mode(enum.StrEnum):
    """`SERVE`: a warm harness. `ONCE`: a harness for one request. `PROGRAM`: a file and its real interpreter."""

    SERVE = "--serve"
    ONCE = "--once"
    PROGRAM = "program"


class Closed(Exception):
    """The contained process closed its reply stream before a frame was complete."""


class DeadlineExceeded(Exception):
    """The deadline passed before a frame was complete."""


def parse_tier(name: str) -> Tier:
    """The tier called `name` ("namespaces", "landlock" or "limits"); ValueError for other names."""
    try:
        return Tier[name.upper()]
    except KeyError:
        names = ", ".join(tier.name.lower() for tier in reversed(Tier))
        raise ValueError(f"allow_tier is {name!r}: use one of {names}") from None


@dataclasses.dataclass(frozen=True, slots=True)
class Launch:
    """What to start: see `start`. `memory_mib` limits the address space of the whole process (0: the harness does)."""

    mode: Mode
    argv: Sequence[str]
    interpreter: Interpreter
    tier: Tier
    hash_seed: int = 0
    harness_dir: Path | None = None
    memory_mib: int = 0
    cpu_s: float = 0.0
    file_mib: int = 1
    source_name: str = ""
    source: bytes = b""


class Contained:
    """A started contained process. `pid` is the process inside (0 when it isn't known); not safe across threads."""

    def __init__(self, process: subprocess.Popen[bytes], pid: int) -> None:
        self.process = process
        self.pid = pid
        self._received = bytearray()
        self._killed = False
        assert process.stdout is not None
        self._output = process.stdout.fileno()
        os.set_blocking(self._output, False)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)

    def send(self, fields: Sequence[bytes], deadline: float) -> None:
        """Write a frame. Raises Closed when the process has gone, DeadlineExceeded when it doesn't read."""
        assert self.process.stdin is not None
        descriptor = self.process.stdin.fileno()
        data = memoryview(protocol.encode(fields))
        while data:
            try:
                written = os.write(descriptor, data)
                data = data[written:]
            except BlockingIOError:
                _wait(descriptor, select.POLLOUT, deadline)
            except BrokenPipeError:
                raise Closed from None

    def receive(self, deadline: float, max_bytes: int, cpu_s: float = 0.0) -> list[bytes]:
        """The next frame. Raises Closed, DeadlineExceeded, protocol.FrameError; the CPU limit counts as a deadline."""
        while True:
            frame = protocol.decode(self._received, max_bytes)
            if frame is not None:
                fields, length = frame
                del self._received[:length]
                return fields
            self._wait_output(deadline, cpu_s)
            try:
                chunk = os.read(self._output, 1 << 16)
            except BlockingIOError:
                continue
            if not chunk:
                raise Closed
            self._received += chunk

    def _wait_output(self, deadline: float, cpu_s: float) -> None:
        if not cpu_s or not self.pid:
            _wait(self._output, select.POLLIN, deadline)
            return
        while True:
            left_s = cpu_s - self.cpu_seconds()
            if left_s <= 0:
                raise DeadlineExceeded
            try:
                _wait(self._output, select.POLLIN, min(deadline, time.monotonic() + left_s))
                return
            except DeadlineExceeded:
                if time.monotonic() >= deadline:
                    raise

    def cpu_seconds(self) -> float:
        """CPU time used so far by the process inside; 0 when it can't be read (it has ended)."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2) if self.pid else 0.0
        except OSError:
            return 0.0

    def exit_code(self, timeout_s: float) -> int | None:
        """The exit code (128 + signal for a death by signal); None when it still runs after `timeout_s`."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        """Kill everything inside and close the descriptors. Safe to call twice."""
        if self._killed:
            return
        self._killed = True
        # The group: while bubblewrap still sets up its child, that child has no death signal yet.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _wait(descriptor: int, event: int, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    poll = select.poll()
    poll.register(descriptor, event)
    # Rounded up: a wait of zero would spin.
    if left_s <= 0 or not poll.poll(int(left_s * 1000) + 1):
        raise DeadlineExceeded


def _high(descriptor: int) -> int:
    """A copy of `descriptor` above those that the contained process is given (0 to 3)."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)


@contextlib.contextmanager
def _passed(contents: Sequence[bytes]) -> Iterator[list[int]]:
    """Descriptors of memory files that hold `contents`, closed at the end."""
    descriptors = []
    try:
        for content in contents:
            with os.fdopen(os.memfd_create("azr", os.MFD_CLOEXEC), "wb") as file:
                file.write(content)
                file.flush()
                file.seek(0)
                descriptors.append(_high(file.fileno()))
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def environment(launch: Launch) -> dict[str, str]:
    """The whole environment of the contained process."""
    variables = dict(_BASE_ENVIRONMENT)
    seed = str(launch.hash_seed)
    variables.update((name, value.replace("{hash_seed}", seed)) for name, value in launch.interpreter.environment)
    if launch.mode is not Mode.PROGRAM:
        variables["AZR_CHILD_FILTER"] = FILTER_PATH
        variables["AZR_NEW_PID"] = "1" if launch.tier is Tier.NAMESPACES else "0"
    return variables


def start(launch: Launch) -> Contained:
    """Start a contained process; its reply stream (standard output for PROGRAM) is `Contained.receive`'s.

    Raises OSError when a program that the sandbox is made of can't be started.
    """
    if launch.tier is Tier.NAMESPACES:
        return _start_bwrap(launch)
    raise ValueError(f"tier {launch.tier.name.lower()} can't start a process: install bubblewrap")


def _start_bwrap(launch: Launch) -> Contained:
    serve = launch.mode is Mode.SERVE
    contents = [seccomp.worker_filter() if serve else seccomp.single_filter()]
    contents.append(launch.source if launch.mode is Mode.PROGRAM else seccomp.child_filter())
    info_read, low_write = os.pipe()
    info_write = _high(low_write)
    os.close(low_write)
    try:
        with _passed(contents) as (filter_fd, file_fd):
            arguments = [*_namespace_arguments(serve), *_mount_arguments(launch, file_fd)]
            arguments += ["--seccomp", str(filter_fd), "--info-fd", str(info_write), "--", *launch.argv]
            argv = _with_limits(launch, [_bwrap(), *arguments])
            process = _popen(launch, argv, (filter_fd, file_fd, info_write))
        os.close(info_write)
        info_write = -1
        pid = _child_pid(info_read)
    finally:
        os.close(info_read)
        if info_write >= 0:
            os.close(info_write)
    return Contained(process, pid)


def _popen(launch: Launch, argv: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    program = launch.mode is Mode.PROGRAM
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if program else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if program else subprocess.DEVNULL,
        env=environment(launch),
        cwd="/",
        pass_fds=tuple(descriptors),
        bufsize=0,
        start_new_session=True,
    )


def _bwrap() -> str:
    path = shutil.which("bwrap")
    if path is None:
        raise FileNotFoundError("bwrap (bubblewrap) is not installed")
    return path


def _child_pid(info_read: int) -> int:
    """The process inside, as bubblewrap tells it; 0 when it ended before telling."""
    data = b""
    while chunk := os.read(info_read, 4096):
        data += chunk
        if b"}" in data:
            break
    try:
        return int(json.loads(data)["child-pid"])
    except (ValueError, KeyError):
        return 0


def _with_limits(launch: Launch, argv: Sequence[str]) -> list[str]:
    """`argv` behind a shell that sets limits and moves the reply stream from descriptor 1 to 3."""
    blocks = max(launch.file_mib * 2048, len(launch.source) // 512 + 1, 64)
    script = f"ulimit -c 0; ulimit -n {_OPEN_FILES}; ulimit -f {blocks}; "
    if launch.memory_mib:
        script += f"ulimit -v {launch.memory_mib * 1024}; "
    if launch.cpu_s:
        script += f"ulimit -t {int(launch.cpu_s) + 2}; "
    if launch.mode is not Mode.PROGRAM:
        script += "exec 3>&1 1>/dev/null; "
    return ["/bin/sh", "-c", script + 'exec "$@"', "sh", *argv]


def _namespace_arguments(serve: bool) -> list[str]:
    arguments = ["--unshare-user", "--unshare-all", "--hostname", "sandbox", "--uid", "1000", "--gid", "1000"]
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # A serving harness makes PID namespaces. A single process is PID 1 itself, as a served child is.
    return [*arguments, *(("--cap-add", "CAP_SYS_ADMIN") if serve else ("--as-pid-1",))]


def _mount_arguments(launch: Launch, file_fd: int) -> list[str]:
    arguments = _system_arguments(launch.interpreter.root)
    arguments += ["--proc", "/proc", "--dir", "/dev"]
    for device in _DEVICES:
        arguments += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        arguments += ["--symlink", f"/proc/self/fd{target}", f"/dev/{name}"]
    for path in launch.interpreter.read_only:
        arguments += ["--ro-bind", str(path), str(path)]
    if launch.mode is Mode.PROGRAM:
        size_bytes = (launch.file_mib * 16 << 20) + 2 * len(launch.source)
        arguments += ["--size", str(size_bytes), "--tmpfs", PROGRAM_DIR]
        arguments += ["--file", str(file_fd), f"{PROGRAM_DIR}/{launch.source_name}", "--chdir", PROGRAM_DIR]
    else:
        assert launch.harness_dir is not None
        arguments += ["--dir", "/tmp", "--ro-bind", str(launch.harness_dir), HARNESS_DIR]
        arguments += ["--ro-bind-data", str(file_fd), FILTER_PATH, "--chdir", "/"]
    return [*arguments, "--remount-ro", "/"]


def _system_arguments(root: Path | None) -> list[str]:
    """Mounts of the system's folders: the machine's own, or those of a private installation."""
    if root is None:
        arguments = ["--ro-bind", "/usr", "/usr"]
        for path in _ETC:
            arguments += ["--ro-bind-try", path, path]
        folders = [Path(name) for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")]
    else:
        arguments = []
        folders = [path for path in sorted(root.iterdir()) if path.name not in ("proc", "dev", "tmp", "azr", "sys")]
    for path in folders:
        inside = f"/{path.name}"
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), inside]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), inside]
    return arguments


def start_error(launch: Launch, timeout_s: float = 10.0) -> str:
    """What a process that doesn't start says: `launch` again, with its standard error, for a message to a person."""
    filter_bytes = seccomp.worker_filter() if launch.mode is Mode.SERVE else seccomp.single_filter()
    with _passed([filter_bytes, seccomp.child_filter()]) as (filter_fd, file_fd):
        arguments = [*_namespace_arguments(launch.mode is Mode.SERVE), *_mount_arguments(launch, file_fd)]
        argv = [_bwrap(), *arguments, "--seccomp", str(filter_fd), "--", *launch.argv]
        argv = _with_limits(launch, argv)
        argv[2] = argv[2].replace("exec 3>&1 1>/dev/null", "exec 3>/dev/null 1>/dev/null")
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment(launch),
                cwd="/",
                pass_fds=(filter_fd, file_fd),
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it does not answer within {timeout_s} s"
    text = done.stderr.decode("utf-8", "replace").strip()
    return f"exit code {done.returncode}: {text[-500:] or 'nothing on standard error'}"
