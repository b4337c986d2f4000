"""R: its own executable under R's home, started afresh for each program. Tested with 4.2.2.

Programs are files as `Rscript FILE` runs them: expression by expression in the global environment, with the default
packages; a file that doesn't parse runs up to the line of the error. f is called with the value itself.

Values: NULL, logical, integer, double, complex, character and raw vectors, and lists, with names and all other
attributes (matrices, factors, data frames and other S3 objects as `structure(...)`, attributes in alphabetical order).
A vector of one element is written as that element, `NA` with its type except the logical one, and strings in UTF-8.
`1`, `1L`, `TRUE` and `"1"` differ; so do `NA` and `NaN`; `0` and `-0` are equal, as for `identical`. R's strings hold
no NUL, and there are no big integers. Not values: functions, environments, S4 objects, language objects, and anything
nested deeper than R's parser reads.
An input may use c, list, structure, matrix, array, data.frame, factor, `:` and the like with such values inside.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from executors import canonical, hosted
from executors.language import Forking, Interpreter, Language, output_of

# What R maps with its default packages and locale.
_OVERHEAD_MIB = 192
_MEMORY_ERRORS = ("cannot allocate", "memory exhausted", "Cannot allocate memory")
_CONFIG = Path("/etc/R")
_FLAGS = ("--no-echo", "--no-restore", "--no-save", "--no-environ", "--no-init-file")
_PROFILE = Path(__file__).resolve().with_name("profile.R")


def find() -> Interpreter | None:
    """The executable in the home of the `R` on PATH: `R` itself is a shell script, which starts processes."""
    command = shutil.which("R")
    version = re.search(r"R version (\d[\d.]*)", output_of(command, "--version")) if command else None
    home = output_of(command, "RHOME").strip() if command else ""
    if version is None or not home:
        return None
    executable = os.path.join(home, "bin", "exec", "R")
    if not os.path.exists(executable):
        return None
    read_only = [_PROFILE] if Path(home).is_relative_to("/usr") else [_PROFILE, Path(home)]
    if _CONFIG.is_dir():
        read_only.append(_CONFIG)
    environment = {
        "R_HOME": home,
        "R_PROFILE": str(_PROFILE),
        "R_SHARE_DIR": _beside(home, "/usr/share/R/share", "share"),
        "R_INCLUDE_DIR": _beside(home, "/usr/share/R/include", "include"),
        "R_DOC_DIR": _beside(home, "/usr/share/R/doc", "doc"),
        "LD_LIBRARY_PATH": os.path.join(home, "lib"),
        # One thread: results don't depend on the machine, and no program starts threads.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # R insists on a temporary folder. A whole program starts in the only one that it can write; for others mkdir in
        # /tmp succeeds without effect.
        "TMPDIR": ".",
    }
    return hosted.interpreter((executable,), version[1], read_only, list(environment.items()))


def _beside(home: str, debian: str, name: str) -> str:
    return debian if home == "/usr/lib/R" else os.path.join(home, name)


_DOUBLE = r"(?:0|-?[1-9][0-9]{0,4}|-?(?:0\.(?!0000)|[1-9][0-9]{0,6}\.)[0-9]{0,6}[1-9])"
_INTEGER = r"(?:0L|-?[1-9][0-9]{0,8}L)"
_STRING = r'"[ !#-\[\]-~]*"'


def _vector(atom: str) -> str:
    return rf"{atom}|c\({atom}(?:, {atom})+\)"


LANGUAGE = Language(
    name="r",
    full_name="R",
    fence="r",
    fence_aliases=("rscript",),
    comment="#",
    extension=".R",
    find=find,
    install_hint="install R 4 or later (Debian: apt install r-base-core) so that `R` is on PATH",
    harness=Path(__file__).with_name("harness.R"),
    harness_argv=hosted.harness_argv(
        lambda _, harness: [*_FLAGS, f"--file={harness}"],
        memory_overhead_mib=_OVERHEAD_MIB,
        memory_errors=_MEMORY_ERRORS,
        reply=2,
        # Values need only the package base; loading the others takes half of the time.
        value_environment={"R_DEFAULT_PACKAGES": "NULL"},
    ),
    program_argv=lambda interpreter, file: [*interpreter.argv, *_FLAGS, f"--file={file}"],
    forking=Forking("read"),
    identity="f <- function(x) {\n  x\n}",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="f <- function(a) {\n  a\n}",
    skeleton="f <- function(first, second) {\n  <state that changes step by step>\n  <result>\n}",
    skeleton_input="<first>, <second>",
    definition=r"^NAME\s*(?:<-|=)\s*(?:function\b|\\\()",
    canonical_program=canonical.folder("r", line_ends=True),
    serves=True,
    once=False,
    syntax_errors=("Error: unexpected ", "Error: attempt to use zero-length variable name", "Error: '\\"),
    memory_errors=_MEMORY_ERRORS,
    memory_overhead_mib=_OVERHEAD_MIB,
    threads=False,
    benchmark_suffix="r",
    plain_value="|".join(("TRUE|FALSE|NULL", _vector(_DOUBLE), _vector(_INTEGER), _vector(_STRING))),
)
