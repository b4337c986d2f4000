"""The Python harness: runs inside the sandbox, started by the pool. The protocol is described in language.py.

As a server it loads the libraries once and starts every request in a fresh child in its own PID namespace.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import select
import signal
import struct
import sys
import time
import types
from collections.abc import Callable, Sequence

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import protocol
import python_values
from python_hardening import REPLY_DESCRIPTOR, Limits, clone, close_descriptors, harden, hide, leave_parent

sys.path.pop(0)

_REQUEST_BYTES = 1 << 28
_CLAIMS = frozenset(
    (b"ok", b"syntax_error", b"runtime_error", b"memory", b"output_limit", b"forbidden", b"unserialisable", b"exit")
)
# What programs import most: loaded once, so that every program finds them at no cost.
_PRELOADED = (
    "abc bisect cmath collections.abc contextlib copy dataclasses datetime decimal enum fractions functools heapq "
    "itertools json math operator random re statistics string typing"
).split()


Claim = list[bytes]


def make_writer(descriptor: int) -> Callable[[Claim], None]:
    """The function that writes a frame to `descriptor` and leaves; bound before any program runs, as `make_answer`."""
    write, leave, size, join = os.write, os._exit, len, bytes.join
    pack = struct.Struct(">I").pack

    def send(fields: Claim) -> None:
        parts = [pack(size(fields))]
        for field in fields:
            parts += (pack(size(field)), field)
        data = join(b"", parts)
        while data:
            data = data[write(descriptor, data) :]
        leave(0)

    return send


def make_answer(limits: Limits) -> Callable[[bytes, bytes, Sequence[bytes]], Claim]:  # noqa: C901 - one closure
    """The function from kind, source and inputs to the claim; its primitives are bound before any program runs."""
    emit = python_values.make_emitter()
    text_of, name_of, cut, encode, kind_of = str, type.__getattribute__, str.__getitem__, str.encode, type
    unserialisable, too_long, base, slice_to = (
        python_values.UnserialisableError,
        python_values.TooLongError,
        BaseException,
        slice(limits.message_chars),
    )
    value_chars = limits.value_chars
    memory_error, system_exit = MemoryError, SystemExit
    reserve = [bytes(1 << 18)]

    def failure(error: BaseException) -> Claim:
        kind = kind_of(error)
        if kind is memory_error:
            reserve.clear()
            return [b"memory", b"MemoryError", b""]
        if kind is unserialisable:
            return [b"unserialisable", bounded(error.args[0]), b"the value can't be written down"]
        if kind is too_long:
            return [b"output_limit", b"", encode(f"the value has more than {value_chars} characters")]
        status = b"exit" if kind is system_exit else b"runtime_error"
        try:
            message = text_of(error)
        except base:
            message = ""
        return [status, bounded(name_of(kind, "__name__")), bounded(message)]

    def bounded(text: str) -> bytes:
        return encode(cut(text, slice_to), "utf-8", "backslashreplace")

    def answer(kind: bytes, source: bytes, inputs: Sequence[bytes]) -> Claim:
        try:
            values = [python_values.parse(text.decode()) for text in inputs]
        except (python_values.NotAValueError, UnicodeDecodeError) as error:
            return [b"forbidden", b"NotAValue", bounded(text_of(error))]
        try:
            if kind == b"value":
                return [b"ok", b"", b"", *[encode(emit(value, value_chars)) for value in values]]
            sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)
            code = compile(source, "program.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            return [b"syntax_error", bounded(name_of(kind_of(error), "__name__")), bounded(text_of(error))]
        except base as error:
            return failure(error)
        try:
            module = _main_module()
            exec(code, module.__dict__)  # noqa: S102 - this process exists to run it
            function = module.__dict__.get("f")
            if function is None:
                return [b"runtime_error", b"NameError", b"the program defines no function f"]
            claim = [b"ok", b"", b""]
            for value in values:
                claim.append(encode(emit(function(value), value_chars)))
            return claim
        except base as error:
            return failure(error)

    return answer


def _main_module() -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__="program.py", __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    return module


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read_request(buffer: bytearray) -> list[bytes] | None:
    while True:
        frame = protocol.decode(buffer, _REQUEST_BYTES)
        if frame is not None:
            del buffer[: frame[1]]
            return frame[0]
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return None
        buffer += chunk


def _child(request: list[bytes], reply: int, seccomp_program: bytes) -> None:
    leave_parent(reply)
    limits = Limits(request[1])
    harden(limits, seccomp_program)
    send = make_writer(REPLY_DESCRIPTOR)
    send(make_answer(limits)(request[0], request[3], request[4:]))


def _watch(pid: int, output: int, limits: Limits, values: int) -> tuple[Claim | None, bytes, bytes]:
    """The child's claim, or None with a status and an error kind."""
    received = bytearray()
    deadline = time.monotonic() + limits.wall_s
    clock = (~pid << 3) | 2
    max_bytes = 1024 + 4 * (limits.message_chars + values * (limits.value_chars + 1))
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while True:
        left_s = min(deadline - time.monotonic(), limits.cpu_s - time.clock_gettime(clock))
        if left_s <= 0:
            return None, b"timeout", b""
        if not poll.poll(int(left_s * 1000) + 1):
            continue
        chunk = os.read(output, 1 << 16)
        if not chunk:
            return None, b"", b""
        received += chunk
        try:
            frame = protocol.decode(received, max_bytes)
        except protocol.FrameError:
            return None, b"crash", b"InvalidReply"
        if frame is not None:
            claim = frame[0]
            if len(claim) >= 3 and claim[0] in _CLAIMS and len(claim) == 3 + (values if claim[0] == b"ok" else 0):
                return claim, b"", b""
            return None, b"crash", b"InvalidReply"
        if len(received) > max_bytes:
            return None, b"output_limit", b""


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


def serve(seccomp_program: bytes, new_pid: bool) -> None:
    """Answer requests until the end of the input, each in a fresh child."""
    for name in _PRELOADED:
        importlib.import_module(name)
    hide()
    # Collections in a child would copy every page that holds an object's header.
    gc.collect()
    gc.freeze()
    buffer = bytearray()
    _write(3, protocol.encode([b"ready"]))
    while (request := _read_request(buffer)) is not None:
        limits = Limits(request[1])
        output, reply = os.pipe()
        start = time.monotonic()
        pid = clone(new_pid)
        if pid == 0:
            try:
                _child(request, reply, seccomp_program)
            finally:
                os._exit(71)
        os.close(reply)
        claim, status, kind = _watch(pid, output, limits, len(request) - 4)
        ended = claim is None and not status
        exit_status, usage = _end(pid, 0.05 if ended else 0.0)
        os.close(output)
        seconds = time.monotonic() - start
        if claim is None:
            claim = _judge_end(exit_status, usage, limits) if ended else [status, kind, b""]
        measured = [b"%.6f" % seconds, b"%.1f" % (usage.ru_maxrss / 1024)]
        _write(3, protocol.encode([*claim[:3], *measured, *claim[3:]]))


def once(seccomp_program: bytes) -> None:
    """Answer one request in this process."""
    buffer = bytearray()
    _write(3, protocol.encode([b"ready"]))
    request = _read_request(buffer)
    if request is None:
        return
    start = time.monotonic()
    clock, usage, send = time.monotonic, resource.getrusage, make_writer(REPLY_DESCRIPTOR)
    limits = Limits(request[1])
    close_descriptors(3)
    harden(limits, seccomp_program)
    claim = make_answer(limits)(request[0], request[3], request[4:])
    measured = [b"%.6f" % (clock() - start), b"%.1f" % (usage(0).ru_maxrss / 1024)]
    send([*claim[:3], *measured, *claim[3:]])


def main() -> None:
    """Serve, or answer one request, as the argument says."""
    import site

    site.setquit()
    with open(os.environ["AZR_CHILD_FILTER"], "rb") as file:
        seccomp_program = file.read()
    new_pid = os.environ["AZR_NEW_PID"] == "1"
    if "--serve" in sys.argv:
        serve(seccomp_program, new_pid)
    else:
        once(seccomp_program)


main()
