"""JavaScript on Node.js: how it is found and started, its addon, and its texts in prompts.

Programs are CommonJS files as `node FILE` runs them (sloppy mode, `require` of Node's own modules). Deferred code
(timers, promises, `exit` hooks) never runs: `f` is called right after the file, and a promise is not a value. Tested
with Node 18 and 20.

`make setup` calls `build_addon`; without the addon every program starts its own Node and nothing is served warm.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from executors import compiled
from executors.language import Forking, Interpreter, Language, output_of

_HERE = Path(__file__).resolve().parent
_ADDON_SOURCE = _HERE / "clone.c"
_ADDON_PART = _HERE / "claim.c"
_OLDEST_MAJOR = 18
_ADDON_VARIABLE = "AZR_JAVASCRIPT_ADDON"
# Node's own code in large private pages: a fork inherits them, which saves each child some hundred page faults.
_SERVE_FLAGS = ("--use-largepages=silent",)
# A second thread would be lost in a fork, and costs more time at a cold start than it saves.
_FLAGS = ("--single-threaded", "--v8-pool-size=0")
# Without the addon nothing else bounds what Node allocates outside V8's heap.
_UNASSISTED_DATA_KIB = 1 << 20

_ATOM = (
    r"(?:true|false|null|undefined|NaN|-?Infinity|-?(?:0|[1-9][0-9]{0,14})|(?:0|-?[1-9][0-9]{0,400})n"
    # At most 13 digits, so that the shortest text that reads back is this one; from 1e-6 on there is no exponent.
    r'|-?(?:0|[1-9][0-9]{0,6})\.[0-9]{0,5}[1-9]|"[ !#-\[\]-~]*")'
)
_PLAIN_VALUE = rf"{_ATOM}|\[(?:{_ATOM}(?:,{_ATOM})*)?\]"


def addon_path() -> Path:
    """The path of the built addon, which may not exist: its name has the source's digest, so no old build is used."""
    digest = hashlib.sha256(_ADDON_SOURCE.read_bytes() + _ADDON_PART.read_bytes()).hexdigest()[:12]
    return compiled.folder("javascript") / f"javascript_clone-{digest}.node"


def build_addon() -> Path:
    """Compile the addon if it is missing; returns its path. Raises ValueError if there is no C compiler or it fails."""
    target = addon_path()
    if target.exists():
        return target
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise ValueError(
            "no C compiler (cc, gcc, clang) on PATH: install one (Debian: apt install gcc libc6-dev) and run "
            "`make setup` again; until then every JavaScript program starts its own Node"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    argv = [compiler, "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o", str(partial), str(_ADDON_SOURCE), "-lm"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"{' '.join(argv)} fails: {done.stderr.strip()[-2000:]}")
    partial.replace(target)
    return target


def find() -> Interpreter | None:
    """Node on PATH (`node`, or Debian's older `nodejs`), at least version 18."""
    command = shutil.which("node") or shutil.which("nodejs")
    # The executable behind the command, which may be a version manager's shim.
    asked = "process.execPath + '\\n' + process.versions.node"
    executable, _, version = (output_of(command, "-p", asked) if command else "").strip().partition("\n")
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < _OLDEST_MAJOR:
        return None
    path = Path(executable)
    # An installation outside the system's folders is <prefix>/bin/node; only that executable is shown.
    read_only = [] if path.is_relative_to("/usr") else [path]
    # Node does not start if its OpenSSL configuration exists but can't be read, as under Landlock.
    environment = [("AZR_HASH_SEED", "{hash_seed}"), ("OPENSSL_CONF", "/dev/null")]
    addon = addon_path()
    if addon.exists():
        read_only.append(addon)
        environment.append((_ADDON_VARIABLE, str(addon)))
    return Interpreter((executable,), version, tuple(read_only), environment=tuple(environment))


def harness_argv(interpreter: Interpreter, harness: str, mode: str) -> list[str]:
    """The argv of the harness in `mode`; without the addon, run by a shell that limits its memory."""
    flags = (*_FLAGS, *_SERVE_FLAGS) if mode == "--serve" else _FLAGS
    argv = [*interpreter.argv, *flags, harness, mode]
    if any(name == _ADDON_VARIABLE for name, _ in interpreter.environment):
        return argv
    return ["/bin/sh", "-c", f'ulimit -d {_UNASSISTED_DATA_KIB}; exec "$@"', "sh", *argv]


class _LexError(Exception):
    """The source is no sequence of JavaScript tokens."""


_SPACE = re.compile(r"[\s\ufeff]+")
_COMMENT = re.compile(r"//[^\n\r\u2028\u2029]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r"\"(?:[^\"\\\n\r]|\\(?:\r\n|.))*\"|'(?:[^'\\\n\r]|\\(?:\r\n|.))*'", re.DOTALL)
_WORD = re.compile(r"#?(?:[^\W\d]|\$|\\u)(?:\w|[$\\{}\u200c\u200d](?<![{}]))*")
_NUMBER = re.compile(r"0[xXoObB][\da-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?n?")
_REGEX = re.compile(r"/(?:[^/\\\[\n\r]|\\[^\n\r]|\[(?:[^\]\\\n\r]|\\[^\n\r])*\])+/\w*")
_PUNCTUATOR = re.compile(
    r">>>=|\.\.\.|===|!==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?="
    r"|=>|==|!=|<=|>=|&&|\|\||\?\?|\?\.(?!\d)|\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|>>|\*\*|[{}()\[\];,<>+\-*/%&|^!~?:=.@]"
)
_LINE_END = re.compile(r"[\n\r\u2028\u2029]")
_BEFORE_REGEX = frozenset(
    "return typeof case do else in instanceof new void delete throw yield await of extends default".split()
)
_BEFORE_CONDITION = frozenset(("if", "while", "for", "with"))
# After _OPEN_ENDED and before _CONTINUES a line end means nothing: no semicolon is inserted there.
_OPEN_ENDED = frozenset("{ ( [ , ; = == === != !== + - * / % & | ^ ! ~ ? : && || ?? => . += -= *= /= < > <= >=".split())
_CONTINUES = frozenset("} ) ] , ; . ?. : ? = == === != !== * % & | ^ && || ?? => += -= *= < > <= >=".split())


def _template(source: str, start: int) -> int:
    """The end of the template literal at `start`; its substitutions hold any tokens."""
    at = start + 1
    while at < len(source):
        if source[at] == "\\":
            at += 2
        elif source[at] == "`":
            return at + 1
        elif source.startswith("${", at):
            at += 2
            for kind, text, end in _tokens(source, at):
                at = end
                if kind == "close" and text == "}":
                    break
            else:
                raise _LexError
        else:
            at += 1
    raise _LexError


def _token_at(source: str, at: int, regex_allowed: bool) -> tuple[str, int]:
    """The kind and the end of the token at `at`."""
    if source[at] == "`":
        return "literal", _template(source, at)
    for kind, pattern in (("space", _SPACE), ("comment", _COMMENT), ("literal", _STRING), ("word", _WORD)):
        if match := pattern.match(source, at):
            return kind, match.end()
    if match := _NUMBER.match(source, at):
        return "literal", match.end()
    if source[at] == "/" and regex_allowed and (match := _REGEX.match(source, at)):
        return "literal", match.end()
    if match := _PUNCTUATOR.match(source, at):
        return "punctuator", match.end()
    raise _LexError


def _tokens(source: str, start: int) -> Iterator[tuple[str, str, int]]:
    """Kind, text and end of the tokens from `start`; kind "close" is a bracket that closes more than was opened."""
    at, previous, previous_kind = start, "", ""
    opened: list[bool] = []  # for each open bracket: whether its end is followed by a statement, as after `if (...)`
    regex_allowed = True
    while at < len(source):
        kind, end = _token_at(source, at, regex_allowed)
        text = source[at:end]
        if text in "([{" and kind == "punctuator":
            opened.append(text == "{" or (text == "(" and previous in _BEFORE_CONDITION))
            regex_allowed = True
        elif text in ")]}" and kind == "punctuator":
            if not opened:
                yield "close", text, end
                return
            regex_allowed = opened.pop()
        elif kind == "word":
            regex_allowed = text in _BEFORE_REGEX and not (previous_kind == "punctuator" and previous in (".", "?."))
        elif kind == "literal":
            regex_allowed = False
        elif kind == "punctuator":
            regex_allowed = text not in ("++", "--")
        yield kind, text, end
        if kind not in ("space", "comment"):
            previous, previous_kind = text, kind
        at = end
    if opened:
        raise _LexError


def canonical_program(source: str) -> str:
    """`source` with comments dropped, one space between tokens, and a line end only where one may end a statement.

    A source that is no sequence of tokens is only stripped.
    """
    pieces: list[str] = []
    line_end = False
    body = re.sub(r"\A\ufeff?(?:#![^\n\r]*)?", "", source)
    try:
        for kind, text, _ in _tokens(body, 0):
            if kind == "close":
                raise _LexError
            if kind in ("space", "comment"):
                line_end = line_end or bool(_LINE_END.search(text))
                continue
            if pieces:
                is_end = line_end and pieces[-1] not in _OPEN_ENDED and text not in _CONTINUES
                pieces.append("\n" if is_end else " ")
            pieces.append(text)
            line_end = False
    except (_LexError, RecursionError):
        return source.strip()
    return "".join(pieces)


LANGUAGE = Language(
    name="javascript",
    full_name="JavaScript",
    fence="javascript",
    comment="//",
    extension=".js",
    find=find,
    install_hint="install Node.js 18 or later (Debian: apt install nodejs) so that `node` is on PATH",
    harness=_HERE / "harness.js",
    harness_argv=harness_argv,
    forking=Forking("open"),
    identity="function f(x) {\n    return x;\n}",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="function f(a) {\n    return a;\n}",
    skeleton="function f(first, second) {\n    <state that changes step by step>\n    return <result>;\n}",
    skeleton_input="<first>, <second>",
    definition=r"^(?:async\s+)?function\s*\*?\s*NAME\s*\("
    # The parameters of an arrow function may have calls as defaults, and lines of their own.
    r"|^(?:const|let|var)\s+NAME\s*=\s*(?:async\s*)?"
    r"(?:function\b|\((?:[^()]|\([^()]{0,200}\)){0,300}+\)\s*=>|\w+\s*=>)",
    exports=r"^export\s++(?:default\s++)?(?=(?:async\s++)?function\b\s*+\*?\s*+\w|(?:class|const|let|var)\s++\w)"
    r"|^export\s++(?:default\s++\w++|\{[^{}\n]*+\})[ \t]*+;?[ \t]*+$",
    canonical_program=canonical_program,
    tested=("18", "20"),
    sample=(
        (
            "function f(x) { return [x * 2, { a: [x, 1.5] }, new Map([[x, 'b']]), 10n ** 20n, String(x)]; }",
            ("21", "-3"),
        ),
        ("function f(x) { return x.y.z; }", ("1",)),
        ("function f(x) {", ("1",)),
        ("function f(x) { return f(x) + 1; }", ("1",)),
    ),
    serves=addon_path().exists(),
    # The compiler's own frames: an uncaught SyntaxError that the program itself threw has none.
    syntax_errors=("    at wrapSafe (node:internal", "    at compileSourceTextModule (node:internal"),
    memory_errors=(
        "JavaScript heap out of memory",
        "Array buffer allocation failed",
        "FATAL ERROR: Reached heap limit",
    ),
    memory_overhead_mib=1024,
    build=build_addon,
    threads=False,
    hardens=addon_path().exists(),
    fence_aliases=("js", "jsx", "node", "typescript", "ts"),
    benchmark_suffix="js",
    plain_value=_PLAIN_VALUE,
)
