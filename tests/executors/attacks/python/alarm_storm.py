import signal
def strike(*a): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, strike)
def f(x):
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0001)
    return list(range(500))
