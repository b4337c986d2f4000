class M(type):
    @property
    def __name__(cls):
        while True: pass
class E(Exception, metaclass=M): pass
def f(x):
    raise E()
