"""Julia. Tested with 1.5.3; other versions from 1.5 on are started the same way.

A `julia` on PATH is used if there is one, otherwise the private installation that `make setup` unpacks, a folder that
becomes / of the sandbox: AZR_JAX_JULIA_ROOT, or .setup/julia-root in the repository.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from executors import canonical, compiled
from executors.language import Forking, Interpreter, Language, output_of

_HERE = Path(__file__).resolve().parent
_OLDEST = (1, 5)
# One thread each: a forked child has only the thread that forked. No folder of packages: only the standard library.
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
        interpreter = _on_path(on_path)
        if interpreter is not None:
            return interpreter
    return _private(Path(os.environ.get("AZR_JAX_JULIA_ROOT") or compiled.folder("julia-root")))


def _on_path(command: str) -> Interpreter | None:
    # Asked for its own folder: juliaup's `julia` is a launcher that does not work inside the sandbox.
    version, _, folder = output_of(command, "--startup-file=no", "-e", _DESCRIBE).partition("\n")
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        return None
    installation = Path(folder).resolve().parent
    read_only = () if installation == Path("/usr") else (installation,)
    return Interpreter((str(Path(folder).resolve() / "julia"),), version, read_only, environment=_ENVIRONMENT)


def _private(root: Path) -> Interpreter | None:
    # The installation script writes the version last: without it the folder is incomplete.
    try:
        version = (root / ".complete").read_text().strip()
    except OSError:
        return None
    return Interpreter(("/usr/bin/julia",), version, root=root, environment=_ENVIRONMENT)


def harness_argv(interpreter: Interpreter, harness: str, mode: str, tier: str = "both") -> Sequence[str]:
    """The harness' argv. `tier` is "interpreted", "compiled" or "both": see harness.jl."""
    return (*interpreter.argv, *_FLAGS, harness, mode, *((f"--tier={tier}",) if mode == "--serve" else ()))


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
    program_argv=lambda interpreter, file: [*interpreter.argv, *_FLAGS, file],
    # The second thread waits for signals from outside, of which a whole program gets none.
    forking=Forking("open"),
    identity="function f(x)\n    return x\nend",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="function f(a)\n    return a\nend",
    skeleton="function f(first, second)\n    <state that changes step by step>\n    return <result>\nend",
    skeleton_input="<first>, <second>",
    canonical_program=canonical.folder("julia", line_ends=True, spaces=True),
    definition=r"^(?:@\w+[ \t]+)?function\s+NAME\s*\("
    r"|^NAME\s*\([^\n]*\)(?:\s*::\s*\w+)?(?:\s*where[^\n=]{0,80})?\s*=(?!=)"
    r"|^(?:const\s+)?NAME\s*=\s*(?:function\b|\([^()\n]*\)\s*->|\w+\s*->)",
    methods=True,
    tested=("1.5",),
    sample=(
        ('f(x) = (x * 2, Dict("a" => [x, 1]), Set([x]), string(x), 1.5x, x // 3, 1:x)', ("21", "3")),
        ('f(x) = sum(k -> k^2, 1:x) + length(split("a b c"))', ("2000",)),
        ("f(x) = sqrt(x)", ("-1.0",)),
        ("f(x) = ((", ("1",)),
    ),
    serves=True,
    syntax_errors=("ERROR: LoadError: syntax:", "ERROR: syntax:", "ParseError:"),
    # A bare Julia maps 430 MiB, and its compiler more while it works.
    memory_errors=("OutOfMemoryError()",),
    memory_overhead_mib=768,
    fence_aliases=("jl",),
    benchmark_suffix="jl",
    plain_value=_PLAIN_VALUE,
)
