"""The Python harness: runs inside the sandbox, started by the pool. The protocol is described in language.py.

As a server it loads the libraries once and starts every request in a fresh child in its own PID namespace.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import struct
import sys
import time
import types
from collections.abc import Callable, Sequence

sys.path.insert(0, os.environ["AZR_INSIDE"])
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import values as value_texts
from hardening import REPLY_DESCRIPTOR, Limits, close_descriptors, harden, hide, leave_parent
from supervision import Claim, Received, read_request, serve, write_frame

del sys.path[:2]

# Modules that programs import most: loaded once, so that importing them costs a program nothing.
_PRELOADED = (
    "abc bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum fractions "
    "functools heapq itertools json math operator random re statistics string typing"
).split()

_INPUT_NAMES = {
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "datetime": "date timedelta",
    "decimal": "Decimal",
    "fractions": "Fraction",
}


def make_writer(descriptor: int) -> Callable[[Claim], None]:
    """A function that writes a frame to `descriptor` and exits; bound before any program runs, as `make_answer`."""
    write, leave, size, join = os.write, os._exit, len, bytes.join
    pack = struct.Struct(">I").pack

    def send(fields: Claim) -> None:
        parts = [pack(size(fields))]
        for field in fields:
            parts += (pack(size(field)), field)
        data = join(b"", parts)
        while data:
            data = data[write(descriptor, data) :]
        leave(0)

    return send


# What sys.setrecursionlimit(1000) allows a function that a module calls: the call itself and 998 more.
_LIMIT, _DEEPEST = 1000, 998
# The frames between `answer` and a module's own code: exec and the module's.
_MODULE_FRAMES = 2


def _deepest(depth: int) -> int:
    try:
        return _deepest(depth + 1)
    except RecursionError:
        return depth


def _hide_frames(frames: int) -> Callable[[int], None]:
    """Give programs the stack depth and the recursion limit that they would have without the `frames` of the harness.

    Returns a function that subtracts a number of frames that have ended.
    """
    get_limit, set_limit = sys.getrecursionlimit, sys.setrecursionlimit
    set_limit(_LIMIT + frames)
    sys.getrecursionlimit = lambda: get_limit() - frames
    sys.setrecursionlimit = lambda limit, /: set_limit(limit + frames)

    def end(count: int) -> None:
        nonlocal frames
        set_limit(get_limit() - count)
        frames -= count

    return end


def _make_failure(limits: Limits) -> tuple[Callable[[BaseException], Claim], Callable[[str], bytes]]:
    """A function from an exception to the claim, and one that cuts a message; bound before any program runs."""
    text_of, name_of, cut, encode, kind_of = str, type.__getattribute__, str.__getitem__, str.encode, type
    unserialisable, too_long, base = value_texts.UnserialisableError, value_texts.TooLongError, BaseException
    slice_to, value_chars = slice(limits.message_chars), limits.value_chars
    memory_error, system_exit = MemoryError, SystemExit
    reserve = [bytes(1 << 18)]

    def failure(error: BaseException) -> Claim:
        kind = kind_of(error)
        if kind is memory_error:
            reserve.clear()
            return [b"memory", b"MemoryError", b""]
        if kind is unserialisable:
            return [b"unserialisable", bounded(error.args[0]), b"the value can't be written down"]
        if kind is too_long:
            return [b"output_limit", b"", encode(f"the value has more than {value_chars} characters")]
        status = b"exit" if kind is system_exit else b"runtime_error"
        try:
            message = text_of(error)
        except base:
            message = ""
        return [status, bounded(name_of(kind, "__name__")), bounded(message)]

    def bounded(text: str) -> bytes:
        return encode(cut(text, slice_to), "utf-8", "backslashreplace")

    return failure, bounded


def make_answer(limits: Limits) -> Callable[[bytes, bytes, Sequence[bytes]], Claim]:  # noqa: C901 - one closure
    """The function from kind, source and inputs to the claim; its primitives are bound before any program runs."""
    emit = value_texts.make_emitter()
    failure, bounded = _make_failure(limits)
    text_of, name_of, encode, kind_of, size, join = str, type.__getattribute__, str.encode, type, len, str.join
    too_long, base, value_chars, memory_error = value_texts.TooLongError, BaseException, limits.value_chars, MemoryError

    def written(arguments: tuple[tuple[object, ...], dict[str, object]]) -> bytes:
        left, texts = value_chars, []
        for name, value in [*[("", value) for value in arguments[0]], *arguments[1].items()]:
            text = f"{name}={emit(value, left, True)}" if name else emit(value, left, True)
            left -= size(text) + 2
            texts.append(text)
        if left + 2 < 0:
            raise too_long
        return encode(join(", ", texts))

    def expressions(inputs: Sequence[bytes]) -> Claim:
        claim = [b"ok", b"", b""]
        for text in inputs:
            try:
                arguments = value_texts.evaluate_arguments(text.decode(), _input_names())
            except memory_error as error:
                return failure(error)
            except base as error:
                said = bounded(f"the input can't be evaluated: {name_of(kind_of(error), '__name__')}: {text_of(error)}")
                return [b"forbidden", bounded(name_of(kind_of(error), "__name__")), said]
            claim.append(written(arguments))
        return claim

    def answer(kind: bytes, source: bytes, inputs: Sequence[bytes]) -> Claim:
        try:
            if kind == b"expressions":
                return expressions(inputs)
            read = value_texts.parse if kind == b"value" else value_texts.parse_arguments
            values: list = [read(text.decode()) for text in inputs]
        except (value_texts.NotAValueError, UnicodeDecodeError) as error:
            return [b"forbidden", b"NotAValue", bounded(text_of(error))]
        except base as error:
            return failure(error)
        try:
            if kind == b"value":
                return [b"ok", b"", b"", *[encode(emit(value, value_chars)) for value in values]]
            if kind == b"arguments":
                return [b"ok", b"", b"", *map(written, values)]
            sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)
            code = compile(source, "program.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            return [b"syntax_error", bounded(name_of(kind_of(error), "__name__")), bounded(text_of(error))]
        except base as error:
            return failure(error)
        try:
            module = _main_module()
            end_frames = _hide_frames(_MODULE_FRAMES + _DEEPEST - _deepest(0))
            exec(code, module.__dict__)  # noqa: S102 - this process exists to run it
            end_frames(_MODULE_FRAMES)
            function = module.__dict__.get("f")
            if function is None:
                return [b"runtime_error", b"NameError", b"the program defines no function f"]
            claim = [b"ok", b"", b""]
            for positional, named in values:
                claim.append(encode(emit(function(*positional, **named), value_chars)))
            return claim
        except base as error:
            return failure(error)

    return answer


class CallsTheFunctionError(Exception):
    """An input calls f, but inputs are evaluated without the program."""


def _input_names() -> dict[str, object]:
    """Names for expressions in inputs: the standard library's usual modules and containers, nothing of a program."""
    names: dict[str, object] = {name: importlib.import_module(name) for name in _PRELOADED if "." not in name}
    for module, words in _INPUT_NAMES.items():
        names |= {word: getattr(sys.modules[module], word) for word in words.split()}

    def f(*_: object, **__: object) -> object:
        raise CallsTheFunctionError("an input can't call f: it is evaluated before and without the program")

    return names | {"f": f, "sys": sys, "__name__": "__main__"}


def _main_module() -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__="program.py", __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    return module


def _child(request: list[bytes], reply: int, seccomp_program: bytes) -> None:
    leave_parent(reply)
    limits = Limits(request[1])
    harden(limits, seccomp_program)
    send = make_writer(REPLY_DESCRIPTOR)
    send(make_answer(limits)(request[0], request[3], request[4:]))


def run_server(seccomp_program: bytes, new_pid: bool) -> None:
    """Answer requests until the end of the input, each in a fresh child."""
    for name in _PRELOADED:
        importlib.import_module(name)
    hide()
    # Collections in a child would copy every page that holds an object's header.
    gc.collect()
    gc.freeze()
    serve(lambda request, reply: _child(request, reply, seccomp_program), new_pid)


def once(seccomp_program: bytes) -> None:
    """Answer one request in this process."""
    write_frame([b"ready"])
    fields = read_request(Received())
    if fields is None:
        return
    request = [bytes(field) for field in fields]
    start = time.monotonic()
    clock, usage, send = time.monotonic, resource.getrusage, make_writer(REPLY_DESCRIPTOR)
    limits = Limits(request[1])
    close_descriptors(3)
    harden(limits, seccomp_program)
    claim = make_answer(limits)(request[0], request[3], request[4:])
    measured = [b"%.6f" % (clock() - start), b"%.1f" % (usage(0).ru_maxrss / 1024)]
    send([*claim[:3], *measured, *claim[3:]])


def main() -> None:
    """Serve or answer one request, depending on the argument."""
    import site

    site.setquit()
    with open(os.environ["AZR_CHILD_FILTER"], "rb") as file:
        seccomp_program = file.read()
    new_pid = os.environ["AZR_NEW_PID"] == "1"
    if "--serve" in sys.argv:
        run_server(seccomp_program, new_pid)
    else:
        once(seccomp_program)


main()
