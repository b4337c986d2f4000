"""Julia. Tested with 1.5.3; other versions from 1.5 on are started the same way.

A `julia` on PATH is used when there is one. Otherwise the private installation that `make setup` unpacks, a folder that
becomes / of the sandbox: AZR_JAX_JULIA_ROOT, or .setup/julia-root in the repository.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from executors import compiled
from executors.language import Interpreter, Language

_HERE = Path(__file__).resolve().parent
_OLDEST = (1, 5)
# One thread each: a forked child has only the thread that forked. No folder of packages: the standard library alone.
_ENVIRONMENT = (
    ("JULIA_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("JULIA_LOAD_PATH", "@stdlib"),
    ("JULIA_DEPOT_PATH", "/azr/depot"),
)
# generic: muladd is never fused, so that interpreted and compiled code, and all machines, agree to the last bit.
_FLAGS = ("--startup-file=no", "--history-file=no", "--color=no", "-O1", "--cpu-target=generic")
_DESCRIBE = 'print(VERSION, "\\n", Sys.BINDIR)'


def find() -> Interpreter | None:
    """The julia on PATH (1.5 or later), or the private installation, or None."""
    on_path = shutil.which("julia")
    if on_path is not None:
        found = _on_path(on_path)
        if found is not None:
            return found
    return _private(Path(os.environ.get("AZR_JAX_JULIA_ROOT") or compiled.folder("julia-root")))


@functools.cache
def _on_path(command: str) -> Interpreter | None:
    # Asked for its own folder: juliaup's `julia` is a launcher that does not work inside the sandbox.
    try:
        done = subprocess.run(
            [command, "--startup-file=no", "-e", _DESCRIBE], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, folder = done.stdout.partition("\n")
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        return None
    installation = Path(folder).resolve().parent
    read_only = () if installation == Path("/usr") else (installation,)
    return Interpreter((str(Path(folder).resolve() / "julia"),), version, read_only, environment=_ENVIRONMENT)


def _private(root: Path) -> Interpreter | None:
    # The version that the installation script wrote last: without it the folder is not complete.
    try:
        version = (root / ".complete").read_text().strip()
    except OSError:
        return None
    return Interpreter(("/usr/bin/julia",), version, root=root, environment=_ENVIRONMENT)


def harness_argv(interpreter: Interpreter, harness: str, mode: str, tier: str = "both") -> Sequence[str]:
    """The harness's argv. `tier` is "interpreted", "compiled" or "both": see harness.jl."""
    return (*interpreter.argv, *_FLAGS, harness, mode, *((f"--tier={tier}",) if mode == "--serve" else ()))


def program_argv(interpreter: Interpreter, file: str) -> Sequence[str]:
    """The argv that runs `file` as a whole program."""
    return (*interpreter.argv, *_FLAGS, file)


_SPACE = re.compile(r"[ \t\f\v\r\xa0]+")
_BLOCK_EDGE = re.compile(r"#=|=#")
_CHARACTER = re.compile(
    r"'(?:\\(?:[^xuU0-7]|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3})|[^\\'\n])'"
)
# After these a quote is the transpose of what stands before it, not the start of a character.
_ENDS_OPERAND = re.compile(r"[\w!)\]}'.\"]")


def _after_block_comment(source: str, start: int) -> int:
    """The end of the comment that opens at `start`; block comments nest."""
    depth, at = 0, start
    while edge := _BLOCK_EDGE.search(source, at):
        depth += 1 if edge[0] == "#=" else -1
        at = edge.end()
        if depth == 0:
            return at
    return len(source)


def _after_interpolation(source: str, start: int) -> int:
    """The end of the code in brackets that opens at `start`."""
    depth, at = 0, start
    while at < len(source):
        character = source[at]
        if character in '"`':
            at = _after_string(source, at)
            continue
        if source.startswith("#=", at):
            at = _after_block_comment(source, at)
            continue
        if character == "'" and not _ENDS_OPERAND.match(source[at - 1]) and (match := _CHARACTER.match(source, at)):
            at = match.end()
            continue
        depth += (character == "(") - (character == ")")
        at += 1
        if depth == 0:
            break
    return at


def _after_string(source: str, start: int) -> int:
    """The end of the string or command literal that opens at `start`, with its interpolated code."""
    quote = source[start] * 3 if source.startswith(source[start] * 3, start) else source[start]
    # raw"..." and other prefixed strings have no interpolation.
    prefixed = start > 0 and (source[start - 1].isalnum() or source[start - 1] == "_")
    at = start + len(quote)
    while at < len(source):
        if source[at] == "\\":
            at += 2
        elif source.startswith("$(", at) and not prefixed:
            at = _after_interpolation(source, at + 1)
        elif source.startswith(quote, at):
            return at + len(quote)
        else:
            at += 1
    return len(source)


def canonical_program(source: str) -> str:
    """`source` without comments, indentation, blank lines and doubled spaces; line ends and strings stay as they are.

    Line ends separate statements in Julia and a space can separate elements (`[1 -2]`), so neither is removed whole.
    A source whose strings interpolate each other deeper than Python's stack is given back without the space around it.
    """
    try:
        return _fold_space(_pieces(source))
    except RecursionError:
        return source.strip()


def _pieces(source: str) -> list[str]:
    """The code in single characters, with comments and runs of space as one space, and whole literals."""
    pieces: list[str] = []
    at = 0
    source = source.replace("\r\n", "\n")
    while at < len(source):
        character = source[at]
        if source.startswith("#=", at):
            at = _after_block_comment(source, at)
            pieces.append(" ")
        elif character == "#":
            end = source.find("\n", at)
            at = len(source) if end < 0 else end
        elif character in '"`':
            end = _after_string(source, at)
            pieces.append(source[at:end])
            at = end
        elif character == "'" and not (at and _ENDS_OPERAND.match(source[at - 1])):
            match = _CHARACTER.match(source, at)
            end = match.end() if match else at + 1
            pieces.append(source[at:end])
            at = end
        elif match := _SPACE.match(source, at):
            pieces.append(" ")
            at = match.end()
        else:
            pieces.append(character)
            at += 1
    return pieces


def _fold_space(pieces: Sequence[str]) -> str:
    """Joins pieces of code (one character, or a whole literal) with runs of space, and lines of it only, folded."""
    folded: list[str] = []
    for piece in pieces:
        last = folded[-1] if folded else "\n"
        if piece == " " and last in (" ", "\n"):
            continue
        if piece == "\n":
            if last == " ":
                folded.pop()
                last = folded[-1] if folded else "\n"
            if last == "\n":
                continue
        folded.append(piece)
    while folded and folded[-1] in (" ", "\n"):
        folded.pop()
    return "".join(folded)


_INTEGER = r"(?:0|-?[1-9][0-9]{0,17})"
_PLAIN_VALUE = rf'{_INTEGER}|true|false|nothing|\[{_INTEGER}(?:, {_INTEGER})*\]|"[ !#%-\[\]-~]*"'

LANGUAGE = Language(
    name="julia",
    full_name="Julia",
    fence="julia",
    comment="#",
    extension=".jl",
    find=find,
    install_hint="make setup, or install Julia 1.5 or later with juliaup (https://julialang.org/downloads)",
    harness=_HERE / "harness.jl",
    harness_argv=harness_argv,
    program_argv=program_argv,
    identity="function f(x)\n    return x\nend",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="function f(a)\n    return a\nend",
    canonical_program=canonical_program,
    serves=True,
    syntax_errors=("ERROR: LoadError: syntax:", "ERROR: syntax:", "ParseError:"),
    # A bare Julia maps 430 MiB, and its compiler more as it works.
    memory_errors=("OutOfMemoryError()",),
    memory_overhead_mib=768,
    fence_aliases=("jl",),
    benchmark_suffix="jl",
    plain_value=_PLAIN_VALUE,
)
