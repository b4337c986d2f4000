"""Fortran: `gfortran`, whole programs alone. Tested with 12.2.

A program is compiled once, by a compiler in the sandbox of which nothing else runs there, and its executable runs once
for each test. Its values have no text that reads back without their declarations, so nothing is played in Fortran and
no job but PROGRAM is taken.
"""

from __future__ import annotations

import glob
import re
import shutil

from executors import canonical
from executors.language import Forking, Interpreter, Language, output_of

_HELLO = 'program hello\n  print *, "hello"\nend program hello'
# Errors of bounds and of overflowing stacks end a program instead of changing its memory.
_FLAGS = "-O1 -fcheck=bounds,do,mem,pointer -ffree-line-length-none -fno-backtrace"


def find() -> Interpreter | None:
    """`gfortran` on PATH, and the loader by which its executables run: the sandbox makes no file executable."""
    command = shutil.which("gfortran")
    version = output_of(command, "-dumpfullversion").strip() if command else ""
    loaders = sorted(glob.glob("/lib64/ld-linux*.so.*") + glob.glob("/lib/ld-linux*.so.*"))
    if command is None or not re.fullmatch(r"\d+(?:\.\d+)+", version) or not loaders:
        return None
    return Interpreter((command, loaders[0]), version, environment=(("TMPDIR", "."),))


def _compile(interpreter: Interpreter, file: str) -> list[str]:
    return ["/bin/sh", "-c", f"{interpreter.argv[0]} {_FLAGS} -o executable {file} && cat executable"]


LANGUAGE = Language(
    name="fortran",
    full_name="Fortran",
    fence="fortran",
    fence_aliases=("f90", "f95", "f03", "f08"),
    comment="!",
    extension=".f90",
    find=find,
    install_hint="install gfortran (tpu_scripts/install_interpreters.sh fortran) so that `gfortran` is on PATH",
    harness=None,
    harness_argv=lambda interpreter, harness, mode: [],
    program_argv=lambda interpreter, file: [interpreter.argv[1], file],
    compile_argv=_compile,
    forking=Forking("exec"),
    identity=_HELLO,
    identity_input="",
    identity_output="",
    example=_HELLO,
    canonical_program=canonical.folder("fortran", line_ends=True),
    once=False,
    memory_errors=("Error allocating", "Allocation would exceed memory limit", "out of memory"),
    memory_overhead_mib=64,
    benchmark_suffix="f90",
)
