# Destructors that call destructors, without a frame that the interpreter could count.
import sys


def f(x):
    sys.setrecursionlimit(1 << 30)
    chain = iter([1])
    for _ in range(1 << 18):
        chain = filter(bool, chain)
    del chain
    return 7
