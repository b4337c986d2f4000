# A trace function on the frames that are below f: it rewrites their locals as they go on.
import sys


def tracer(frame, event, argument):
    for name in list(frame.f_locals):
        frame.f_locals[name] = [b"ok", b"", b"", b"object"]
    return tracer


def f(x):
    frame = sys._getframe(1)
    while frame is not None:
        frame.f_trace = tracer
        frame = frame.f_back
    sys.settrace(tracer)
    return 7
