def f(x):
    return repr(object())
