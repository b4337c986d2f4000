"""Languages of MultiPL-E of which only whole programs are run: no values are read or written, nothing is trained.

Each needs its interpreter on PATH and nothing else of this project. Their tests are judged in MultiPL-E's own way.
Bash is none of them: its tests start processes, which the sandbox refuses.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping

from executors import Interpreter, Language


@functools.cache
def _version(command: str, flag: str) -> str | None:
    try:
        done = subprocess.run([command, flag], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+(?:\.\d+)+", done.stdout)
    return found[0] if done.returncode == 0 and found else None


def _finder(name: str, flag: str) -> Callable[[], Interpreter | None]:
    def find() -> Interpreter | None:
        command = shutil.which(name)
        version = _version(command, flag) if command else None
        return Interpreter((command,), version) if command and version else None

    return find


def _language(name: str, full_name: str, command: str, extension: str, hello: str, package: str) -> Language:
    return Language(
        name=name,
        full_name=full_name,
        fence=name,
        fence_aliases={"perl": ("pl",), "ruby": ("rb",)}.get(name, ()),
        comment="//" if name == "php" else "#",
        extension=extension,
        find=_finder(command, "--version"),
        install_hint=f"install {full_name} (Debian: apt install {package}) so that `{command}` is on PATH",
        harness=None,
        harness_argv=lambda interpreter, harness, mode: [],
        program_argv=lambda interpreter, file: [*interpreter.argv, file],
        identity=hello,
        identity_input="",
        identity_output="",
        example=hello,
        canonical_program=str.strip,
        once=False,
        syntax_errors=("syntax error", "Parse error", "SyntaxError"),
    )


PROGRAM_LANGUAGES: Mapping[str, Language] = {
    each.name: each
    for each in (
        _language("perl", "Perl", "perl", ".pl", "print 1;", "perl"),
        _language("php", "PHP", "php", ".php", "<?php\necho 1;", "php-cli"),
        _language("ruby", "Ruby", "ruby", ".rb", "puts 1", "ruby"),
    )
}
