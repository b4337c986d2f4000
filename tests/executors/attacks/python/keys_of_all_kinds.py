def f(x):
    nan = float("nan")
    return [
        {1: "a", True: "b"}, {True: 1}, {1.0: 2}, {0.0}, {-0.0: 1}, (0.0, -0.0), {nan: 1}, {(1, True): {2.0, 3}},
        {"\ud800": "\udfff"}, {b"\xff": b""}, {frozenset({1}): frozenset()}, {None: ...}.keys() == {None},
    ]
