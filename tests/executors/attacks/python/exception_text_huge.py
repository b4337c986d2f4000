class E(Exception):
    def __str__(self): return "\ud800\0" * 20_000_000
def f(x):
    raise E()
