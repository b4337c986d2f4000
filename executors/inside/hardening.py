"""How a Python process inside the sandbox contains its child further: the steps that language.py lists.

Used by the Python harness and by the probe; imports only the standard library, because it runs inside.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import signal
import time

_CLONE_NUMBER = {"x86_64": 56, "aarch64": 220}
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 4, 22, 2
_PR_GET_TID_ADDRESS = 40
_CAPABILITY_VERSION_3 = 0x20080522
REPLY_DESCRIPTOR = 4


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


# PyDLL keeps the interpreter's lock: nothing may run between clone and the child's repair of the interpreter.
LIBC = ctypes.PyDLL(None, use_errno=True)
LIBC.syscall.argtypes = (ctypes.c_long,) * 6
LIBC.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


class Limits:
    """The limits field of a request."""

    def __init__(self, field: bytes) -> None:
        wall_s, cpu_s, memory_mib, value_chars, message_chars = field.decode().split()
        self.wall_s, self.cpu_s = float(wall_s), float(cpu_s)
        self.memory_mib, self.value_chars, self.message_chars = int(memory_mib), int(value_chars), int(message_chars)


def clone(new_pid: bool) -> int:
    """Fork, with `new_pid` into a new PID namespace; returns 0 in the child. Raises OSError."""
    flags = signal.SIGCHLD | (_CLONE_NEWPID if new_pid else 0)
    # Where the C library keeps the thread's number: with the parent's, a lock of this thread would open to another.
    number = ctypes.POINTER(ctypes.c_int)()
    LIBC.prctl(_PR_GET_TID_ADDRESS, ctypes.addressof(number), 0, 0, 0)
    known = bool(number) and number[0] == os.getpid()
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = LIBC.syscall(_CLONE_NUMBER[platform.machine()], flags, 0, 0, 0, 0)
    if pid == 0:
        if known:
            number[0] = os.getpid()
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return pid


def hide() -> None:
    """Make this process's memory and descriptors unreadable for its children."""
    LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def leave_parent(reply: int) -> None:
    """Step 1: a new session, death with the parent, /dev/null on 0 to 3 and only `reply` as REPLY_DESCRIPTOR."""
    detach()
    close_descriptors(reply)


def detach() -> None:
    """Start a new session, and die with the parent."""
    os.setsid()
    LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def close_descriptors(reply: int) -> None:
    """Leave /dev/null on descriptors 0 to 3 and `reply` as REPLY_DESCRIPTOR."""
    os.dup2(reply, REPLY_DESCRIPTOR)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(4):
        os.dup2(null, descriptor)
    os.closerange(REPLY_DESCRIPTOR + 1, 4096)


def harden(limits: Limits, seccomp_program: bytes) -> None:
    """Steps 2 to 4 of language.py: address space, CPU time, capabilities, seccomp. Raises OSError."""
    with open("/proc/self/statm") as file:
        size_bytes = int(file.read().split()[0]) * resource.getpagesize()
    harden_to(size_bytes + (limits.memory_mib << 20), limits.cpu_s, seccomp_program)


def harden_to(space_bytes: int, cpu_s: float, seccomp_program: bytes) -> None:
    """As `harden`, for a process that then execs another interpreter: `space_bytes` limits all. Raises OSError."""
    resource.setrlimit(resource.RLIMIT_AS, (space_bytes, space_bytes))
    # Memory files that it was given stay unchanged.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    used_s = time.process_time()
    cpu_s = math.ceil(used_s + cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if LIBC.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")
    program = _Program(len(seccomp_program) // 8, seccomp_program)
    if LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")
