"""PHP: `php`, started afresh for each program. Tested with 8.2.

Programs are files as `php FILE` runs them, with assertions on (`zend.assertions=1`); one without any `<?php` is read as
code. f is called with positional and named arguments.

Values: null, booleans, integers, floats (`INF`, `NAN` for what has no literal), strings of any bytes, and arrays in
their order, which `===` compares too. `1`, `1.0`, `true` and `"1"` differ. Objects, closures and resources are not
values, and there are no big integers.
"""

from __future__ import annotations

from pathlib import Path

from executors import canonical, hosted
from executors.language import PLAIN_FLOAT, Forking, Interpreter, Language, installed

# What the bare interpreter maps; its harness ends a program a little earlier, by PHP's own limit.
_OVERHEAD_MIB = 160
_MEMORY_ERRORS = ("Allowed memory size", "Out of memory")
_CONFIG = Path("/etc/php")
_SETTINGS = ("display_errors=0", "log_errors=1", "error_log=", "html_errors=0", "zend.assertions=1",
             "opcache.enable_cli=0")  # fmt: skip
_FLAGS = tuple(word for setting in _SETTINGS for word in ("-d", setting))


def find() -> Interpreter | None:
    """`php` on PATH, of version 8.1 or later."""
    installation = installed(("php",), r"\APHP ((?:8\.[1-9]|8\.\d\d|9\.)[.\d]*)")
    if installation is None:
        return None
    return hosted.interpreter((installation[0],), installation[1], [_CONFIG] if _CONFIG.is_dir() else [])


_ATOM = (
    r'(?:null|true|false|0|-?[1-9][0-9]{0,17}|"[ !#%-\[\]-~]*"'
    rf"|{PLAIN_FLOAT})"
)

LANGUAGE = Language(
    name="php",
    full_name="PHP",
    fence="php",
    comment="//",
    extension=".php",
    find=find,
    install_hint="install PHP 8.1 or later (tpu_scripts/install_interpreters.sh php) so that `php` is on PATH",
    harness=Path(__file__).with_name("harness.php"),
    harness_argv=hosted.harness_argv(
        lambda _, harness: [*_FLAGS, harness],
        memory_overhead_mib=_OVERHEAD_MIB,
        memory_errors=(),
    ),
    program_argv=lambda interpreter, file: [*interpreter.argv, *_FLAGS, file],
    forking=Forking("open"),
    identity="<?php\nfunction f($x) {\n    return $x;\n}",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="<?php\nfunction f($a) {\n    return $a;\n}",
    skeleton="<?php\nfunction f($first, $second) {\n    <state that changes step by step>\n    return <result>;\n}",
    skeleton_input="<first>, <second>",
    definition=r"^function\s+&?NAME\s*\(",
    header=r"\A\s*<\?php\b",
    canonical_program=canonical.folder("php", spaces=True),
    serves=True,
    once=False,
    syntax_errors=(
        "PHP Parse error: ",
        "PHP Fatal error:  Cannot ",
        "PHP Fatal error:  'break' not in",
        "PHP Fatal error:  'continue' not in",
    ),
    memory_errors=_MEMORY_ERRORS,
    memory_overhead_mib=_OVERHEAD_MIB,
    threads=False,
    benchmark_suffix="php",
    plain_value=rf"{_ATOM}|\[(?:{_ATOM}(?:, {_ATOM})*)?\]",
)
