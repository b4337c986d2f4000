"""Scheme: Guile 3, started afresh for each program. Tested with 3.0.8.

Programs are files as `guile FILE` runs them, form by form in the module (guile-user), uncompiled. f may be a `lambda*`
with keywords; of several results the first counts.

Values: numbers of the whole tower (`1`, `1.0` and `1/1` by `eqv?`: an exact and an inexact number differ), booleans,
characters, strings, symbols, pairs and lists, vectors, bytevectors, and the unspecified value by itself
(`*unspecified*`). Lists and symbols are written with a quotation mark, `'(1 "a" (b . c))`. Hash tables, records,
procedures, cyclic lists and ports are not values; strings hold only text, not other bytes.
"""

from __future__ import annotations

from pathlib import Path

from executors import canonical, hosted
from executors.language import PLAIN_FLOAT, Forking, Interpreter, Language, installed

# What the bare interpreter maps.
_OVERHEAD_MIB = 128
_MEMORY_ERRORS = ("Out of Memory", "out-of-memory", "out of memory")
_FLAGS = ("--no-auto-compile", "-q")
# A garbage collector of one thread.
_ENVIRONMENT = (("GC_MARKERS", "1"), ("GUILE_AUTO_COMPILE", "0"), ("GUILE_WARN_DEPRECATED", "no"))


def find() -> Interpreter | None:
    """`guile-3.0` or `guile` on PATH, of version 3."""
    installation = installed(("guile-3.0", "guile"), r"\Aguile \(GNU Guile\) (3\.[.\d]+)")
    return hosted.interpreter((installation[0],), installation[1], environment=_ENVIRONMENT) if installation else None


_ATOM = (
    r'(?:#t|#f|0|-?[1-9][0-9]{0,400}|"[ !#-\[\]-~]*"'
    rf"|{PLAIN_FLOAT})"
)

LANGUAGE = Language(
    name="scheme",
    full_name="Scheme",
    fence="scheme",
    fence_aliases=("scm", "guile", "lisp"),
    comment=";",
    extension=".scm",
    find=find,
    install_hint="install Guile 3 (tpu_scripts/install_interpreters.sh scheme) so that `guile` is on PATH",
    harness=Path(__file__).with_name("harness.scm"),
    harness_argv=hosted.harness_argv(
        lambda _, harness: [*_FLAGS, harness],
        memory_overhead_mib=_OVERHEAD_MIB,
        memory_errors=(),
    ),
    program_argv=lambda interpreter, file: [*interpreter.argv, *_FLAGS, file],
    forking=Forking("open"),
    identity="(define (f x)\n  x)",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="(define (f a)\n  a)",
    skeleton="(define (f first second)\n  <state that changes step by step>\n  <result>)",
    skeleton_input="<first> <second>",
    definition=r"^\(define\*?\s+(?:\(NAME[\s)]|NAME\s+\((?:lambda|case-lambda)\b)",
    canonical_program=canonical.folder("scheme"),
    serves=True,
    once=False,
    syntax_errors=("Syntax error:", "unexpected end of input", 'unexpected ")"', "unknown location: "),
    memory_errors=_MEMORY_ERRORS,
    memory_overhead_mib=_OVERHEAD_MIB,
    benchmark_suffix="scm",
    plain_value=rf"{_ATOM}|'\((?:{_ATOM}(?: {_ATOM})*)?\)",
)
