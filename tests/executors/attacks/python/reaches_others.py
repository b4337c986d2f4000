# Without naming a signal or a file to write: priorities, cores, a descriptor's owner, modes of files that are read only.
import ctypes
import fcntl
import os

LIBC = ctypes.CDLL(None, use_errno=True)


def f(x):
    possible = []

    def attempt(name, action, *arguments):
        try:
            result = action(*arguments)
        except OSError:
            return
        if not (isinstance(result, int) and result < 0):
            possible.append(name)

    read, write = os.pipe()
    for name in (os.__file__, "/proc/self/maps", "/dev/null"):
        file = os.open(name, os.O_RDONLY)
        attempt("fchmod " + name, os.fchmod, file, 0o777)
        attempt("fchown " + name, os.fchown, file, os.getuid(), os.getgid())
        attempt("utime " + name, os.utime, file)
        attempt("flags " + name, fcntl.ioctl, file, 0x40086602, bytes(8))
    for pid in (1, 2, os.getpid(), os.getppid(), -1):
        attempt("own", fcntl.fcntl, read, fcntl.F_SETOWN, pid)
        attempt("nice", os.setpriority, os.PRIO_PROCESS, pid, 19)
        attempt("cores", os.sched_setaffinity, pid, [0])
        attempt("idle", LIBC.sched_setscheduler, pid, 5, ctypes.byref(ctypes.c_int(0)))
    attempt("nice all", os.setpriority, os.PRIO_USER, os.getuid(), 19)
    attempt("signal", fcntl.fcntl, read, 10, 9)
    attempt("pipe", fcntl.fcntl, write, 1031, 1 << 20)
    attempt("aio", LIBC.syscall, 206, 65536, ctypes.byref(ctypes.c_long(0)))
    return possible
