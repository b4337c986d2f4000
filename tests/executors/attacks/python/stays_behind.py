# Tries to outlive its parent: no death signal, a session and a group of its own.
import ctypes
import os
import time

LIBC = ctypes.CDLL(None)


def f(x):
    LIBC.prctl(1, 0, 0, 0, 0)
    LIBC.prctl(4, 1, 0, 0, 0)
    LIBC.prctl(36, 1, 0, 0, 0)
    for action in (os.setsid, os.setpgrp):
        try:
            action()
        except OSError:
            pass
    time.sleep(100)
