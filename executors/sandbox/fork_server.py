"""Whole programs in forks of one started interpreter: the host's side of inside/fork_server.c.

The library is loaded into the interpreter, which starts in a sandbox as it would for a program's file and stops at its
fork point (`Language.fork_point`), before it has read any program. Messages are packets of a local socket:
  server  "R": it is ready; "D STATUS KIB": a child ended, with this wait status and peak of memory; "E TEXT": it can't
  child   "S": the program begins. The kernel adds the sender's process number
  host    a request (struct request) with the descriptors of standard input, both outputs and the program's text, which
          starts a child; one byte: kill it
A child has what a freshly started program has: its own PID namespace and view of /proc, a folder in memory that nobody
else sees, limits, no rights, and the seccomp program of whole programs. Only in the tier `namespaces`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import math
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from executors import compiled
from executors.language import Forking, Interpreter, Language
from executors.sandbox.contained import Contained, cpu_seconds
from executors.sandbox.guardian import Guardian
from executors.sandbox.launch import INSIDE, Launch, Mode
from executors.sandbox.start import high, input_file, passed, start, widen

_SOURCE = INSIDE / "fork_server.c"
_REQUEST, _CREDENTIALS = struct.Struct("=4Q"), struct.Struct("=3i")
# An interpreter starts in a second; the machine may be busy.
_READY_S, _FORK_S, _KILL_S = 60.0, 10.0, 1.0
_PACKET = 1024

_LOG = logging.getLogger(__name__)


class ForkServerError(Exception):
    """The interpreter can't serve; the text says why."""


@functools.cache
def library() -> Path | None:
    """The compiled library, made if missing; None without a C compiler or a folder for it.

    Raises ValueError if the compiler refuses it.
    """
    target = compiled.folder("fork_server") / f"fork_server-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}.so"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if target.exists() or compiler is None:
        return target if target.exists() else None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            partial = Path(folder, target.name)
            argv = [compiler, "-O2", "-shared", "-fPIC", "-o", str(partial), str(_SOURCE), "-ldl"]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ValueError(f"{' '.join(argv)} fails: {done.stderr.strip()[-2000:]}")
            partial.replace(target)
    except OSError:
        return None
    return target


class Forks:
    """The fork server of one worker: started when it is needed, again if it was killed, never after it failed."""

    def __init__(self, language: Language, interpreter: Interpreter, guardian: Guardian | None, allowed: bool) -> None:
        self._language = language
        self._interpreter = interpreter
        self._guardian = guardian
        self._allowed = allowed
        self._server: ForkServer | None = None

    def server(self, launch: Launch, forking: Forking) -> ForkServer | None:
        """The server for a PROGRAM; None if each run has to start an interpreter. Raises OSError or ValueError."""
        if self._server is not None and not self._server.usable:
            self._refuse(self._server.fault)
            self.close()
        shared, fault = None, "no C compiler (cc, gcc, clang) on PATH, or no folder for what it compiles; install one"
        try:
            shared = library() if self._allowed else None
        except ValueError as error:
            fault = str(error)
        if self._allowed and shared is None:
            self._refuse(fault)
        if shared is not None and self._server is None:
            waiting = dataclasses.replace(
                launch,
                mode=Mode.FORK,
                argv=functools.partial(self._waiting_argv, launch, forking),
                source=b"",
                stdin=b"",
                memory_mib=0,
                cpu_s=0.0,
                library=shared,
                forking=forking,
            )
            try:
                self._server = ForkServer(waiting, self._guardian)
            except ForkServerError as error:
                self._refuse(str(error))
        return self._server

    def _refuse(self, fault: str) -> None:
        if fault:
            self._allowed = False
            _LOG.warning("%s: each test of a program starts an interpreter: %s", self._language.full_name, fault)

    def _waiting_argv(self, launch: Launch, forking: Forking, folder: str) -> Sequence[str]:
        if forking.argv is not None:
            return forking.argv(self._interpreter, f"{folder}/{launch.source_name}")
        return [*(("/bin/true",) if forking.point == "exec" else ()), *launch.argv(folder)]

    def close(self) -> None:
        """Kill the server."""
        if self._server is not None:
            self._server.close()
            self._server = None


class ForkServer:
    """A started interpreter that forks for each run; not safe across threads.

    usable: False after a fault of its own, which `fault` then names, or after its death, for which others are to blame.
    Raises OSError, ValueError or ForkServerError if it does not start.
    """

    def __init__(self, launch: Launch, guardian: Guardian | None) -> None:
        self.usable, self.fault = True, ""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            with theirs, open(high(theirs.fileno()), "rb", buffering=0) as fork:
                self.contained: Contained = start(launch, guardian, fork_fd=fork.fileno())
        except BaseException:
            self._socket.close()
            raise
        self._expect("R", _READY_S)

    def close(self) -> None:
        """Kill the interpreter and its children."""
        self.usable = False
        self.contained.kill()
        self._socket.close()

    def receive(self, timeout_s: float) -> tuple[str, int] | None:
        """The next message and its sender's process number; None after `timeout_s`; ("", 0) if the server has gone."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(math.ceil(max(timeout_s, 0.0) * 1000)):
            return None
        with contextlib.suppress(ConnectionError):
            data, extra, _, _ = self._socket.recvmsg(_PACKET, socket.CMSG_SPACE(_CREDENTIALS.size))
            pid = _CREDENTIALS.unpack(extra[0][2])[0] if data else 0
            return data.decode("utf-8", "replace"), pid
        return "", 0

    def _expect(self, word: str, timeout_s: float) -> int:
        said, pid = self.receive(timeout_s) or (f"no answer within {timeout_s:g} s", 0)
        if said != word:
            self.end(said)
            raise ForkServerError(said or "it ended")
        return pid

    def end(self, said: str) -> None:
        """Kill it, since it `said` why it can't go on, or nothing."""
        self.fault = said.removeprefix("E ")
        self.close()

    def begin(self, launch: Launch) -> Forked:
        """Start the program of `launch` in a fork, with its limits. Raises ForkServerError: it is no longer usable."""
        request = _REQUEST.pack(
            launch.memory_mib << 20, int(launch.cpu_s) + 2, launch.file_blocks * 512, launch.folder_bytes
        )
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            outputs, writers = [], []
            for _ in range(2):
                read, write = os.pipe()
                outputs.append(ours.enter_context(open(read, "rb", buffering=0)))
                writers.append(theirs.enter_context(open(write, "wb", buffering=0)).fileno())
            widen(outputs, launch.output_bytes)
            stdin = theirs.enter_context(input_file(launch.stdin))
            (source,) = theirs.enter_context(passed([launch.source]))
            try:
                socket.send_fds(self._socket, [request], [stdin, *writers, source])
            except OSError as error:
                self.close()
                raise ForkServerError(str(error)) from None
            pid = self._expect("S", _FORK_S)
            ours.pop_all()
        return Forked(self, pid, (outputs[0], outputs[1]))

    def kill_child(self) -> None:
        """Ask the server to end its child."""
        with contextlib.suppress(OSError):
            self._socket.send(b"K")


class Forked:
    """One program that a ForkServer runs; what worker.py asks of it is as `Contained` describes."""

    def __init__(self, server: ForkServer, pid: int, outputs: tuple[BinaryIO, BinaryIO]) -> None:
        self._server = server
        self.outputs = outputs
        self.pid = pid
        self.peak_memory_mib = 0.0
        self._code: int | None = None
        self._out_of_memory = False

    def _listen(self, timeout_s: float) -> None:
        message = self._server.receive(timeout_s) if self._code is None else None
        if message is None:
            return
        kind, *numbers = message[0].split() or [""]
        if kind == "D":
            code = os.waitstatus_to_exitcode(int(numbers[0]))
            self._code = 128 - code if code < 0 else code
            self.peak_memory_mib = int(numbers[1]) / 1024
        else:
            self._out_of_memory = self.ran_out_of_memory()  # before the group is gone
            self._server.end(message[0])
            self._code = 128 + signal.SIGKILL

    def ended(self) -> bool:
        """Whether the program has ended."""
        self._listen(0.0)
        return self._code is not None

    def pause(self, seconds: float) -> None:
        """Wait for the program's end, at most `seconds`."""
        self._listen(seconds)

    def exit_code(self, timeout_s: float) -> int | None:
        """The exit code (128 + signal for a death by signal); None if it still runs after `timeout_s`."""
        self._listen(timeout_s)
        return self._code

    def cpu_seconds(self) -> float:
        """CPU time of the program so far."""
        return cpu_seconds(self.pid)

    def look_at_memory(self) -> None:
        """The server reports the peak at the end."""

    @property
    def folder_look_s(self) -> float:
        """Nothing has to look: the folder has a size."""
        return self._server.contained.folder_look_s

    def folder_is_full(self) -> bool:
        """Never: the folder has a size."""
        return False

    def ran_out_of_memory(self) -> bool:
        """As Contained.ran_out_of_memory, of the server's group."""
        return self._out_of_memory or self._server.contained.ran_out_of_memory()

    def kill(self) -> None:
        """End the program and close the outputs; a server that doesn't obey ends too."""
        if self._code is None:
            self._server.kill_child()
            self._listen(_KILL_S)
            if self._code is None:
                self._server.close()
        for stream in self.outputs:
            stream.close()
