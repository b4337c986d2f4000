class S(str):
    def __getitem__(self, i): return "x" * 10**8
    def encode(self, *a): return b"x" * 10**8
class E(Exception):
    def __str__(self): return S("a")
def f(x):
    raise E()
