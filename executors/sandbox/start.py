"""How a contained process is started.

The process is started by Popen without preexec_fn (safe in a process that holds threads and JAX), from the thread that
owns it: its death signal follows that thread. Nothing of the parent's environment is passed on.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from executors.inside import protocol
from executors.sandbox import bubblewrap, cgroup, guardian, seccomp
from executors.sandbox.contained import Contained, DeadlineExceededError, StreamClosedError
from executors.sandbox.guardian import Guardian
from executors.sandbox.launch import (
    FILTER_PATH,
    INSIDE,
    INSIDE_DIR,
    OPEN_FILES,
    Launch,
    Mode,
    Tier,
    command,
    environment,
)

_LAUNCHER = Path(__file__).with_name("launcher.py")
_PR_SET_DUMPABLE = 4
# Linux's default of /proc/sys/fs/pipe-max-size.
_WIDEST_PIPE_BYTES = 1 << 20
# Linux's default; each thread's stack counts towards the address space.
_STACK_KIB = 8192
_RESET_PERSONALITY = "import ctypes, os, sys; ctypes.CDLL(None).personality(0); os.execv(sys.argv[1], sys.argv[1:])"
_RESTORED_BY_POPEN = {signal.SIGPIPE, signal.SIGXFSZ}


def close_memory() -> None:
    """Let no other process of this user read this process's memory or trace it (PR_SET_DUMPABLE)."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def high(descriptor: int) -> int:
    """A copy of `descriptor` above those that the contained process is given (0 to 3)."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)


@contextlib.contextmanager
def passed(contents: Sequence[bytes]) -> Iterator[list[int]]:
    """Descriptors of memory files that hold `contents`, closed at the end."""
    descriptors = []
    try:
        for content in contents:
            with os.fdopen(os.memfd_create("azr", os.MFD_CLOEXEC), "wb") as file:
                file.write(content)
                file.flush()
                file.seek(0)
                descriptors.append(high(file.fileno()))
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def start(launch: Launch, watch: Guardian | None = None, explain: bool = False, fork_fd: int = -1) -> Contained:
    """Start a contained process; `Contained.receive` reads its replies (standard output for PROGRAM).

    With `explain` its standard error is kept. fork_fd: the socket of a FORK. Raises OSError if a program of the sandbox
    can't be started, ValueError if the interpreter can't be used in the tier.
    """
    program = launch.runs_file
    namespaces = launch.tier is Tier.NAMESPACES
    forks = launch.mode is Mode.FORK
    if launch.mode is Mode.SERVE or forks or launch.children:
        outer = seccomp.worker_filter(forks=forks)
    else:
        read_only = launch.tier is Tier.LIMITS if program else not launch.hardens
        outer = seccomp.single_filter(namespaces, read_only, program)
    inner = [launch.source] if program and namespaces else [seccomp.child_filter(namespaces, launch.threads)]
    if forks:
        inner.append(seccomp.single_filter(program=True))
    listed: list[str] = []

    def list_entry(entry: str) -> None:
        if watch is not None:
            watch.add(entry)
            listed.append(entry)

    with (
        passed([outer, *inner]) as (filter_fd, *file_fds),
        _report_pipe() as (report_read, writer),
        _standard_input(launch) as stdin,
    ):
        report_write = writer.fileno()
        group = _make_group(launch, list_entry)
        folder = None
        if namespaces:
            argv = bubblewrap.argv(launch, filter_fd, file_fds, report_write, fork_fd)
            filter_path = FILTER_PATH
        else:
            folder = _program_folder(launch, list_entry) if program else None
            argv = _launcher_argv(launch, filter_fd, folder)
            filter_path = f"/proc/self/fd/{file_fds[0]}"
        process = subprocess.Popen(
            _with_limits(launch, argv, group),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if program or explain else subprocess.DEVNULL,
            env=environment(launch, filter_path, INSIDE_DIR if namespaces else str(INSIDE)),
            cwd="/",
            pass_fds=(filter_fd, *file_fds, report_write, *((fork_fd,) if forks else ())),
            bufsize=0,
            start_new_session=True,
        )
        list_entry(guardian.process(-process.pid))
        widen((process.stdout, process.stderr), launch.output_bytes)
        writer.close()
        pid = _reported_pid(report_read) if namespaces else process.pid
        if pid:
            list_entry(guardian.process(pid))
    # With bubblewrap in serve mode the harness is a child of bubblewrap's init, hence depth 1.
    harness_depth = 1 if namespaces and launch.mode in (Mode.SERVE, Mode.FORK) else 0
    return Contained(process, pid, folder, group, watch, listed, harness_depth, launch.folder_bytes)


def widen(outputs: Sequence[IO[bytes] | None], output_bytes: int) -> None:
    """Let both outputs hold more than a program may print, as far as this user may have such wide pipes.

    Node writes to a pipe without waiting and keeps what does not fit until the program is done: one that prints for
    ever would end by its limits on memory or time whenever this process reads a moment late. Small writes leave half of
    a pipe's pages empty.
    """
    for stream in outputs:
        for size in (4 * output_bytes, _WIDEST_PIPE_BYTES) if output_bytes else ():
            if stream is None:
                break
            with contextlib.suppress(OSError, OverflowError):
                fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, size)
                break


@contextlib.contextmanager
def _standard_input(launch: Launch) -> Iterator[int]:
    """Popen's stdin: a pipe for a harness; for a program a read-only file or /dev/null."""
    if not launch.runs_file:
        yield subprocess.PIPE
    elif not launch.stdin and launch.mode is Mode.PROGRAM:
        yield subprocess.DEVNULL
    else:
        with input_file(launch.stdin) as reader:
            yield reader


@contextlib.contextmanager
def input_file(text: bytes) -> Iterator[int]:
    """A read-only descriptor of a file without a name that holds `text`, closed at the end."""
    with tempfile.TemporaryFile() as file:
        file.write(text)
        file.flush()
        reader = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield reader
        finally:
            os.close(reader)


def _make_group(launch: Launch, list_entry: Callable[[str], None]) -> cgroup.Group | None:
    place = cgroup.find_place() if launch.bound_mib else None
    if place is None:
        return None
    group = place.new_group()
    for path in group.folders:
        list_entry(guardian.group(path))
    group.make(launch.bound_mib, launch.tasks)
    return group


@contextlib.contextmanager
def _report_pipe() -> Iterator[tuple[int, BinaryIO]]:
    """The read end, and the write end as a file: its number must never be closed twice, it may be another thread's."""
    read, low_write = os.pipe()
    with os.fdopen(high(low_write), "wb", buffering=0) as writer:
        os.close(low_write)
        try:
            yield read, writer
        finally:
            os.close(read)


def _reported_pid(report_read: int) -> int:
    """The process inside, as bubblewrap reports it; 0 if it ended before that."""
    data = b""
    while chunk := os.read(report_read, 4096):
        data += chunk
        if b"}" in data:
            break
    try:
        return int(json.loads(data)["child-pid"])
    except (ValueError, KeyError):
        return 0


def _program_folder(launch: Launch, list_entry: Callable[[str], None]) -> Path:
    # Listed before it is made, so that it never outlives a kill of this process.
    folder = Path(tempfile.gettempdir()).resolve() / f"azr_program_{secrets.token_hex(8)}"
    list_entry(guardian.folder(folder))
    folder.mkdir(0o700)
    folder.joinpath(launch.source_name).write_bytes(launch.source)
    return folder


def _launcher_argv(launch: Launch, filter_fd: int, folder: Path | None) -> list[str]:
    if launch.interpreter.root is not None:
        raise ValueError(f"the interpreter in {launch.interpreter.root} needs namespaces: install one in the system")
    inside = str(folder or launch.harness_dir)
    plan = {
        "argv": command(launch, inside, str(INSIDE)),
        "read_only": [inside, str(INSIDE), *map(str, launch.read_only)],
        "writable": str(folder) if folder else "",
        "landlock": launch.tier is Tier.LANDLOCK,
        "filter": filter_fd,
    }
    return [_python(), "-I", "-S", "-B", str(_LAUNCHER), json.dumps(plan)]


def _with_limits(launch: Launch, argv: Sequence[str], group: cgroup.Group | None) -> list[str]:
    """`argv` run by a shell that joins the group, sets limits and moves the reply stream from descriptor 1 to 3.

    Nothing that this process inherited or set for itself changes a verdict: file modes, stack, signals. If the machine
    is short of memory, the kernel ends programs before their parents.
    """
    script = cgroup.join_script(group) if group is not None else ""
    script += f"umask 022; {{ echo {500 if launch.mode is Mode.FORK else 1000} > /proc/self/oom_score_adj; "
    script += f"ulimit -S -s {_STACK_KIB}; }} 2>/dev/null; "
    script += f"ulimit -c 0; ulimit -n {OPEN_FILES}; ulimit -f {launch.file_blocks}; "
    if launch.memory_mib:
        script += f"ulimit -v {launch.memory_mib * 1024}; "
    if launch.cpu_s:
        script += f"ulimit -t {int(launch.cpu_s) + 2}; "
    if not launch.runs_file:
        script += "exec 3>&1 1>/dev/null; "
    return [*_default_signals(), *_own_personality(), "/bin/sh", "-c", script + 'exec "$@"', "sh", *argv]


def _default_signals() -> tuple[str, ...]:
    """A prefix of an argv that unblocks and restores all signals; empty if none is needed or available.

    A process in the background of a script, or under nohup, ignores some, and one that waits for signals blocks them.
    """
    ignored = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    if not signal.pthread_sigmask(signal.SIG_BLOCK, ()) and ignored <= _RESTORED_BY_POPEN:
        return ()
    return _env_that_resets_signals()


def _own_personality() -> tuple[str, ...]:
    """A prefix of an argv that turns address randomisation on, if `setarch -R` or the like turned it off."""
    with contextlib.suppress(OSError, ValueError):
        if int(Path("/proc/self/personality").read_text(), 16):
            return (_python(), "-I", "-S", "-B", "-c", _RESET_PERSONALITY)
    return ()


def _python() -> str:
    return getattr(sys, "_base_executable", sys.executable)


@functools.cache
def _env_that_resets_signals() -> tuple[str, ...]:
    """`env` of GNU coreutils 8.31 or later, or nothing."""
    argv = ("/usr/bin/env", "--default-signal")
    with contextlib.suppress(OSError):
        if subprocess.run([*argv, "/bin/true"], capture_output=True, check=False).returncode == 0:
            return argv
    return ()


def start_error(launch: Launch, timeout_s: float = 10.0) -> str:
    """Why `launch` does not start, for a message: starts it again and reads its standard error."""
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
