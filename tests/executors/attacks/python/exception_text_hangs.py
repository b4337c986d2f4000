class E(Exception):
    def __str__(self):
        while True: pass
def f(x):
    raise E()
