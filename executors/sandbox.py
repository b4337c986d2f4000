"""One contained process: how it is started, spoken to and killed.

The process is started by Popen without preexec_fn (safe in a process that holds threads and JAX), from the thread that
owns it: its death signal follows that thread. Nothing of the parent's environment is passed on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from executors import bubblewrap, protocol, seccomp
from executors.guardian import Guardian
from executors.launch import FILTER_PATH, OPEN_FILES, Launch, Mode, Tier, environment

# A program that hasn't answered by the first look is looked at again and again; asleep each time, it holds no core.
_FIRST_LOOK_S, _LOOK_S, _LOOKS = 0.1, 0.02, 3
_LAUNCHER = Path(__file__).with_name("launcher.py")


class StreamClosedError(Exception):
    """The contained process closed its reply stream before a frame was complete."""


class DeadlineExceededError(Exception):
    """The deadline passed before a frame was complete."""


class Contained:
    """A started contained process; not safe across threads.

    pid: the process inside, 0 when it isn't known. folder: deleted when the process is killed. listed: what the
    guardian must forget then.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pid: int,
        folder: Path | None = None,
        guardian: Guardian | None = None,
        listed: Sequence[int] = (),
    ) -> None:
        self.process = process
        self.pid = pid
        self._folder = folder
        self._guardian = guardian
        self._listed = listed
        self._received = bytearray()
        self._killed = False
        assert process.stdout is not None
        self._output = process.stdout.fileno()
        os.set_blocking(self._output, False)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)

    def send(self, fields: Sequence[bytes], deadline: float) -> None:
        """Write a frame. Raises StreamClosedError (the process has gone) or DeadlineExceededError (it doesn't read)."""
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
                raise StreamClosedError from None

    def receive(
        self, deadline: float, max_bytes: int, cpu_s: float = 0.0, on_sleep: Callable[[], None] | None = None
    ) -> list[bytes]:
        """The next frame. Raises StreamClosedError, DeadlineExceededError (the CPU limit is one too) and FrameError.

        `on_sleep` is called once when nothing inside has been running for a while.
        """
        if on_sleep is not None:
            self._watch_sleep(deadline, on_sleep)
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
                raise StreamClosedError
            self._received += chunk

    def _watch_sleep(self, deadline: float, on_sleep: Callable[[], None]) -> None:
        """Wait until there is output, the deadline is near, or everything inside sleeps (then call `on_sleep`)."""
        asleep, pause_s = 0, _FIRST_LOOK_S
        while time.monotonic() + pause_s < deadline:
            with contextlib.suppress(DeadlineExceededError):
                _wait(self._output, select.POLLIN, time.monotonic() + pause_s)
                return
            asleep = asleep + 1 if self.is_asleep() else 0
            if asleep == _LOOKS:
                on_sleep()
                return
            pause_s = _LOOK_S

    def is_asleep(self) -> bool:
        """Whether no thread inside runs or waits for a core or a disk; False when that can't be told."""
        found, frontier = False, [self.pid] if self.pid else []
        while frontier:
            pid = frontier.pop()
            try:
                tasks = os.listdir(f"/proc/{pid}/task")
                for task in tasks:
                    with open(f"/proc/{pid}/task/{task}/stat", "rb") as file:
                        if file.read().rpartition(b")")[2].split()[0] in (b"R", b"D"):
                            return False
                    with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                        frontier += map(int, file.read().split())
            except OSError:
                return False
            found = True
        return found

    def _wait_output(self, deadline: float, cpu_s: float) -> None:
        if not cpu_s or not self.pid:
            _wait(self._output, select.POLLIN, deadline)
            return
        while True:
            left_s = cpu_s - self.cpu_seconds()
            if left_s <= 0:
                raise DeadlineExceededError
            try:
                _wait(self._output, select.POLLIN, min(deadline, time.monotonic() + left_s))
                return
            except DeadlineExceededError:
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
        if self._guardian is not None:
            for identity in self._listed:
                self._guardian.remove(identity)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    poll = select.poll()
    poll.register(descriptor, event)
    # Rounded up: a wait of zero would spin.
    if left_s <= 0 or not poll.poll(int(left_s * 1000) + 1):
        raise DeadlineExceededError


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


def start(launch: Launch, guardian: Guardian | None = None, explain: bool = False) -> Contained:
    """Start a contained process; its replies (standard output for PROGRAM) are `Contained.receive`'s.

    With `explain` its standard error is kept. Raises OSError when a program that the sandbox is made of can't be
    started, ValueError when the interpreter can't be used in the tier.
    """
    program = launch.mode is Mode.PROGRAM
    namespaces = launch.tier is Tier.NAMESPACES
    outer = seccomp.worker_filter() if launch.mode is Mode.SERVE else seccomp.single_filter()
    inner = launch.source if program and namespaces else seccomp.child_filter(namespaces)
    with _passed([outer, inner]) as (filter_fd, file_fd), _report_pipe() as (report_read, report_write):
        folder = None
        if namespaces:
            argv = bubblewrap.argv(launch, filter_fd, file_fd, report_write)
            filter_path = FILTER_PATH
        else:
            folder = _program_folder(launch) if program else None
            argv = _launcher_argv(launch, filter_fd, folder)
            filter_path = f"/proc/self/fd/{file_fd}"
        process = subprocess.Popen(
            _with_limits(launch, argv),
            stdin=subprocess.DEVNULL if program else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if program or explain else subprocess.DEVNULL,
            env=environment(launch, filter_path),
            cwd="/",
            pass_fds=(filter_fd, file_fd, report_write),
            bufsize=0,
            start_new_session=True,
        )
        listed = [-process.pid]
        if guardian is not None:
            guardian.add(-process.pid)
        os.close(report_write)
        pid = _reported_pid(report_read) if namespaces else process.pid
        if guardian is not None and pid:
            guardian.add(pid)
            listed.append(pid)
    return Contained(process, pid, folder, guardian, listed)


@contextlib.contextmanager
def _report_pipe() -> Iterator[tuple[int, int]]:
    read, low_write = os.pipe()
    write = _high(low_write)
    os.close(low_write)
    try:
        yield read, write
    finally:
        os.close(read)
        with contextlib.suppress(OSError):
            os.close(write)


def _reported_pid(report_read: int) -> int:
    """The process inside, as bubblewrap tells it; 0 when it ended before telling."""
    data = b""
    while chunk := os.read(report_read, 4096):
        data += chunk
        if b"}" in data:
            break
    try:
        return int(json.loads(data)["child-pid"])
    except (ValueError, KeyError):
        return 0


def _program_folder(launch: Launch) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="azr_program_"))
    folder.joinpath(launch.source_name).write_bytes(launch.source)
    return folder


def _launcher_argv(launch: Launch, filter_fd: int, folder: Path | None) -> list[str]:
    if launch.interpreter.root is not None:
        raise ValueError(f"the interpreter in {launch.interpreter.root} needs namespaces: install one in the system")
    inside = str(folder or launch.harness_dir)
    plan = {
        "argv": list(launch.argv(inside)),
        "read_only": [inside, *map(str, launch.interpreter.read_only)],
        "writable": str(folder) if folder else "",
        "landlock": launch.tier is Tier.LANDLOCK,
        "filter": filter_fd,
    }
    python = getattr(sys, "_base_executable", sys.executable)
    return [python, "-I", "-S", "-B", str(_LAUNCHER), json.dumps(plan)]


def _with_limits(launch: Launch, argv: Sequence[str]) -> list[str]:
    """`argv` behind a shell that sets limits and moves the reply stream from descriptor 1 to 3."""
    blocks = max(launch.file_mib * 2048, len(launch.source) // 512 + 1, 64)
    script = f"ulimit -c 0; ulimit -n {OPEN_FILES}; ulimit -f {blocks}; "
    if launch.memory_mib:
        script += f"ulimit -v {launch.memory_mib * 1024}; "
    if launch.cpu_s:
        script += f"ulimit -t {int(launch.cpu_s) + 2}; "
    if launch.mode is not Mode.PROGRAM:
        script += "exec 3>&1 1>/dev/null; "
    return ["/bin/sh", "-c", script + 'exec "$@"', "sh", *argv]


def start_error(launch: Launch, timeout_s: float = 10.0) -> str:
    """Why `launch` does not start: it is started again and its standard error kept, for a message to a person."""
    process = start(launch, explain=True)
    try:
        ready = process.receive(time.monotonic() + timeout_s, 1 << 16)
        return f"it started the second time ({ready!r}); is the machine overloaded?"
    except DeadlineExceededError:
        return f"it does not answer within {timeout_s:g} s"
    except (StreamClosedError, protocol.FrameError):
        code = process.exit_code(timeout_s)
        assert process.process.stderr is not None
        os.set_blocking(process.process.stderr.fileno(), False)
        text = (process.process.stderr.read() or b"").decode("utf-8", "replace").strip()
        return f"exit code {code}: {text[-500:] or 'nothing on standard error'}"
    finally:
        process.kill()
