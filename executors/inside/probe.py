"""Runs inside a sandbox and tries what must fail there; one reply frame names what was possible.

Started by ../sandbox/probe.py.
"""

from __future__ import annotations

import fcntl
import os
import platform
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import protocol
from hardening import LIBC, REPLY_DESCRIPTOR, Limits, clone, harden, hide, leave_parent

sys.path.pop(0)

_PTRACE_ATTACH = 16
_CLONE_NEWUSER = 0x10000000
_BPF_NUMBER = {"x86_64": 321, "aarch64": 280}


def _refused(action: object, *arguments: object) -> bool:
    """Whether `action` raises OSError or gives a negative number."""
    try:
        result = action(*arguments)  # type: ignore[operator]
    except OSError:
        return True
    if action is os.fork and result == 0:
        os._exit(0)
    return isinstance(result, int) and result < 0


def _send_by_descriptor(process: int) -> None:
    """Try to direct a pipe's signal to `process`."""
    read, write = os.pipe()
    try:
        fcntl.fcntl(read, fcntl.F_SETOWN, process)
    finally:
        os.close(read)
        os.close(write)


def _change_mode() -> None:
    """Set this file, opened for reading, to its present mode."""
    descriptor = os.open(__file__, os.O_RDONLY)
    try:
        os.fchmod(descriptor, os.fstat(descriptor).st_mode & 0o7777)
    finally:
        os.close(descriptor)


def _probe(parent: int) -> list[bytes]:
    """The names of what is possible here."""
    attempts = {
        "fork": (os.fork,),
        "exec": (os.execv, "/bin/true", ["true"]),
        "socket": (socket.socket,),
        "read_passwd": (open, "/etc/passwd"),
        "write_tmp": (open, "/tmp/azr_probe", "w"),
        "write_var_tmp": (open, "/var/tmp/azr_probe", "w"),
        "change_mode": (_change_mode,),
        "kill_parent": (os.kill, parent, 0),
        "signal_parent_by_descriptor": (_send_by_descriptor, parent),
        "slow_parent": (os.setpriority, os.PRIO_PROCESS, parent, os.getpriority(os.PRIO_PROCESS, 0)),
        "ptrace_parent": (LIBC.ptrace, _PTRACE_ATTACH, parent, 0, 0),
        "read_parent_environment": (open, f"/proc/{parent}/environ"),
        "new_user_namespace": (LIBC.unshare, _CLONE_NEWUSER),
        "mount": (LIBC.mount, b"none", b"/tmp", b"tmpfs", 0, None),
        "bpf": (LIBC.syscall, _BPF_NUMBER[platform.machine()], 0, 0, 0, 0, 0),
    }
    return [name.encode() for name, (action, *arguments) in attempts.items() if not _refused(action, *arguments)]


def main() -> None:
    """Harden a child as a harness does, probe in it, and reply with what was possible."""
    with open(os.environ["AZR_CHILD_FILTER"], "rb") as file:
        seccomp_program = file.read()
    hide()
    parent = int(sys.argv[1])
    output, reply = os.pipe()
    pid = clone(os.environ["AZR_NEW_PID"] == "1")
    if pid == 0:
        try:
            leave_parent(reply)
            harden(Limits(b"5 5 256 100 100"), seccomp_program)
            os.write(REPLY_DESCRIPTOR, protocol.encode([b"probed", *_probe(parent)]))
        finally:
            os._exit(0)
    os.close(reply)
    data = b""
    while chunk := os.read(output, 1 << 16):
        data += chunk
    os.waitpid(pid, 0)
    os.write(3, data or protocol.encode([b"the child could not be hardened"]))


main()
