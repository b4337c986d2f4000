"""Starts an interpreter afresh for each request, contained, and relays its claim: runs inside the sandbox.

The last argument is a JSON object that ../hosted.py makes: the plan for the interpreter.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import protocol
from hardening import Limits, detach, harden_to, hide
from supervision import serve

sys.path.pop(0)

_MAX_FIELDS = 65536
_RETURN, _RETURN_ERRNO, _RETURN_ALLOW = 0x06, 0x00050000, 0x7FFF0000
_LOAD, _JUMP_IF_EQUAL = 0x20, 0x15
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_EXECVE = {"x86_64": (59,), "aarch64": (221,)}
_MKDIR = {"x86_64": (83, 258), "aarch64": (34,)}


def interpreter_filter(program: bytes) -> bytes:
    """The child's seccomp program, with exec allowed and mkdir a success that does nothing.

    The interpreter that exec starts keeps the program, the limits and the namespaces.
    """
    machine = platform.machine()
    changes = dict.fromkeys(_EXECVE[machine], _RETURN_ALLOW) | dict.fromkeys(_MKDIR[machine], _RETURN_ERRNO)
    rules = [
        instruction
        for number, action in changes.items()
        for instruction in ((_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, action))
    ]
    # Other machines' numbers are left to the program.
    start = [(_LOAD, 0, 0, 4), (_JUMP_IF_EQUAL, 0, len(rules) + 1, _AUDIT_ARCH[machine]), (_LOAD, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in (*start, *rules)) + program


def decode_text(received: memoryview, max_bytes: int) -> tuple[list[tuple[int, int]], int] | None:
    """As protocol.spans, for the lines of decimal lengths that ../hosted.py describes."""
    # A copy is safe: no child sees this process' memory, since it execs its interpreter.
    data = bytes(received)
    position, fields = 0, []
    count = _MAX_FIELDS
    while len(fields) < count:
        end = data.find(b"\n", position, position + 12)
        if end < 0:
            if len(data) >= position + 12:
                raise protocol.FrameError("a line that is no length")
            return None
        digits = data[position:end]
        if not digits.isdigit():
            raise protocol.FrameError("a line that is no length")
        number, position = int(digits), end + 1
        if count == _MAX_FIELDS:
            if number >= _MAX_FIELDS:
                raise protocol.FrameError(f"a reply of {number} fields")
            count = number
            continue
        if position + number > max_bytes:
            raise protocol.FrameError(f"a reply of more than {max_bytes} bytes")
        if len(data) < position + number:
            return None
        fields.append((position, position + number))
        position += number
    return fields, position


def encode_text(fields: list[bytes]) -> bytes:
    """The fields of a request as ../hosted.py describes."""
    return b"%d\n" % len(fields) + b"".join(b"%d\n%b" % (len(field), field) for field in fields)


def memory_file(content: bytes) -> int:
    """A descriptor of a file in memory, at its start. Raises OSError if `content` exceeds the file size limit."""
    descriptor = os.memfd_create("azr", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class Host:
    """The state shared by all requests."""

    def __init__(self, plan: dict, seccomp_program: bytes) -> None:
        self._plan = plan
        self._filter = interpreter_filter(seccomp_program)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("AZR_", "PYTHON"))
        }

    def run(self, request: list[bytes], reply: int) -> None:
        """Replace this process by the contained interpreter, with `request` on descriptor 0. Raises OSError."""
        limits = Limits(request[1])
        sizes = [b"%d" % limits.value_chars, b"%d" % limits.message_chars]
        asked = memory_file(encode_text([request[0], *sizes, *request[2:]]))
        detach()
        null = os.open("/dev/null", os.O_RDWR)
        # First to high numbers, which the dup2 calls below do not overwrite.
        held = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 16) for descriptor in (asked, reply)]
        for descriptor in (1, 2, 3, 4):
            os.dup2(null, descriptor)
        os.dup2(held[0], 0)
        os.dup2(held[1], self._plan["reply"])
        os.closerange(5, 4096)
        space_bytes = (limits.memory_mib + self._plan["memory_overhead_mib"]) << 20
        harden_to(space_bytes, limits.cpu_s, self._filter)
        argv, environment = self._plan["argv"], self._environment
        if request[0] == b"value":
            environment |= self._plan["value_environment"]
        os.execve(argv[0], argv, environment)


def main() -> None:
    """Serve until the end of the input."""
    with open(os.environ["AZR_CHILD_FILTER"], "rb") as file:
        seccomp_program = file.read()
    plan = json.loads(sys.argv[-1])
    host = Host(plan, seccomp_program)
    hide()
    memory_errors = [mark.encode() for mark in plan["memory_errors"]]
    serve(host.run, os.environ["AZR_NEW_PID"] == "1", decode_text, memory_errors)


if __name__ == "__main__":
    main()
