import os, sys
def f(x):
    os.execv(sys.executable, [sys.executable, "-c", "print(1)"])
