import signal
def f(x):
    for s in (signal.SIGSTOP, signal.SIGTSTP):
        try: signal.raise_signal(s)
        except OSError: pass
    return "alive"
