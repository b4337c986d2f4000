import sys, threading
def hook(*a):
    while True: pass
def f(x):
    sys.setprofile(hook)
    return 7
