"""How a serving Python process in the sandbox starts, watches, ends and judges its children.

Used by the Python harness and by the host of other interpreters; imports only the standard library, because it runs
inside.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence

import protocol
from hardening import Limits, clone

Claim = list[bytes]
Spans = list[tuple[int, int]]
# From the bytes received and the most allowed: the fields' spans and the frame's length; None while incomplete. Raises
# FrameError.
Decode = Callable[[memoryview, int], tuple[Spans, int] | None]

_REQUEST_BYTES = 1 << 28
_FIRST_BYTES, _KEPT_BYTES = 1 << 16, 1 << 20
_CLAIMS = frozenset(
    (b"ok", b"syntax_error", b"runtime_error", b"memory", b"output_limit", b"forbidden", b"unserialisable", b"exit")
)
_INVALID = [b"crash", b"InvalidReply", b""]
_NAMED_SIGNALS = frozenset(signal.Signals)
_LEAVE_S = 0.05
_CORES = os.cpu_count() or 1
_CPU_LOOK_S = 0.02
_MOST_PARTS = 512  # a kernel takes 1024 at once


class Received:
    """Received bytes in one buffer, which is wiped as soon as they are used.

    A child inherits its server's memory, which must not hold an earlier request (with expected values) or an earlier
    program's claim. So neither is ever copied.
    """

    def __init__(self) -> None:
        self._data = bytearray(_FIRST_BYTES)
        self.size = 0

    def read(self, descriptor: int) -> int:
        """Append the bytes available on `descriptor`; returns their number, 0 at its end."""
        if self.size == len(self._data):
            larger = bytearray(2 * self.size)
            larger[: self.size] = self._data
            self._data[:] = bytes(self.size)
            self._data = larger
        with memoryview(self._data) as view, view[self.size :] as room:
            count = os.readv(descriptor, [room])
        self.size += count
        return count

    def view(self) -> memoryview:
        """The bytes received."""
        return memoryview(self._data)[: self.size]

    def wipe(self) -> None:
        """Wipe the bytes received."""
        self._data[: self.size] = bytes(self.size)
        self.size = 0
        if len(self._data) > _KEPT_BYTES:
            self._data = bytearray(_FIRST_BYTES)


def write_frame(fields: Sequence[bytes | memoryview]) -> None:
    """Write a frame to the host, without copying its fields."""
    parts: list[bytes | memoryview] = [len(fields).to_bytes(4, "big")]
    for field in fields:
        parts += (len(field).to_bytes(4, "big"), field)
    views = [memoryview(part) for part in parts]
    while views:
        count = os.writev(3, views[:_MOST_PARTS])
        while views and count >= len(views[0]):
            count -= len(views.pop(0))
        if count:
            views[0] = views[0][count:]


def read_request(received: Received) -> list[memoryview] | None:
    """The fields of the host's next request; None at the end."""
    while True:
        view = received.view()
        frame = protocol.spans(view, _REQUEST_BYTES)
        if frame is not None:
            return [view[start:end] for start, end in frame[0]]
        if not received.read(0):
            return None


def serve(
    run: Callable[[list[bytes], int], None],
    new_pid: bool,
    decode: Decode = protocol.spans,
    memory_errors: Sequence[bytes] = (),
) -> None:
    """Answer requests until the end of the input; `run` gets each in a fresh child, with the descriptor for its claim.

    memory_errors: last words of an interpreter that runs out of memory, found where its claim should be.
    """
    asked, received = Received(), Received()
    write_frame([b"ready"])
    while (request := read_request(asked)) is not None:
        limits = Limits(bytes(request[1]))
        values = len(request) - 4
        output, reply = os.pipe()
        begin = time.monotonic()
        pid = clone(new_pid)
        if pid == 0:
            try:
                run([bytes(field) for field in request], reply)
            finally:
                os._exit(71)
        os.close(reply)
        request.clear()
        asked.wipe()
        claim = _watch(pid, output, limits, values, decode, received)
        exit_status, usage = _end(pid, 0.0 if claim else _LEAVE_S)
        os.close(output)
        seconds = time.monotonic() - begin
        if claim is None or claim is _INVALID:
            last = bytes(received.view()) if memory_errors else b""
            if any(mark in last for mark in memory_errors):
                claim = [b"memory", b"", b""]
        claim = claim or _judge_end(exit_status, usage, limits)
        measured = [b"%.6f" % seconds, b"%.1f" % (usage.ru_maxrss / 1024)]
        write_frame([*claim[:3], *measured, *claim[3:]])
        claim = None
        received.wipe()


def _watch(
    pid: int, output: int, limits: Limits, values: int, decode: Decode, received: Received
) -> Sequence[bytes | memoryview] | None:
    """The child's claim, or the limit that it reached; None if it ends without a claim."""
    deadline = time.monotonic() + limits.wall_s
    clock = (~pid << 3) | 2
    max_bytes = 1024 + 4 * (limits.message_chars + values * (limits.value_chars + 1))
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while True:
        wall_left_s, cpu_left_s = deadline - time.monotonic(), limits.cpu_s - time.clock_gettime(clock)
        if wall_left_s <= 0 or cpu_left_s <= 0:
            return [b"timeout", b"", b""]
        # Threads use up processor time faster than the clock runs, on all cores at most.
        left_s = min(wall_left_s, max(cpu_left_s / _CORES, _CPU_LOOK_S))
        if not poll.poll(int(left_s * 1000) + 1):
            continue
        if not received.read(output):
            return None
        view = received.view()
        try:
            frame = decode(view, max_bytes)
        except protocol.FrameError:
            return _INVALID
        if frame is not None:
            claim = [view[start:end] for start, end in frame[0]]
            if is_claim(claim, values):
                return claim
            return _INVALID
        if received.size > max_bytes:
            return [b"output_limit", b"", b""]


def is_claim(fields: Sequence[memoryview], values: int) -> bool:
    """Whether fields are a claim that a program may make: a known status with the right number of values.

    The host checks that they are text: checking here would copy them.
    """
    if len(fields) < 3 or bytes(fields[0][:32]) not in _CLAIMS:
        return False
    return len(fields) == 3 + (values if fields[0] == b"ok" else 0)


def _end(pid: int, wait_s: float) -> tuple[int, resource.struct_rusage]:
    """Wait up to `wait_s` for the child to end, kill it, and reap it."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return status, usage


def _judge_end(status: int, usage: resource.struct_rusage, limits: Limits) -> Claim:
    """The status of a child that ended without a claim."""
    if not os.WIFSIGNALED(status):
        return [b"exit", b"", b"the process ended with exit code %d" % os.waitstatus_to_exitcode(status)]
    number = os.WTERMSIG(status)
    if number in (signal.SIGKILL, signal.SIGXCPU):
        out_of_time = usage.ru_utime + usage.ru_stime >= limits.cpu_s
        return [b"timeout" if out_of_time else b"crash", b"SIGKILL", b""]
    # Real-time signals have no name, and the program's timer may send one.
    name = signal.Signals(number).name if number in _NAMED_SIGNALS else f"signal {number}"
    return [b"crash", name.encode(), b""]
