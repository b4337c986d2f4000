# Handlers that never return, for every signal, and timers that send them.
import signal
import time


def handler(*_):
    while True:
        pass


def f(x):
    for number in range(1, 65):
        try:
            signal.signal(number, handler)
        except (OSError, ValueError):
            pass
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0.01, 0.01)
    time.sleep(100)
    return 7
