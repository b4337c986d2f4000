r"""Perl 5: `perl`, started afresh for each program. Tested with 5.36.0.

Programs are files as `perl FILE` runs them, except that `caller` is not empty at the top level and there is no DATA. f
is a subroutine of package main, called in list context.

Values: undef, strings, numbers, and unblessed references to arrays, hashes and scalars. As in Perl, a number equals the
string that it prints: `1`, `"1"` and `1.0` are written as 1, `"1.0"` is a string, true is 1 and false "". Strings are
the bytes of a program without `use utf8`, written as UTF-8 if they are valid, characters above 255 as `"\x{...}"`. A
result of several values, or of none, is written in parentheses. Hashes are in the order of their keys, since Perl's
order differs between processes: a program that depends on it is detected only if two processes disagree. Objects,
code, globs and tied variables are not values.
"""

from __future__ import annotations

from pathlib import Path

from executors import canonical, hosted
from executors.language import Forking, Interpreter, Language, installed

# What the bare interpreter maps.
_OVERHEAD_MIB = 24
_MEMORY_ERRORS = ("Out of memory", "panic: memory wrap")


def find() -> Interpreter | None:
    """`perl` on PATH, of version 5.30 or later."""
    installation = installed(("perl",), r"\(v(5\.(?:[3-9]\d)[.\d]*)\)")
    return hosted.interpreter((installation[0],), installation[1]) if installation else None


_ATOM = (
    # A string that begins with a letter is no number.
    r'(?:undef|0|-?[1-9][0-9]{0,13}|"(?:[A-Za-z_ ][ !#%-?A-\[\]-~]*)?"'
    # At most 13 digits, so that Perl prints this text; from 1e-4 on there is no exponent.
    r"|-?(?:0\.(?!0000)|[1-9][0-9]{0,6}\.)[0-9]{0,5}[1-9])"
)

LANGUAGE = Language(
    name="perl",
    full_name="Perl",
    fence="perl",
    fence_aliases=("pl",),
    comment="#",
    extension=".pl",
    find=find,
    install_hint="install Perl 5.30 or later (tpu_scripts/install_interpreters.sh perl) so that `perl` is on PATH",
    harness=Path(__file__).with_name("harness.pl"),
    harness_argv=hosted.harness_argv(
        lambda _, harness: [harness],
        memory_overhead_mib=_OVERHEAD_MIB,
        memory_errors=_MEMORY_ERRORS,
        reply=2,
    ),
    forking=Forking("start"),
    identity="sub f {\n    my ($x) = @_;\n    return $x;\n}",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="sub f {\n    my ($a) = @_;\n    return $a;\n}",
    skeleton="sub f {\n    my ($first, $second) = @_;\n    <state that changes step by step>\n    return <result>;\n}",
    skeleton_input="<first>, <second>",
    definition=r"^sub\s+NAME\b",
    canonical_program=canonical.folder("perl", line_ends=True, spaces=True),
    serves=True,
    once=False,
    syntax_errors=("syntax error at ", "compilation errors", "compilation aborted", "Can't find string terminator"),
    memory_errors=_MEMORY_ERRORS,
    memory_overhead_mib=_OVERHEAD_MIB,
    threads=False,
    benchmark_suffix="pl",
    plain_value=rf"{_ATOM}|\[(?:{_ATOM}(?:, {_ATOM})*)?\]",
)
