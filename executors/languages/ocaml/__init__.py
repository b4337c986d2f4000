"""OCaml: the toplevel `ocaml`, started afresh for each program. Tested with 4.13.1.

Programs are files as `ocaml FILE` runs them: bytecode, phrase by phrase, `;;` and directives allowed. Types are
checked: a program or a call of f that has no type is a `syntax_error` of kind `type`. The harness is a script of the
toplevel that uses the toplevel's modules, so that a value is written by its inferred type, as the toplevel prints it,
but whole and exact; then the compiler's parser reads it back.

Values: integers of all sizes, floats (`nan`, `infinity`, `neg_infinity` for what has no literal), characters, strings
and bytes of any content, (), booleans, tuples, lists, arrays, records (fields in alphabetical order), references
(`{contents = 1}`) and constructors with arguments, also of the program's own types, without the module's name.
Not: functions, objects, cyclic values and abstract types, which include Map, Set, Hashtbl and Buffer: a program gives
their contents as a list. An input may be written with the same syntax; it is never run. Integers have 63 bits; there
are no big ones without a library. A value read without its program has no type, so texts are compared: 1, 1., 1L and
true differ, and so do `[]` and `[||]`.
"""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from executors import canonical, compiled, hosted
from executors.language import Forking, Interpreter, Language, output_of

# What the toplevel maps before the harness runs, and what type checking takes.
_OVERHEAD_MIB = 96
_MEMORY_ERRORS = ("out of memory", "Out_of_memory")
_HARNESS = Path(__file__).resolve().with_name("harness.ml")
_LOADER, _COMPILED_VARIABLE = "load_harness.ml", "AZR_OCAML_HARNESS"


def find() -> Interpreter | None:
    """`ocaml` on PATH."""
    command = shutil.which("ocaml")
    version = output_of(command, "-vnum").strip() if command else ""
    if command is None or not version:
        return None
    folder = _compiled(version)
    if folder is None:
        return hosted.interpreter((command,), version)
    return hosted.interpreter((command,), version, [folder], [(_COMPILED_VARIABLE, str(folder / _LOADER))])


@functools.cache
def _compiled(version: str) -> Path | None:
    """The folder of the compiled harness and the script that loads it, made if missing.

    None if `ocamlc` of the same version is missing or the folder can't be written: the harness then runs as a script,
    0.2 s slower. Raises ValueError if the compiler refuses it.
    """
    compiler = shutil.which("ocamlc")
    if compiler is None or output_of(compiler, "-vnum").strip() != version:
        return None
    source = _HARNESS.read_bytes()
    digest = hashlib.sha256(version.encode() + _LOADER.encode() + source).hexdigest()
    target = compiled.folder("ocaml") / f"harness-{digest[:12]}"
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                _compile(compiler, source, Path(folder, "harness"), target)
    except OSError:
        return target if target.exists() else None  # another process was faster, or nothing can be written
    return target


def _compile(compiler: str, source: bytes, partial: Path, target: Path) -> None:
    partial.mkdir()
    (partial / "azr_harness.ml").write_bytes(source)
    argv = [compiler, "-c", "-I", "+compiler-libs", "azr_harness.ml"]
    done = subprocess.run(argv, cwd=partial, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"{' '.join(argv)} fails: {done.stderr.strip()[-2000:]}")
    # Without its interface no program can name the module.
    (partial / "azr_harness.cmi").unlink()
    # Found in the folder of the script itself, wherever the sandbox shows it.
    (partial / _LOADER).write_text('#load "azr_harness.cmo";;\n')
    partial.rename(target)


def _arguments(interpreter: Interpreter, harness: str) -> list[str]:
    return ["-noinit", "-I", "+compiler-libs", dict(interpreter.environment).get(_COMPILED_VARIABLE, harness)]


_folded = canonical.folder("ocaml")


def canonical_program(source: str) -> str:
    """`source` without comments and its `#!` line, one space between tokens."""
    return _folded(re.sub(r"\A#![^\n]*", "", source))


_INTEGER = r"(?:0|-?[1-9][0-9]{0,17})"
_STRING = r'"[ !#-\[\]-~]*"'
_ATOM = rf"(?:{_INTEGER}|{_STRING}|true|false|\(\))"

LANGUAGE = Language(
    name="ocaml",
    full_name="OCaml",
    fence="ocaml",
    comment="(*",
    comment_end="*)",
    extension=".ml",
    find=find,
    install_hint="install OCaml 4.13 or later with its compiler-libs (Debian: apt install ocaml-nox)",
    harness=_HARNESS,
    harness_argv=hosted.harness_argv(
        _arguments,
        memory_overhead_mib=_OVERHEAD_MIB,
        memory_errors=_MEMORY_ERRORS,
    ),
    program_argv=lambda interpreter, file: [*interpreter.argv, "-noinit", file],
    forking=Forking("open"),
    identity="let f x = x",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="let f a = a",
    skeleton="let f first second =\n  <state that changes step by step>\n  <result>",
    skeleton_input="<first> <second>",
    definition=r"^(?:let\s+(?:rec\s+)?|and\s+)NAME(?:\s+[^=:\s]|\s*(?::[^=\n]{1,200})?=\s*fun(?:ction)?\b)",
    canonical_program=canonical_program,
    serves=True,
    once=False,
    # Before an exception the toplevel writes "Exception: "; every other error comes from its parser or type checker.
    syntax_errors=("\nError: ", "Cannot find file", "Unknown directive"),
    memory_errors=_MEMORY_ERRORS,
    memory_overhead_mib=_OVERHEAD_MIB,
    threads=False,
    fence_aliases=("ml",),
    benchmark_suffix="ml",
    plain_value=rf"{_ATOM}|\[(?:{_ATOM}(?:; {_ATOM})*)?\]",
)
