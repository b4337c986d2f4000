def f(x):
    a = {"k": 1}
    for _ in range(64): a = {"l": a, "r": a}
    return a
