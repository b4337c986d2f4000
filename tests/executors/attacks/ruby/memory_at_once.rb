def f(x) = ("x" * (1 << 40)).size
