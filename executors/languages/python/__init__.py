"""Python: the interpreter this process runs on, its harness, and its texts in prompts."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import platform
import sys
import tokenize
from pathlib import Path

from executors.language import PLAIN_FLOAT, Forking, Interpreter, Language

_ATOM = (
    r"(?:True|False|None|0|-?[1-9][0-9]{0,400}|'[ !-&(-\[\]-~]*'"
    rf"|{PLAIN_FLOAT})"
)
_PLAIN_VALUE = rf"{_ATOM}|\[(?:{_ATOM}(?:, {_ATOM})*)?\]|\((?:{_ATOM},|{_ATOM}(?:, {_ATOM})+)?\)"
# What programs may import besides the standard library, if the environment of this process has it.
PACKAGES = ("numpy", "numpy.libs", "sympy", "mpmath")
_FLAGS = ("-s", "-S", "-B", "-X", "utf8")


def find() -> Interpreter:
    """The interpreter that this process runs on, outside any virtual environment."""
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    prefix = Path(os.path.realpath(sys.base_prefix))
    read_only = () if prefix.is_relative_to("/usr") else (prefix,)
    environment = [("PYTHONHASHSEED", "{hash_seed}"), ("PYTHONHOME", str(prefix))]
    packages = _packages()
    if packages:
        environment += [("PYTHONPATH", str(packages[0].parent)), ("OPENBLAS_NUM_THREADS", "1")]
    return Interpreter(
        (executable,), platform.python_version(), (*read_only, *packages), environment=tuple(environment)
    )


def _packages() -> tuple[Path, ...]:
    """The folders of PACKAGES that are installed beside numpy, with the libraries bundled with numpy."""
    numpy = importlib.util.find_spec("numpy")
    if numpy is None or numpy.origin is None:
        return ()
    site = Path(numpy.origin).resolve().parents[1]
    return tuple(folder for name in PACKAGES if (folder := site / name).is_dir())


def harness_argv(interpreter: Interpreter, harness: str, mode: str) -> list[str]:
    """The argv of the harness in `mode`. -P keeps the harness's folder off the import path."""
    return [*interpreter.argv, "-P", *_FLAGS, harness, mode]


def canonical_program(source: str) -> str:
    """`source` without comments and blank lines, one space between tokens, one tab per level; stripped if broken."""
    lines, depth, words = [], 0, []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            match token.type:
                case tokenize.INDENT:
                    depth += 1
                case tokenize.DEDENT:
                    depth -= 1
                case tokenize.NEWLINE:
                    lines.append("\t" * depth + " ".join(words))
                    words = []
                case tokenize.COMMENT | tokenize.NL | tokenize.ENDMARKER:
                    pass
                case _:
                    words.append(token.string)
    except (tokenize.TokenError, SyntaxError):
        return source.strip()
    return "\n".join(lines)


def tree_size(source: str) -> tuple[int, int] | None:
    """(nodes, depth) of the abstract syntax tree, not counting the module; None if the source has none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    level, nodes, depth = list(ast.iter_child_nodes(tree)), 0, 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return nodes, depth


LANGUAGE = Language(
    name="python",
    full_name="Python",
    fence="python",
    comment="#",
    extension=".py",
    find=find,
    install_hint="Python is what runs this project",
    harness=Path(__file__).with_name("harness.py"),
    harness_argv=harness_argv,
    program_argv=lambda interpreter, file: [*interpreter.argv, "-s", "-B", "-X", "utf8", file],
    forking=Forking("open"),
    identity="def f(x):\n    return x",
    identity_input="'Hello World'",
    identity_output="'Hello World'",
    example="def f(a):\n    return a",
    skeleton="def f(first, second):\n    <state that changes step by step>\n    return <result>",
    skeleton_input="<first>, <second>",
    header=r"^from __future__ [^\n]*\n?",
    definition=r"^(?:async\s+)?def\s+NAME\s*\(|^NAME\s*(?::[^=\n]{1,80})?=\s*lambda\b",
    canonical_program=canonical_program,
    tested=("3.11",),
    sample=(
        ("def f(x):\n    return [x * 2, {'a': (x, 1.5)}, {x, 1}, str(x)]", ("21", "-3")),
        ("import math\ndef f(x):\n    return math.sqrt(x)", ("-1",)),
        ("def f(x):\n    return x +", ("1",)),
        ("def f(x):\n    return f(x)", ("1",)),
    ),
    serves=True,
    syntax_errors=("SyntaxError:", "IndentationError:", "TabError:"),
    memory_errors=("MemoryError",),
    memory_overhead_mib=64,
    fence_aliases=("py", "python3"),
    benchmark_suffix="py",
    plain_value=_PLAIN_VALUE,
    tree_size=tree_size,
)
