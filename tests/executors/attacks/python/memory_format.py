def f(x):
    return "%0*d" % (1 << 33, 1)
