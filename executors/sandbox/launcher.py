"""Starts one process without namespaces: uid, Landlock, seccomp. start.py runs it as a script.

The argument is a JSON object: argv; read_only, the paths to be read; writable, a folder or ""; landlock, whether to use
it; filter, the descriptor of the seccomp program. Imports nothing of this package: it runs isolated.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import stat
import struct
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEVICE = 1, 2, 4, 8, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3
_NOBODY = 65534
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)
_LIBC.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def _handled(abi: int) -> int:
    bits = 13 + (abi >= 2) + (abi >= 3) + (abi >= 5)
    return (1 << bits) - 1


def _restrict_files(read_only: list[str], writable: str) -> None:
    """Landlock: read the system and `read_only`, write `writable` and the harmless devices. Raises OSError."""
    abi = _check(_LIBC.syscall(_CREATE_RULESET, None, 0, 1, 0), "Landlock is not there")
    handled = _handled(abi)
    attributes = struct.pack("=QQQ", handled, 0, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _check(_LIBC.syscall(_CREATE_RULESET, attributes, size, 0, 0), "landlock_create_ruleset")
    read = _EXECUTE | _READ_FILE | _READ_DIR
    for path in (*_SYSTEM, "/proc", *read_only):
        _allow(ruleset, path, read & handled)
    for path in _DEVICES:
        _allow(ruleset, path, (_READ_FILE | _WRITE_FILE) & handled)
    if writable:
        _allow(ruleset, writable, handled)
    _check(_LIBC.syscall(_RESTRICT_SELF, ruleset, 0, 0, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        access &= _OF_FILES
    rule = struct.pack("=Qi", access, descriptor)
    _check(_LIBC.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
    os.close(descriptor)


def _open_to_all(path: str) -> bool:
    """Whether an unprivileged user can read the file, or enter the folder, `path`."""
    if not os.path.isdir(path):
        if not os.stat(path).st_mode & 0o004:
            return False
        path = os.path.dirname(path)
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
        path = os.path.dirname(path)
    return True


def _drop_rights(paths: list[str], writable: str) -> None:
    """Drop capabilities; and a root that may change users becomes nobody if that user can reach `paths`."""
    # The writable folder is among them; it is closed to all others, and nobody becomes its owner.
    reached = [os.path.dirname(path) if path == writable else path for path in paths]
    if os.geteuid() == 0 and all(_open_to_all(path) for path in reached if os.path.exists(path)):
        with contextlib.suppress(PermissionError):
            # The groups first: a root that may not change them keeps its user and the folder's owner.
            os.setgroups([])
            if writable:
                for path in (writable, *(os.path.join(writable, name) for name in os.listdir(writable))):
                    os.chown(path, _NOBODY, _NOBODY)
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _check(_LIBC.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def main() -> None:
    """Do what the argument says and become the process."""
    plan = json.loads(sys.argv[1])
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    program = os.read(plan["filter"], 1 << 16)
    os.close(plan["filter"])
    _drop_rights(plan["read_only"], plan["writable"])
    # A change of user clears the death signal.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if plan["landlock"]:
        _restrict_files(plan["read_only"], plan["writable"])
    if plan["writable"]:
        os.chdir(plan["writable"])
    buffer = ctypes.create_string_buffer(program)
    filter_program = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    address = ctypes.cast(ctypes.c_char_p(filter_program), ctypes.c_void_p).value or 0
    _check(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0), "seccomp")
    os.execv(plan["argv"][0], plan["argv"])


if __name__ == "__main__":
    main()
