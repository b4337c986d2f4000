"""Python values and errors by kind, through a real pool; conformance/python.py has the module semantics."""

import re

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.languages.python import canonical_program

PYTHON = LANGUAGES["python"]

# text: canonical text
VALUES = {
    "1": "1",
    "True": "True",
    "1.0": "1.0",
    " [1,  2] ": "[1, 2]",
    "-0.0": "-0.0",
    "1e22": "1e+22",
    "inf": "float('inf')",
    "float('-inf')": "float('-inf')",
    "float('nan')": "float('nan')",
    "-float('nan')": "float('nan')",
    "1+2j": "complex(1.0, 2.0)",
    "complex(-0.0, float('nan'))": "complex(-0.0, float('nan'))",
    "()": "()",
    "(1,)": "(1,)",
    "{3, 1, 2}": "{1, 2, 3}",
    "set()": "set()",
    "frozenset([2, 1])": "frozenset({1, 2})",
    "frozenset()": "frozenset()",
    "{'b': 1, 'a': {}}": "{'a': {}, 'b': 1}",
    '"it\'s"': '"it\'s"',
    "'\\u00e9 \\x00 \\ud800'": "'é \\x00 \\ud800'",
    "b'\\xff'": "b'\\xff'",
    "None": "None",
    "2**0 if False else 1": None,
    "1) or True #": None,
    "__import__('os').getpid()": None,
    "[x for x in [1]]": None,
    "1 + 1": None,
    "f'{1}'": None,
    "...": None,
    "": None,
    "float('1')": None,
    "float('nan' * 2)": None,
    "{**{}}": None,
    "{[]}": None,
    "(" * 300: None,
    "[" * 120 + "]" * 120: None,
}


@pytest.fixture(scope="module")
def pool():
    with Pool("python", workers=1, limits=Limits(wall_s=3.0, cpu_s=3.0, memory_mib=256, value_chars=4096)) as opened:
        yield opened


def run(pool, source, *inputs, **options):
    return pool.submit(Job("job", JobKind.EVALUATE, source, inputs, **options)).result()


def test_values_canonical(pool):
    jobs = [Job(text, JobKind.VALUE, inputs=(text,)) for text in VALUES]
    for verdict in pool.run_all(jobs):
        expected = VALUES[verdict.id]
        if expected is None:
            assert verdict.status in (Status.FORBIDDEN, Status.UNSERIALISABLE), verdict
        else:
            assert verdict.values == (expected,), verdict


def test_event_loops_run_and_are_woken_by_threads(pool):
    loop = "import asyncio\nasync def g(x):\n    return await asyncio.to_thread(abs, x)\n"
    assert run(pool, loop + "def f(x):\n    return asyncio.run(g(x))", "-2").values == ("2",)


def test_canonical_text_reads_back_as_itself(pool):
    texts = [text for text in VALUES.values() if text is not None]
    for verdict in pool.run_all([Job(text, JobKind.VALUE, inputs=(text,)) for text in texts]):
        assert verdict.values == (verdict.id,)


def test_plain_values_are_what_the_interpreter_writes(pool):
    plain = re.compile(PYTHON.plain_value)
    candidates = ["0", "-1", "-0", "01", "0.5", "0.00001", "0.0001", "-0.0", "1.50", "123456.789", "'a\"b'", "'a\\n'"]
    candidates += ["[]", "[1, 'a', None]", "[1,2]", "(1,)", "(1, 2)", "(1)", "[1, [2]]", "9007199254740993.0", "' '"]
    candidates += ["9" * 400, "True", "1e5", "00.5", "'\x7f'", "[1, ]"]
    for verdict in pool.run_all([Job(text, JobKind.VALUE, inputs=(text,)) for text in candidates]):
        if plain.fullmatch(verdict.id):
            # What needs no process must be what a process says: asked through a program, which always uses one.
            said = run(pool, f"def f(x):\n    return {verdict.id}", "0")
            assert said.values == (verdict.id,)
    refused = ["-0", "01", "0.00001", "1.50", "[1,2]", "(1)", "'a\\n'", "1e5", "00.5", "'\x7f'", "[1, ]"]
    assert not any(plain.fullmatch(text) for text in refused)
    assert all(plain.fullmatch(text) for text in ["0", "-1", "0.5", "[1, 'a', None]", "(1,)", "'a\"b'"])


@pytest.mark.parametrize(
    ("given", "expected", "correct"),
    [("1", "1.0", False), ("1", "True", False), ("[1,2]", "[1, 2]", True), ("{1,2}", "{2, 1}", True),
     ("0.0", "-0.0", False), ("nan", "float('nan')", True), ("'1'", "1", False), ("{1: 2, 3: 4}", "{3: 4, 1: 2}", True),
     ("1", "1) or True #", None)],
)  # fmt: skip
def test_equality_keeps_types_apart(pool, given, expected, correct):
    job = Job("job", JobKind.VALUE, inputs=(given,), expect=(expected,))
    assert pool.submit(job).result().correct is correct
    assert run(pool, "def f(x):\n    return x", given, expect=(expected,)).correct is correct


@pytest.mark.parametrize(
    ("source", "status", "kind"),
    [
        ("def f(x:\n  return 1", Status.SYNTAX_ERROR, "SyntaxError"),
        ("def f(x):\n    return 1 / x", Status.RUNTIME_ERROR, "ZeroDivisionError"),
        ("x = undefined\ndef f(x):\n    return 1", Status.RUNTIME_ERROR, "NameError"),
        ("g = 1", Status.RUNTIME_ERROR, "NameError"),
        ("def f(x):\n    return f(x) + 1", Status.RUNTIME_ERROR, "RecursionError"),
        ("def f(x):\n    return [0] * (1 << 34)", Status.MEMORY, "MemoryError"),
        ("def f(x):\n    exit(3)", Status.EXIT, "SystemExit"),
        ("import os\ndef f(x):\n    os._exit(0)", Status.EXIT, ""),
        ("import ctypes\ndef f(x):\n    ctypes.string_at(8)", Status.CRASH, "SIGSEGV"),
        ("def f(x):\n    return object()", Status.UNSERIALISABLE, "object"),
        ("def f(x):\n    return lambda: 1", Status.UNSERIALISABLE, "function"),
        ("class L(list): pass\ndef f(x):\n    return L()", Status.UNSERIALISABLE, "L"),
        ("def f(x):\n    a = []\n    a.append(a)\n    return a", Status.UNSERIALISABLE, "a value that contains itself"),
        ("def f(x):\n    return 'x' * 5000", Status.OUTPUT_LIMIT, ""),
        ("def f(x):\n    return 10 ** 100000", Status.OUTPUT_LIMIT, ""),
        ("def f(x):\n    a = [1]\n    for _ in range(60):\n        a = [a, a]\n    return a", Status.OUTPUT_LIMIT, ""),
        ("def f(x):\n    while True: pass", Status.TIMEOUT, ""),
        ("async def f(x):\n    return 1", Status.UNSERIALISABLE, "coroutine"),
        ("def f(x):\n    raise ExceptionGroup('g', [ValueError()])", Status.RUNTIME_ERROR, "ExceptionGroup"),
    ],
)  # fmt: skip
def test_errors_by_kind(pool, source, status, kind):
    verdict = run(pool, source, "0")
    assert (verdict.status, verdict.error_kind, verdict.values) == (status, kind, ())


def test_source_with_odd_bytes(pool):
    assert run(pool, "def f(x):\n    return 1\0", "0").status is Status.SYNTAX_ERROR
    assert run(pool, "def f(x):\n    return '\udcff'", "0").status is Status.SYNTAX_ERROR
    assert run(pool, "def f(x):\n    return 'é\U0001f600'", "0").values == ("'é\U0001f600'",)


def test_several_inputs_in_order(pool):
    verdict = run(pool, "def f(x):\n    return x * x", "1", "2", "[]", expect=("1", "4", "9"))
    assert (verdict.status, verdict.error_kind, verdict.correct) == (Status.RUNTIME_ERROR, "TypeError", False)
    verdict = run(pool, "def f(x):\n    return x * x", "1", "2", "3", expect=("1", "4", "9"))
    assert (verdict.values, verdict.correct) == (("1", "4", "9"), True)


def test_message_is_bounded_and_whole_text(pool):
    verdict = run(pool, "def f(x):\n    raise ValueError('\\ud800' + 'y' * 10000)", "0")
    assert verdict.error_kind == "ValueError"
    assert 0 < len(verdict.message) <= 500


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndef f(x):\n    return random.random()",
        "def f(x):\n    return hash('abc')",
        "def f(x):\n    return id(object())",
        "import time\ndef f(x):\n    return time.time_ns()",
        "import os\ndef f(x):\n    return os.urandom(8)",
        "def f(x):\n    return list({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})",
    ],
)
def test_nondeterminism_is_seen(pool, source):
    assert run(pool, source, "0", determinism=True).status is Status.NONDETERMINISTIC
    assert run(pool, "def f(x):\n    return {'a', 'b', 'c'}", "0", determinism=True).values == ("{'a', 'b', 'c'}",)


SCANS_MEMORY = """
import ctypes
def f(reversed_marker):
    memmem = ctypes.CDLL(None).memmem
    memmem.restype = ctypes.c_void_p
    memmem.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)
    size = len(reversed_marker)
    needle = (ctypes.c_ubyte * size)(*map(ord, reversed(reversed_marker)))
    own, found = ctypes.addressof(needle), 0
    for line in list(open("/proc/self/maps")):
        edges, access, *_ = line.split()
        if access.startswith("rw"):
            at, end = (int(edge, 16) for edge in edges.split("-"))
            while at := memmem(at, end - at, own, size):
                found += at != own
                at += 1
    return found
"""


def test_earlier_requests_are_not_in_memory(pool):
    """What was expected of earlier programs, and what they claimed: a later one could answer with it."""
    marker = "expected-" + "7f3a" * 6
    claims = f"def f(x):\n    return [[x, '{marker}']]"
    for number in range(5):
        verdict = run(pool, claims, str(number), expect=(f"[['{marker}', {number}]]",))
        assert (verdict.status, verdict.correct) == (Status.OK, False)
    assert run(pool, SCANS_MEMORY, repr(marker[::-1])).values == ("0",)
    assert run(pool, f"kept = '{marker}'\n{SCANS_MEMORY}", repr(marker[::-1])).values != ("0",)


def test_canonical_program_folds_layout_only():
    source = "def f(x):\n    # a comment\n    return  x+1\n\n"
    assert canonical_program(source) == canonical_program("def f( x ):\n  return x + 1  # other")
    assert canonical_program(source) != canonical_program("def f(x):\n    return x + 2")
    assert canonical_program("def f(x):\n  if x:\n    return 1\n  return 2") != canonical_program(
        "def f(x):\n  if x:\n    return 1\n    return 2"
    )
    assert canonical_program("def f(:") == "def f ( :" or canonical_program("def f(:") == "def f(:"


LOCK = """
import ctypes, threading
def f(x):
    c, kind, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    c.pthread_mutexattr_init(kind), c.pthread_mutexattr_settype(kind, 1), c.pthread_mutex_init(lock, kind)
    c.pthread_mutex_lock(lock)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(c.pthread_mutex_trylock(lock) == 0))
    thread.start()
    thread.join()
    return taken
"""


def test_a_recursive_lock_of_one_thread_is_closed_to_another(pool):
    assert run(pool, LOCK, "1").values == ("[False]",)
