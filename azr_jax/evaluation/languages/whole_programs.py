"""Languages in which only whole programs run: no values are read or written, and nothing is trained.

Each needs its interpreter on PATH and nothing else of this project. Their tests are judged in MultiPL-E's own way.
Bash is not among them: its tests start processes, which the sandbox refuses.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

from executors import Interpreter, Language
from executors.language import output_of


def _finder(name: str) -> Callable[[], Interpreter | None]:
    def find() -> Interpreter | None:
        command = shutil.which(name)
        version = re.search(r"\d+(?:\.\d+)+", output_of(command, "--version") if command else "")
        return Interpreter((command,), version[0]) if command and version else None

    return find


def whole_program_language(
    name: str, full_name: str, extension: str, hello: str, package: str, comment: str = "#"
) -> Language:
    """The executors' record of a language whose command is its name. `hello`: a program that ends with 0."""
    return Language(
        name=name,
        full_name=full_name,
        fence=name,
        fence_aliases=() if extension == f".{name}" else (extension[1:],),
        comment=comment,
        extension=extension,
        benchmark_suffix=extension[1:],
        find=_finder(name),
        install_hint=f"install {full_name} (Debian: apt install {package}) so that `{name}` is on PATH",
        harness=None,
        harness_argv=lambda interpreter, harness, mode: [],
        identity=hello,
        identity_input="",
        identity_output="",
        example=hello,
        canonical_program=str.strip,
        once=False,
        syntax_errors=("syntax error", "Parse error", "SyntaxError"),
    )
