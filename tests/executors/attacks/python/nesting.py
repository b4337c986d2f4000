def f(x):
    a = ()
    for _ in range(10 ** 6): a = (a,)
    return a
