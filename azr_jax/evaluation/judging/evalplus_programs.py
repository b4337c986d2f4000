"""The two programs of an EvalPlus judgement, to which evalplus.py adds the settings: calls, and comparing."""

from __future__ import annotations

# The program has a separate namespace, as in EvalPlus. Needs TEXT, ENTRY, NOT_NONE, LIMITS, MOST_SIZE, INPUTS.
COLLECT = '''
import decimal, fractions, hashlib, signal, time
inf, nan = float("inf"), float("nan")

def plain(value, depth=0):
    if depth > 80:
        return value
    kind = type(value)
    if kind in (int, float, str, bool, bytes, complex, type(None)):
        return value
    if isinstance(value, (decimal.Decimal, fractions.Fraction)):
        return int(value) if value == value // 1 else float(value)
    for base in (int, float, str, bytes):
        if isinstance(value, base):
            return base.__new__(base, value)
    for base in (list, tuple, set, frozenset):
        if isinstance(value, base):
            return base([plain(item, depth + 1) for item in base.__iter__(value)])
    if isinstance(value, dict):
        return {plain(key, depth + 1): plain(item, depth + 1) for key, item in dict.items(value)}
    return value

def size(value):
    if isinstance(value, int):
        return value.bit_length() // 4
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(size(key) + size(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return len(value) + sum(map(size, value))
    return 8

def feed(update, value):
    if isinstance(value, float) and value == value and abs(value) != inf:
        value = int(value) if value.is_integer() else value
    if isinstance(value, float):
        update(b"f%.9g;" % value)
    elif isinstance(value, int):
        update(b"i%x;" % value)
    elif isinstance(value, (list, tuple)):
        update(b"[" if isinstance(value, list) else b"(")
        for item in value:
            feed(update, item)
        update(b"]")
    elif isinstance(value, str):
        update(b"s%d:" % len(value) + value.encode("utf-8", "surrogatepass"))
    else:
        update(repr(sorted(value.items()) if isinstance(value, dict) else sorted(value)).encode()
               if isinstance(value, (dict, set, frozenset)) else repr(value).encode())

def shown(value):
    """The value, or a digest of a long one; equal numbers have the same digest."""
    if type(value) is list and len(value) > MOST_SIZE and type(value[0]) is not float:
        # One of the reference's outputs has 1.7 million tuples; item by item that would take minutes.
        return "azr-digest-" + hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()
    value = plain(value)
    if size(value) <= MOST_SIZE:
        return value
    digest = hashlib.sha256()
    feed(digest.update, value)
    return "azr-digest-" + digest.hexdigest()

class OverTime(BaseException):
    pass

def over_time(number, frame):
    raise OverTime()

SECONDS = []

def f(azr_count):
    if azr_count < 0:
        return SECONDS
    namespace = {}
    exec(compile(TEXT, "program.py", "exec", dont_inherit=True), namespace)
    function = namespace[ENTRY]
    outputs = []
    signal.signal(signal.SIGALRM, over_time)
    for arguments, limit in zip(INPUTS[:azr_count], LIMITS):
        signal.setitimer(signal.ITIMER_REAL, limit)
        begin = time.perf_counter()
        output = function(*arguments)
        SECONDS.append(time.perf_counter() - begin)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if SECONDS[-1] > limit:
            raise OverTime()  # it caught the first one
        if NOT_NONE and type(output) is not bool:
            output = output is not None
        outputs.append(shown(output))
    return outputs
'''

# Needs ATOL, ENTRY, MBPP, INPUTS. Its f gets first the expected outputs, then those of the program.
COMPARE = '''
import math
inf, nan = float("inf"), float("nan")
SET_EQ = {"similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
          "intersection_array", "find_dissimilar", "Diff"}

def is_floats(x):
    if isinstance(x, (list, tuple)):
        return len(x) > 0 and all(isinstance(i, float) for i in x)
    return isinstance(x, float)

def allclose(a, b, atol):
    if isinstance(a, (list, tuple)) or isinstance(b, (list, tuple)):
        rows_a = a if isinstance(a, (list, tuple)) else None
        rows_b = b if isinstance(b, (list, tuple)) else None
        if rows_a is None:
            return all(allclose(a, y, atol) for y in rows_b)
        if rows_b is None:
            return all(allclose(x, b, atol) for x in rows_a)
        return len(rows_a) == len(rows_b) and all(allclose(x, y, atol) for x, y in zip(rows_a, rows_b))
    if not isinstance(a, (int, float, complex)) or not isinstance(b, (int, float, complex)):
        raise TypeError
    return a == b or (abs(b) != inf and abs(a - b) <= atol + 1e-07 * abs(b))

def surface_area(base_edge, height):
    slant_height = math.sqrt((base_edge / 2) ** 2 + height**2)
    return round(base_edge**2 + 4 * (base_edge * slant_height) / 2)

def digit_distance(num1, num2):
    left, right = str(num1), str(num2)
    length = max(len(left), len(right))
    return sum(abs(int(x) - int(y)) for x, y in zip(left.zfill(length), right.zfill(length)))

def right(arguments, out, exp):
    atol = ATOL
    if MBPP:
        if ENTRY == "are_equivalent":
            return True
        if ENTRY == "sum_div" and out == 0:
            return True
        if ENTRY == "surface_Area" and abs(out - surface_area(*arguments)) <= atol:
            return True
        if ENTRY == "digit_distance_nums" and out == digit_distance(*arguments):
            return True
        if ENTRY in SET_EQ:
            return set(out) == set(exp)
    elif ENTRY == "find_zero":
        coefficients = arguments[0]
        return abs(sum(c * math.pow(out, i) for i, c in enumerate(coefficients))) <= atol
    if out == exp:
        return True
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if atol == 0 or type(out) is not type(exp):
        return False
    return allclose(out, exp, atol)

EXPECTED = []

def f(outputs):
    """The number of the first wrong output, -1 when all are right."""
    if not EXPECTED:
        EXPECTED.extend(outputs)
        return 0
    for number, out in enumerate(outputs):
        try:
            good = right(INPUTS[number], out, EXPECTED[number])
        except Exception:
            good = False
        if not good:
            return number
    return -1
'''
