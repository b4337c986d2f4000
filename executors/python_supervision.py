"""What a serving Python process in the sandbox does beside its children: starts, watches, ends and judges them.

Used by the Python harness and by the host of other interpreters; imports the standard library alone, because it runs
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
from python_hardening import Limits, clone

Claim = list[bytes]
# From what was received and the most bytes allowed: the fields and the length, None while incomplete, or FrameError.
Decode = Callable[[bytearray, int], tuple[list[bytes], int] | None]

_REQUEST_BYTES = 1 << 28
_CLAIMS = frozenset(
    (b"ok", b"syntax_error", b"runtime_error", b"memory", b"output_limit", b"forbidden", b"unserialisable", b"exit")
)
_LEAVE_S = 0.05


def write_frame(fields: Sequence[bytes]) -> None:
    """A frame to the host."""
    data = protocol.encode(fields)
    while data:
        data = data[os.write(3, data) :]


def read_request(buffer: bytearray) -> list[bytes] | None:
    """The next request of the host, None at the end; `buffer` keeps what came after it."""
    while True:
        frame = protocol.decode(buffer, _REQUEST_BYTES)
        if frame is not None:
            del buffer[: frame[1]]
            return frame[0]
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return None
        buffer += chunk


def serve(
    run: Callable[[list[bytes], int], None],
    new_pid: bool,
    decode: Decode = protocol.decode,
    memory_errors: Sequence[bytes] = (),
) -> None:
    """Answer requests until the end of the input; `run` gets each in a fresh child, with the descriptor for its claim.

    memory_errors: last words of an interpreter that runs out of memory, found where its claim should be.
    """
    buffer = bytearray()
    write_frame([b"ready"])
    while (request := read_request(buffer)) is not None:
        limits = Limits(request[1])
        output, reply = os.pipe()
        begin = time.monotonic()
        pid = clone(new_pid)
        if pid == 0:
            try:
                run(request, reply)
            finally:
                os._exit(71)
        os.close(reply)
        received = bytearray()
        claim = _watch(pid, output, limits, len(request) - 4, decode, received)
        exit_status, usage = _end(pid, 0.0 if claim else _LEAVE_S)
        os.close(output)
        seconds = time.monotonic() - begin
        if claim is None:
            out_of_memory = any(mark in received for mark in memory_errors)
            claim = [b"memory", b"", b""] if out_of_memory else _judge_end(exit_status, usage, limits)
        measured = [b"%.6f" % seconds, b"%.1f" % (usage.ru_maxrss / 1024)]
        write_frame([*claim[:3], *measured, *claim[3:]])


def _watch(pid: int, output: int, limits: Limits, values: int, decode: Decode, received: bytearray) -> Claim | None:
    """What the child claims, or what its limits say of it; None when it ends without a claim."""
    deadline = time.monotonic() + limits.wall_s
    clock = (~pid << 3) | 2
    max_bytes = 1024 + 4 * (limits.message_chars + values * (limits.value_chars + 1))
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while True:
        left_s = min(deadline - time.monotonic(), limits.cpu_s - time.clock_gettime(clock))
        if left_s <= 0:
            return [b"timeout", b"", b""]
        if not poll.poll(int(left_s * 1000) + 1):
            continue
        chunk = os.read(output, 1 << 16)
        if not chunk:
            return None
        received += chunk
        try:
            frame = decode(received, max_bytes)
        except protocol.FrameError:
            return [b"crash", b"InvalidReply", b""]
        if frame is not None:
            claim = frame[0]
            if len(claim) >= 3 and claim[0] in _CLAIMS and len(claim) == 3 + (values if claim[0] == b"ok" else 0):
                return claim
            return [b"crash", b"InvalidReply", b""]
        if len(received) > max_bytes:
            return [b"output_limit", b"", b""]


def _end(pid: int, wait_s: float) -> tuple[int, resource.struct_rusage]:
    """Let the child end by itself for `wait_s`, kill it, and reap it."""
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
    """What an end without a claim means."""
    if not os.WIFSIGNALED(status):
        return [b"exit", b"", b"the process ended with exit code %d" % os.waitstatus_to_exitcode(status)]
    number = os.WTERMSIG(status)
    if number in (signal.SIGKILL, signal.SIGXCPU):
        out_of_time = usage.ru_utime + usage.ru_stime >= limits.cpu_s
        return [b"timeout" if out_of_time else b"crash", b"SIGKILL", b""]
    return [b"crash", signal.Signals(number).name.encode(), b""]
