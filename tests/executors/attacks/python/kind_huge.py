class Base(Exception):
    pass


def f(x):
    name = "\ud800" + "A" * (1 << 22)
    raise type(name, (Base,), {"__module__": name})("message" * (1 << 20))
