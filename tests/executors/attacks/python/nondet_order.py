def f(x):
    return list({"a", "b", "c", "d", "e", "f"})
