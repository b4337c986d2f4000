"""Lua 5.4: found as `lua5.4` or `lua`, started afresh for each program. Tested with 5.4.4.

Programs are files as `lua FILE` runs them; f may be global or local to the file, but a file that ends in a `return` of
anything but f must make it global. Of several results the first counts, as in `(f(x))`, and no result is nil.
`pairs` and `next` visit tables that have string keys in a fixed order, because Lua's order changes with every process:
ascending, but descending in the second process of a determinism check. So a program that depends on the order is always
detected, and no other is.

Values: nil, booleans, integers and floats (`0/0`, `math.huge`, `math.mininteger` for what has no literal), strings of
any bytes, and tables without metatable whose keys are numbers, strings or booleans: the elements 1 to n first, then
the other keys in order. Not values: tables with a metatable or that contain themselves, functions, threads, userdata.
"""

from __future__ import annotations

import re
from pathlib import Path

from executors import hosted
from executors.language import PLAIN_FLOAT, Forking, Interpreter, Language, installed

# What the bare interpreter maps, its C library's locale included.
_OVERHEAD_MIB = 16
_MEMORY_ERRORS = ("not enough memory",)


def find() -> Interpreter | None:
    """`lua5.4` or `lua` on PATH, of version 5.4."""
    installation = installed(("lua5.4", "lua"), r"\ALua (5\.4[.\d]*)", "-v")
    return hosted.interpreter((installation[0],), installation[1]) if installation else None


# An unclosed long bracket is no token, so that no text is searched for its end repeatedly.
_TOKEN = re.compile(
    r"(?P<space>\s+|--(?!\[=*\[)[^\n]*|--\[(?P<comment>=*)\[.*?\](?P=comment)\])"
    r"|(?P<literal>\[(?P<long>=*)\[.*?\](?P=long)\]|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<word>[^\W\d]\w*|(?:0[xX][\da-fA-F.]+|\d[\d.]*|\.\d+)(?:[eEpP][+-]?)?\w*)"
    r"|(?P<mark>\.{1,3}|[<>=~/:]=|<<|>>|//|::|\[(?!=*\[)|[-+*/%^#&~|<>=(){}\];:,])",
    re.DOTALL,
)


def canonical_program(source: str) -> str:
    """`source` without comments, one space between tokens; only stripped if it is not a sequence of tokens."""
    tokens, at = [], 0
    body = re.sub(r"\A\ufeff?(?:#[^\n]*)?", "", source)
    while at < len(body):
        match = _TOKEN.match(body, at)
        if match is None:
            return source.strip()
        if match.lastgroup != "space" and match["space"] is None:
            tokens.append(match[0])
        at = match.end()
    return " ".join(tokens)


_ATOM = (
    r'(?:true|false|0|-?[1-9][0-9]{0,17}|"[ !#-\[\]-~]*"'
    rf"|{PLAIN_FLOAT})"
)

LANGUAGE = Language(
    name="lua",
    full_name="Lua",
    fence="lua",
    comment="--",
    extension=".lua",
    find=find,
    install_hint="install Lua 5.4 (Debian: apt install lua5.4) so that `lua5.4` or `lua` is on PATH",
    harness=Path(__file__).with_name("harness.lua"),
    harness_argv=hosted.harness_argv(
        lambda _, harness: [harness],
        memory_overhead_mib=_OVERHEAD_MIB,
        memory_errors=_MEMORY_ERRORS,
        reply=2,
    ),
    # A new image: Lua takes its seeds from addresses and the time.
    forking=Forking("exec"),
    identity="function f(x)\n  return x\nend",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="function f(a)\n  return a\nend",
    skeleton="function f(first, second)\n  <state that changes step by step>\n  return <result>\nend",
    skeleton_input="<first>, <second>",
    definition=r"^(?:local\s+)?function\s+NAME\s*\(|^(?:local\s+)?NAME\s*=\s*function\b",
    canonical_program=canonical_program,
    serves=True,
    once=False,
    # The interpreter's messages about code that it can't compile, before anything runs.
    syntax_errors=(
        " near '",
        " near <eof>",
        "no visible label",
        "break outside loop",
        "already defined on line",
        "attempt to assign to const variable",
    ),
    memory_errors=_MEMORY_ERRORS,
    memory_overhead_mib=_OVERHEAD_MIB,
    threads=False,
    benchmark_suffix="lua",
    plain_value=rf"nil|{_ATOM}|\{{(?:{_ATOM}(?:, {_ATOM})*)?\}}",
)
