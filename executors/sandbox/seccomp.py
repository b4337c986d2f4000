"""Seccomp programs as bytes, assembled here: no compiler and no libseccomp needed.

A program is a search tree over the numbers of system calls: the kernel runs it for every number when it is installed,
which for one chain of comparisons took 0.2 ms per evaluated program.

Three programs, each stricter than the one before: `worker_filter` for a serving harness (which must start children in
new PID namespaces), `single_filter` for a process that runs one program (no child processes), `child_filter` for the
process that runs untrusted code (no exec, nothing opened for writing). Numbers are those of Linux on x86-64 and arm64.
"""

from __future__ import annotations

import errno
import functools
import platform
import struct
from collections.abc import Sequence

# AUDIT_ARCH of the supported machines.
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LD_ABS, _JA, _JEQ, _JGE, _JSET, _RET, _AND = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06, 0x54

CLONE_THREAD = 0x00010000
CLONE_NEWPID = 0x20000000
_CLONE_NEWNS = 0x00020000
_CLONE_NEWTIME = 0x00000080
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWNET
_OTHER_NAMESPACES = _CLONE_NEWNS | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x40000000
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, and the bit that O_TMPFILE adds to O_DIRECTORY
_OPEN_WRITE = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000
_TIOCSTI, _TIOCLINUX, _TIOCSCTTY, _TIOCSETD = 0x5412, 0x541C, 0x540E, 0x5423
# What runtimes ask of descriptors: TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Others change
# flags of the user's own files (FS_IOC_SETFLAGS) and who gets a signal.
_CHILD_IOCTLS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# F_SETOWN, F_SETSIG and F_SETOWN_EX make any descriptor send any signal to any process of the user; F_NOTIFY watches
# others' writers; F_SETPIPE_SZ takes kernel memory.
_DENIED_FCNTLS = (8, 10, 15, 1026, 1031)
# State that the kernel keeps for the machine's files and other processes see: locks (F_GETLK, F_SETLK, F_SETLKW, the
# three of open file descriptions), leases, and hints of the lifetime of written data, which outlast the process.
_SHARED_FCNTLS = (5, 6, 7, 36, 37, 38, 1024, 1036, 1038)
_PR_SET_PDEATHSIG, _RLIMIT_CPU = 1, 0
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPES = 1, 1, 0xF
# The exit code with which bubblewrap and shells report that SIGKILL ended a process.
_KILLED = 128 + 9
# The numbers agree on all architectures from here on; newer kernels add only numbers above this one, and those of x32
# are above it too.
_FIRST_NEW = 424

# name: (x86-64, arm64)
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "open": (2, None), "ioctl": (16, 29), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "sendto": (44, 206), "sendmsg": (46, 211),
    "bind": (49, 200), "listen": (50, 201), "socketpair": (53, 199), "clone": (56, 220), "fork": (57, None),
    "vfork": (58, None), "execve": (59, 221), "kill": (62, 129), "semget": (64, 190), "semop": (65, 193),
    "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "truncate": (76, 45), "rename": (82, None), "mkdir": (83, None), "rmdir": (84, None), "creat": (85, None),
    "link": (86, None), "unlink": (87, None), "symlink": (88, None), "chmod": (90, None), "chown": (92, None),
    "lchown": (94, None), "ptrace": (101, 117), "syslog": (103, 116), "rt_sigqueueinfo": (129, 138),
    "utime": (132, None), "mknod": (133, None), "uselib": (134, None), "personality": (135, 92),
    "vhangup": (153, 58), "modify_ldt": (154, None), "pivot_root": (155, 41), "_sysctl": (156, None),
    "prctl": (157, 167), "adjtimex": (159, 171), "setrlimit": (160, 164), "chroot": (161, 51), "sync": (162, 81),
    "acct": (163, 89), "settimeofday": (164, 170), "mount": (165, 40), "umount2": (166, 39), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161), "setdomainname": (171, 162),
    "iopl": (172, None), "ioperm": (173, None), "create_module": (174, None), "init_module": (175, 105),
    "delete_module": (176, 106), "quotactl": (179, 60), "nfsservctl": (180, 42), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "tkill": (200, 130), "lookup_dcookie": (212, 18),
    "semtimedop": (220, 192), "clock_settime": (227, 112), "tgkill": (234, 131), "utimes": (235, None),
    "mbind": (237, 235), "mq_open": (240, 180), "mq_unlink": (241, 181), "kexec_load": (246, 104),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "ioprio_set": (251, 30),
    "inotify_init": (253, None), "migrate_pages": (256, 238), "openat": (257, 56), "mkdirat": (258, 34),
    "mknodat": (259, 33), "fchownat": (260, 54), "futimesat": (261, None), "unlinkat": (263, 35),
    "renameat": (264, 38), "linkat": (265, 37), "symlinkat": (266, 36), "fchmodat": (268, 53), "unshare": (272, 97),
    "vmsplice": (278, 75), "move_pages": (279, 239), "utimensat": (280, 88), "accept4": (288, 242),
    "inotify_init1": (294, 26), "rt_tgsigqueueinfo": (297, 240), "perf_event_open": (298, 241),
    "fanotify_init": (300, 262), "prlimit64": (302, 261), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "clock_adjtime": (305, 266), "syncfs": (306, 267), "sendmmsg": (307, 269),
    "setns": (308, 268), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "finit_module": (313, 273), "renameat2": (316, 276), "memfd_create": (319, 279), "kexec_file_load": (320, 294),
    "bpf": (321, 280), "execveat": (322, 281), "userfaultfd": (323, 282), "pkey_mprotect": (329, 288),
    "fchmod": (91, 52), "fchown": (93, 55), "fcntl": (72, 25), "setpriority": (141, 140),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "io_setup": (206, 0), "exit": (60, 93), "exit_group": (231, 94), "timer_create": (222, 107),
    "mq_notify": (244, 184), "setsockopt": (54, 208), "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83),
    "msync": (26, 227), "sync_file_range": (277, 84), "fadvise64": (221, 223), "readahead": (187, 213),
}  # fmt: skip

_ALWAYS_DENIED = (
    "socket connect accept accept4 sendmsg sendmmsg bind listen setsockopt ptrace syslog uselib personality "
    "vhangup modify_ldt pivot_root _sysctl adjtimex chroot acct settimeofday mount umount2 swapon swapoff reboot "
    "sethostname setdomainname iopl ioperm create_module init_module delete_module quotactl nfsservctl lookup_dcookie "
    "clock_settime mbind migrate_pages move_pages kexec_load add_key request_key keyctl mknod mknodat unshare vmsplice "
    "perf_event_open fanotify_init name_to_handle_at open_by_handle_at clock_adjtime setns process_vm_readv "
    "process_vm_writev kcmp finit_module kexec_file_load bpf userfaultfd"
).split()
# What one process of a user may do to another of the same user: signals, and its share of the processor.
_SIGNALS = "kill tkill rt_sigqueueinfo rt_tgsigqueueinfo".split()
# How a process ends itself by SIGKILL, which PID 1 of a namespace ignores: it must not look like a kill from outside.
_OWN_SIGNALS = "tgkill timer_create mq_notify".split()
_PRIORITIES = "setpriority sched_setparam sched_setscheduler sched_setaffinity sched_setattr ioprio_set".split()
# A flush of a file opened for reading makes the disk work: refused if nothing can be opened for writing.
_FLUSHES = "fsync fdatasync sync_file_range syncfs".split()
# Otherwise flushes succeed without effect, for whole programs that save files, which do not outlive the program. So do
# flushes that can't fail or are of the program's memory, and advice, since data dropped from the cache is read again.
_WITHOUT_EFFECT = [*_FLUSHES, *"sync msync fadvise64 readahead".split()]
# What outlives the process that makes it, where others can find it: System V IPC and POSIX queues.
_LASTING = "shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink".split()
_CHILD_DENIED = "execve execveat fork vfork memfd_create setrlimit inotify_init inotify_init1 io_setup".split()
# Changes of a file's metadata, without opening it for writing: its owner may, and Landlock does not cover them.
_OF_OWNERS = (
    "chmod fchmod fchmodat chown lchown fchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr "
    "removexattr lremovexattr fremovexattr"
).split()
_MAKE_FOLDERS = "mkdir mkdirat".split()
_CHANGES_OF_FOLDERS = (
    "truncate rename renameat renameat2 rmdir creat link linkat unlink unlinkat symlink symlinkat"
).split()
# close_range, faccessat2, epoll_pwait2, futex_waitv: harmless and used by current C libraries.
_NEW_ALLOWED = (436, 439, 441, 449)


_Instruction = tuple[int, int, int, int]
_Code = tuple[_Instruction, ...]


def _load_argument(index: int, high: bool = False) -> _Instruction:
    # The data are in the machine's byte order; both supported architectures are little-endian.
    return (_LD_ABS, 0, 0, 16 + 8 * index + (4 if high else 0))


def _return(action: int) -> _Instruction:
    return (_RET, 0, 0, action)


def _by_value(argument: int, test: int, values: Sequence[int], when: int, otherwise: int) -> _Code:
    """`when` if `test` (JEQ or JSET) of the low word of `argument` holds for one of `values`, else `otherwise`."""
    tests = [(test, len(values) - index, 0, value) for index, value in enumerate(values)]
    return (_load_argument(argument), *tests, _return(otherwise), _return(when))


def _unless_zero(argument: int, action: int) -> _Code:
    """`action` if the 64-bit `argument` is not zero."""
    high = _load_argument(argument, high=True)
    return (_load_argument(argument), (_JEQ, 0, 3, 0), high, (_JEQ, 0, 1, 0), _return(_ALLOW), _return(action))


def _error(number: int) -> int:
    return _ERRNO | number


class Rules:
    """The action for each system call of a machine. A call without a rule is allowed; its first rule holds."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._rules: dict[int, _Code] = {}
        self._from_new: _Code = (_return(_ALLOW),)

    def add(self, name: str, code: _Code) -> None:
        """Add `code` for the call `name`, if the machine has it."""
        number = _NUMBERS[name][0 if self._machine == "x86_64" else 1]
        if number is not None:
            self._rules.setdefault(number, code)

    def deny(self, names: Sequence[str], error: int) -> None:
        """Return `error` for the calls `names`."""
        for name in names:
            self.add(name, (_return(_error(error)),))

    def deny_new(self, allowed: Sequence[int]) -> None:
        """Return ENOSYS for every call from _FIRST_NEW on except `allowed`: this module does not know them."""
        self._from_new = (_return(_error(errno.ENOSYS)),)
        for number in allowed:
            self._rules.setdefault(number, (_return(_ALLOW),))

    def assemble(self) -> bytes:
        """The program, `struct sock_filter[]`; system calls of another machine end the process."""
        allow = (_return(_ALLOW),)
        borders = {0: allow, _FIRST_NEW: self._from_new}
        for number, code in sorted(self._rules.items()):
            borders[number] = code
            after = self._from_new if number + 1 >= _FIRST_NEW else allow
            borders.setdefault(number + 1, after)
        for number, code in self._rules.items():
            borders[number] = code
        ranges: list[tuple[int, _Code]] = []
        for number, code in sorted(borders.items()):
            if not ranges or ranges[-1][1] != code:
                ranges.append((number, code))
        start = ((_LD_ABS, 0, 0, 4), (_JEQ, 1, 0, MACHINES[self._machine]), _return(_KILL_PROCESS), (_LD_ABS, 0, 0, 0))
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in (*start, *_search(ranges)))


def _search(ranges: Sequence[tuple[int, _Code]]) -> _Code:
    """Code that goes to the range which holds the loaded number; `ranges` are (first number, code), in order."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    lower, upper = _search(ranges[:middle]), _search(ranges[middle:])
    border = ranges[middle][0]
    if len(lower) < 256:
        return ((_JGE, len(lower), 0, border), *lower, *upper)
    # A conditional jump reaches 255 instructions.
    return ((_JGE, 0, 1, border), (_JA, 0, 0, len(lower)), *lower, *upper)


def _machine() -> str:
    machine = platform.machine()
    if machine not in MACHINES:
        raise ValueError(f"no seccomp program for machine {machine!r}: run on x86_64 or aarch64")
    return machine


def _finish(rules: Rules) -> bytes:
    """`rules` with those that hold for every contained process: no locks, flushes that do nothing, ..."""
    rules.deny(_ALWAYS_DENIED, errno.EPERM)
    rules.deny(["flock"], errno.ENOLCK)
    rules.add("fcntl", _by_value(1, _JEQ, _SHARED_FCNTLS, _error(errno.ENOLCK), _ALLOW))
    rules.deny(_WITHOUT_EFFECT, 0)
    # Event loops (asyncio's) wake themselves through a connected pair, which reaches nobody else.
    family = (_load_argument(0), (_JEQ, 0, 4, _AF_UNIX))
    stream = (_load_argument(1), (_AND, 0, 0, _SOCK_TYPES), (_JEQ, 0, 1, _SOCK_STREAM))
    rules.add("socketpair", (*family, *stream, _return(_ALLOW), _return(_error(errno.EPERM))))
    rules.add("sendto", _unless_zero(4, _error(errno.EPERM)))
    terminal = (_TIOCSTI, _TIOCLINUX, _TIOCSCTTY, _TIOCSETD)
    rules.add("ioctl", _by_value(1, _JEQ, terminal, _error(errno.EPERM), _ALLOW))
    # io_uring, clone3, openat2, pidfd and mount descriptors, and whatever comes later.
    rules.deny_new(_NEW_ALLOWED)
    return rules.assemble()


@functools.cache
def worker_filter(forks: bool = False) -> bytes:
    """For a serving harness: no sockets, tracing, mounts, keys; new PID namespaces are the only ones allowed.

    With `forks` (fork_server.c) mount namespaces and mounts are too: its children get folders of their own, and clocks.
    """
    rules = Rules(_machine())
    others = _OTHER_NAMESPACES & ~_CLONE_NEWNS if forks else _OTHER_NAMESPACES
    rules.add("clone", _by_value(0, _JSET, (others,), _error(errno.EPERM), _ALLOW))
    if forks:
        for name in ("mount", "umount2"):
            rules.add(name, (_return(_ALLOW),))
        for name, argument in (("unshare", 0), ("setns", 1)):
            rules.add(name, _by_value(argument, _JEQ, (_CLONE_NEWTIME,), _ALLOW, _error(errno.EPERM)))
    return _finish(rules)


@functools.cache
def single_filter(namespaces: bool = True, read_only: bool = False, program: bool = False) -> bytes:
    """For a process that runs one program: as `worker_filter`, and no child processes (threads are allowed).

    Exiting with the code that stands for a kill from outside is a crash: no program can blame the pool for its end.
    For the same reason a whole `program` can't set its limit on processor time (a harness sets it).
    No change of a file's metadata: the devices that it sees are the machine's, and root's if root starts it.
    Without `namespaces` it shares the machine with all processes of its user: no signals, no priorities. With
    `read_only` nothing is opened for writing either; mkdir succeeds without effect, for interpreters that insist on a
    temporary folder.
    """
    rules = Rules(_machine())
    low_byte = (_load_argument(0), (_AND, 0, 0, 0xFF))
    for name in ("exit", "exit_group"):
        rules.add(name, (*low_byte, (_JEQ, 0, 1, _KILLED), _return(_KILL_PROCESS), _return(_ALLOW)))
    _deny_children(rules)
    rules.deny([*_OF_OWNERS, *_LASTING], errno.EPERM)
    if not namespaces:
        _deny_others(rules)
        rules.deny(_OWN_SIGNALS, errno.EPERM)
    if program:
        rules.add("setrlimit", _by_value(0, _JEQ, (_RLIMIT_CPU,), _error(errno.EPERM), _ALLOW))
        of_cpu = (_load_argument(1), (_JEQ, 1, 0, _RLIMIT_CPU), _return(_ALLOW))
        rules.add("prlimit64", (*of_cpu, *_unless_zero(2, _error(errno.EPERM))))
    if read_only:
        rules.deny(_MAKE_FOLDERS, 0)
        _deny_writing(rules)
    return _finish(rules)


@functools.cache
def child_filter(namespaces: bool = True, threads: bool = True) -> bytes:
    """For the process that runs untrusted code: as `single_filter`, no exec, nothing opened for writing.

    Without `namespaces` (no own PID namespace) no signal at all, tgkill and timers' included. Without
    `threads` no new thread: threads are bounded only by the task limit, and their scheduling is nondeterministic.
    """
    rules = Rules(_machine())
    if not threads:
        rules.deny(["clone"], errno.EAGAIN)
    if not namespaces:
        rules.deny(_OWN_SIGNALS, errno.EPERM)
    _deny_children(rules)
    _deny_others(rules)
    rules.deny([*_CHILD_DENIED, *_LASTING], errno.EPERM)
    rules.deny([*_OF_OWNERS, *_MAKE_FOLDERS], errno.EROFS)
    _deny_writing(rules)
    rules.add("ioctl", _by_value(1, _JEQ, _CHILD_IOCTLS, _ALLOW, _error(errno.ENOTTY)))
    rules.add("prctl", _by_value(0, _JEQ, (_PR_SET_PDEATHSIG,), _error(errno.EPERM), _ALLOW))
    rules.add("prlimit64", _unless_zero(2, _error(errno.EPERM)))
    return _finish(rules)


def _deny_children(rules: Rules) -> None:
    rules.deny(["fork", "vfork"], errno.EPERM)
    rules.add("clone", _by_value(0, _JSET, (CLONE_THREAD,), _ALLOW, _error(errno.EPERM)))


def _deny_others(rules: Rules) -> None:
    rules.deny([*_SIGNALS, *_PRIORITIES], errno.EPERM)
    rules.add("fcntl", _by_value(1, _JEQ, (*_DENIED_FCNTLS, *_SHARED_FCNTLS), _error(errno.EPERM), _ALLOW))


def _deny_writing(rules: Rules) -> None:
    rules.deny([*_CHANGES_OF_FOLDERS, *_FLUSHES], errno.EROFS)
    for name, argument in (("open", 1), ("openat", 2)):
        rules.add(name, _by_value(argument, _JSET, (_OPEN_WRITE,), _error(errno.EROFS), _ALLOW))
