"""Python's part of test_conformance.py."""

from executors import Status

SAMPLE = 2

VALUES = """
def f(name):
    return {
        "arithmetic": [7 // 2, -7 // 2, -7 % 3, 2 ** 10, 1 / 4, 0.1 + 0.2, 5e-324],
        "boolean": [True, False, 1 < 2],
        "nothing": None,
        "empty": ["", [], (), {}, set(), b""],
        "unicode": "é😀\\u202e\\t\\n\\"'",
        "nul": "a\\0b",
        "invalid_utf8": b"a\\xff",
        "nan": float("nan"),
        "negative_zero": -0.0,
        "infinity": [float("inf"), -float("inf")],
        "1e22": 1e22,
        "big_integer": -(7 ** 40),
        "nested": [(1, [2.0, {"a": (3,)}]), {"b": {"c": [None]}}],
        "set": {3, 1, 2} | {"b", "a"},
        "hash": {"z": 1, "a": 2, 3: 4},
    }[name]
"""
CASES = {
    "arithmetic": "[3, -4, 2, 1024, 0.25, 0.30000000000000004, 5e-324]",
    "boolean": "[True, False, True]",
    "nothing": "None",
    "empty": "['', [], (), {}, set(), b'']",
    "unicode": "'é😀\\u202e\\t\\n\"\\''",
    "nul": "'a\\x00b'",
    "invalid_utf8": "b'a\\xff'",
    "nan": "float('nan')",
    "negative_zero": "-0.0",
    "infinity": "[float('inf'), float('-inf')]",
    "1e22": "1e+22",
    "big_integer": "-6366805760909027985741435139224001",
    "nested": "[(1, [2.0, {'a': (3,)}]), {'b': {'c': [None]}}]",
    "set": "{'a', 'b', 1, 2, 3}",
    "hash": "{'a': 2, 'z': 1, 3: 4}",
}
CASES = {name: (VALUES, repr(name), value) for name, value in CASES.items()}
ABSENT: dict[str, str] = {}

DISTINCT = ("1", "1.0", "True", "'1'", "b'1'", "(1,)", "[1]", "{1}", "frozenset({1})", "complex(1, 0)", "0.0", "-0.0",
            "0", "False", "None", "'None'", "''", "()", "{}", "set()")  # fmt: skip
SAME = (("[1,2]", "[ 1, 2 ]"), ("{2, 1}", "{1, 2}"), ("{'b': 1, 'a': 2}", '{"a": 2, "b": 1}'), ("1e1", "10.0"),
        ("nan", "float('nan')"), ("0x10", "16"))  # fmt: skip
NOT_VALUES = ("1) or True #", "1 or 2", "x", "print(1)", "[x for x in [1]]", "lambda: 1", "__import__('os')", "1;2", "",
              "f'{1}'", "1 +", "(" * 300)  # fmt: skip

ERRORS = {
    "syntax": ("def f(x:\n  return 1", "0", Status.SYNTAX_ERROR),
    "raised": ("def f(x):\n    raise KeyError('k')", "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("1 / 0\ndef f(x):\n    return 1", "0", Status.RUNTIME_ERROR),
    "unbound": ("def f(x):\n    return y", "0", Status.RUNTIME_ERROR),
    "no_f": ("g = 1", "0", Status.RUNTIME_ERROR),
    "exit": ("def f(x):\n    exit(3)", "0", Status.EXIT),
    "deep_recursion": ("def f(x):\n    return f(x) + 1", "0", Status.RUNTIME_ERROR),
    "endless": ("def f(x):\n    while True: pass", "0", Status.TIMEOUT),
    "asleep": ("import time\ndef f(x):\n    time.sleep(60)", "0", Status.TIMEOUT),
    "memory": ("def f(x):\n    return [0] * (1 << 34)", "0", Status.MEMORY),
    "too_long": ("def f(x):\n    return 'x' * 5000", "0", Status.OUTPUT_LIMIT),
    "function": ("def f(x):\n    return f", "0", Status.UNSERIALISABLE),
    "cycle": ("def f(x):\n    a = []\n    a.append(a)\n    return a", "0", Status.UNSERIALISABLE),
}

# Programs that would be anything; the value that they are compared with.
LIARS = (
    ("class E:\n  __eq__ = lambda s, o: True\n  __repr__ = lambda s: '42'\n  __hash__ = lambda s: 1\n"
     "def f(x):\n  return E()", "0", "42"),
    ("class E(int):\n  __eq__ = lambda s, o: True\n  __repr__ = lambda s: '42'\ndef f(x):\n  return E(7)", "0", "42"),
    ("import builtins\nbuiltins.repr = builtins.str = lambda o: '42'\ndef f(x):\n  return 7", "0", "42"),
    ("def f(x):\n  return '42'", "0", "42"),
    ("def f(x):\n  return 42.0", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("import random\ndef f(x):\n    return random.random()", "0"),
    ("def f(x):\n    return list({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})", "0"),
    # The date, in UTC and here.
    ("import datetime\ndef f(x):\n    return datetime.datetime.utcnow().date()", "0"),
    ("import datetime\ndef f(x):\n    return datetime.date.today().day", "0"),
    ("import time\ndef f(x):\n    return time.gmtime().tm_wday", "0"),
)
DETERMINISTIC = (("def f(x):\n    return {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}", "0"),)

PROGRAMS = (
    ("def f(x):\n    return g(x)\ndef g(x):\n    return x + 1", "2"),
    ("f = lambda x: h(x)\nh = lambda x: x * 3", "2"),
    ("def f(x):\n    return later\nlater = x = 5", "2"),
    ("y = late()\ndef late(): return 1\ndef f(x): return y", "2"),
    ("def f(x):\n    return __name__", "0"),
    ("def f(x):\n    return 1\ndef f(x):\n    return 2", "0"),
    ("from __future__ import annotations\ndef f(x: nothing):\n    return f.__annotations__", "1"),
    ("import dataclasses\n@dataclasses.dataclass\nclass P:\n  x: int\ndef f(x):\n    return str(P(x))", "3"),
    ("count = 0\ndef f(x):\n    global count\n    count += x\n    return count", "4"),
    ("def f(x):\n    count += 1\ncount = 0", "4"),
    ("import sys\ndef f(x):\n    return sys.modules['__main__'].f is f", "0"),
    ("if __name__ == '__main__':\n    K = 'main'\nelse:\n    K = 'module'\ndef f(x):\n    return K", "0"),
    ("def f(x):\r\n    return 'crlf'\r\n", "0"),
    ("# -*- coding: latin-1 -*-\ndef f(x):\n    return 'a'", "0"),
    ("def f(x, *rest, k=2, **more):\n    return (x, rest, k, more)", "1"),
    ("def f(x):\n    x.append(4)\n    return x", "[1, 2]"),
    ("def f(x, seen=[]):\n    seen.append(x)\n    return seen", "1"),
    ("class A:\n    n = 0\n    def __init__(self):\n        A.n += 1\ndef f(x):\n    A(); A()\n    return A.n", "0"),
    ("def g():\n    try:\n        yield 1\n    finally:\n        yield 2\ndef f(x):\n    return list(g())", "0"),
    ("def f(x):\n    try:\n        return 1 // x\n    except ZeroDivisionError as e:\n        return str(e)", "0"),
    ("def f(x):\n    try:\n        return 'try'\n    finally:\n        return 'finally'", "0"),
    ("def f(x):\n    return [i * j for i in range(x) for j in range(i) if (i + j) % 2]", "5"),
    ("def f(x):\n    match x:\n        case {'a': [y, *_]}:\n            return y\n    return 0", "{'a': [7, 8]}"),
    ("import re\ndef f(x):\n    return re.findall(r'(\\w)(\\d)', x)", "'a1 b2'"),
    ("import json\ndef f(x):\n    return json.loads(json.dumps(x))", "{'a': [1, 2.5, None, True]}"),
    ("import collections\ndef f(x):\n    return dict(collections.Counter(x))", "'hello'"),
    ("import itertools, functools\ndef f(x):\n    return functools.reduce(lambda a, b: a * b, itertools.islice("
     "itertools.count(1), x))", "25"),
    ("import math\ndef f(x):\n    return (math.sqrt(x), math.pi, math.inf, -math.inf, math.nan)", "2"),
    ("from decimal import Decimal\ndef f(x):\n    return str(Decimal(x) / 3)", "'1.5'"),
    ("def f(x):\n    return (x.upper(), x[::-1], len(x), x.encode())", "'é😀'"),
    ("def f(x):\n    return f'{x:>8.3f}|{x!r:<6}|{x:e}'", "3.14159"),
    ("def f(x):\n    return sorted(x, key=lambda p: (-p[1], p[0]))", "[('a', 1), ('b', 2), ('c', 2)]"),
    ("def f(x):\n    a, *b = x\n    return {a: b}", "(1, 2, 3)"),
    ("def f(x):\n    return (x << 70) ^ -x", "12345"),
    ("def f(x):\n    return round(x, 1), round(x), int(x), divmod(x, 1)", "2.5"),
    ("def f(x):\n    print('noise', x)\n    return {x, x + 1}", "1"),
    ("def d(g):\n    return lambda x: g(x) * 2\n@d\ndef f(x):\n    return x + 1", "4"),
    ("def f(x):\n    def inner():\n        nonlocal x\n        x += 1\n    inner()\n    return x", "1"),
    ("exec('def f(x): return x + 100')", "1"),
    ("def f(x):\n    return (lambda: (yield))().__class__.__name__", "1"),
    ("async def g():\n    return 5\nimport asyncio\ndef f(x):\n    c = g()\n    try:\n        c.send(None)\n"
     "    except StopIteration as e:\n        return e.value", "1"),
    ("def f(x):\n    return x.missing", "1"),
    ("def f(x):\n    return [1, 2][x]", "5"),
    ("def f(x):\n    raise ValueError('bad ' + x)", "'one'"),
    ("class MyError(Exception):\n    pass\ndef f(x):\n    raise MyError(x)", "1"),
    ("def f(x):\n    assert x > 1, 'small'", "1"),
    ("import numpy_is_not_here", "1"),
    ("def f():\n    return 1", "1"),
    ("def f(x):\nreturn 1", "1"),
    ("def f(x):\n    return (1", "1"),
    ("def f(x):\n\tif x:\n        return 1", "1"),
    ("raise SystemExit(3)", "1"),
)  # fmt: skip


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    return f"{source}\nprint('value:' + ascii(f({text})))\n"


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    return verdict.error_kind in stderr and verdict.message.split("\n")[0].split(" (program.py")[0] in stderr
