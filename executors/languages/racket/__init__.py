"""Racket: how it is found and started, its compiled harness, and its texts in prompts.

Programs are bodies of `#lang racket` modules, with or without that line; sources in another `#lang`, and whole
`(module ...)` forms, run as `racket FILE` runs them. Tested with Racket CS 8.7.

`make setup` calls `compile_harness`; without it each worker compiles the harness in memory when it starts (2 seconds).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from executors import compiled
from executors.language import Forking, Interpreter, Language, output_of

_HERE = Path(__file__).resolve().parent
_HARNESS = _HERE / "harness.rkt"
_CONFIG = Path("/etc/racket")
_OLDEST = (8, 0)

_ATOM = (
    r"(?:#t|#f|0|-?[1-9][0-9]{0,400}|'[a-z][a-z-]*"
    # Few digits, so that the shortest text that reads back is this one, without an exponent.
    r"|-?(?:0|[1-9][0-9]{0,6})\.(?:0|[0-9]{0,3}[1-9])"
    r'|"[ !#-\[\]-~]*")'
)
_PLAIN_VALUE = rf"{_ATOM}|'\(\)|\((?:list|vector)(?: {_ATOM})+\)"


def _version(command: str) -> str | None:
    """The version of the Racket CS that `command` starts, or None."""
    match = re.match(r"Welcome to Racket v([0-9]+)\.([0-9]+)([0-9.]*) \[cs\]", output_of(command, "--version"))
    if match is None or (int(match[1]), int(match[2])) < _OLDEST:
        return None
    return f"{match[1]}.{match[2]}{match[3]}"


def compiled_path(version: str) -> Path:
    """The folder of the compiled harness, which may not exist: its name is a digest of the version and the sources."""
    digest = hashlib.sha256(version.encode())
    for source in sorted(_HERE.glob("*.rkt")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return compiled.folder("racket") / f"harness-{digest.hexdigest()[:12]}"


def compile_harness() -> Path:
    """Compile the harness if needed; returns its folder. Raises ValueError if Racket is missing or fails."""
    interpreter = find()
    if interpreter is None:
        raise ValueError(f"no Racket CS on PATH: {LANGUAGE.install_hint}")
    target = compiled_path(interpreter.version)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / "harness"
        partial.mkdir()
        for source in _HERE.glob("*.rkt"):
            shutil.copy(source, partial)
        files = [str(file) for file in sorted(partial.glob("*.rkt"))]
        argv = [*interpreter.argv, "-l-", "raco", "make", *files]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ValueError(f"{' '.join(argv)} fails: {done.stderr.strip()[-2000:]}")
        try:
            partial.rename(target)
        except OSError:  # another process was faster
            if not target.exists():
                raise
    return target


def find() -> Interpreter | None:
    """`racket` on PATH: Racket CS, at least version 8.0."""
    command = shutil.which("racket")
    version = _version(command) if command else None
    if command is None or version is None:
        return None
    # An installation outside the system's folders is <prefix>/bin/racket.
    prefix = Path(command).resolve().parent.parent
    read_only = [] if prefix.is_relative_to("/usr") else [prefix]
    # Debian's Racket finds its compiled libraries through this folder; without them a start takes minutes.
    if _CONFIG.is_dir():
        read_only.append(_CONFIG)
    environment: tuple[tuple[str, str], ...] = ()
    folder = compiled_path(version)
    if folder.exists():
        read_only.append(folder)
        environment = (("AZR_RACKET_HARNESS", str(folder / _HARNESS.name)),)
    return Interpreter((command,), version, tuple(read_only), environment=environment)


def harness_argv(interpreter: Interpreter, harness: str, mode: str) -> list[str]:
    """The argv of the harness in `mode`: the compiled one if there is one."""
    return [*interpreter.argv, dict(interpreter.environment).get("AZR_RACKET_HARNESS", harness), mode]


def _waiting_argv(interpreter: Interpreter, file: str) -> list[str]:
    """`racket FILE` after loading what programs need, if the harness is compiled."""
    harness = dict(interpreter.environment).get("AZR_RACKET_HARNESS")
    preload = ["-t", str(Path(harness).with_name("preload.rkt"))] if harness else []
    return [*interpreter.argv, *preload, "-u", file]


class _LexError(Exception):
    """The source is no sequence of Racket tokens."""


_BLANK = re.compile(r"\s+|;[^\n\r\u2028\u2029]*|#![ /](?:\\\n|[^\n])*")
_COMMENT_MARK = re.compile(r"#\||\|#")
_LANG = re.compile(r"#lang racket(?=\s|\Z)")
_STRING = re.compile(r'(?:#(?:rx|px)?#?)?"(?:[^"\\]|\\.)*"', re.DOTALL)
_HERE_STRING = re.compile(r"#<<([^\n]*)\n(?:.*?\n)??\1(?=\n|\Z)", re.DOTALL)
_CHARACTER = re.compile(r"#\\(?:[0-7]{3}|[uU][0-9a-fA-F]{1,8}|[^\W\d_]+|.)", re.DOTALL)
_OPEN = re.compile(r"(?:#(?:[0-9]*|fl[0-9]*|fx[0-9]*|s|hash|hasheq|hasheqv))?[(\[{]")
_PREFIX = re.compile(r",@|[',`]|#,@|#['`,&]")
_WORD = re.compile(r"(?:\\.|\|[^|]*\||[^\s()\[\]{}\"',`;|\\])+", re.DOTALL)
_PARENTHESES = str.maketrans("[{]}", "(())")


def _comment_end(source: str, start: int) -> int:
    """The end of the nested block comment that starts at `start`."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(source, start):
        depth += 1 if mark[0] == "#|" else -1
        if depth == 0:
            return mark.end()
    raise _LexError


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """Kind (prefix, open, close, skip, atom) and text of every token except comments."""
    at = 0
    while at < len(source):
        if match := _BLANK.match(source, at):
            at = match.end()
        elif source.startswith("#|", at):
            at = _comment_end(source, at)
        elif source.startswith("#;", at):
            yield "skip", "#;"
            at += 2
        elif source[at] in ")]}":
            yield "close", ")"
            at += 1
        else:
            kind, end = _token_at(source, at)
            text = source[at:end]
            yield kind, text.translate(_PARENTHESES) if kind == "open" else text
            at = end


def _token_at(source: str, at: int) -> tuple[str, int]:
    """The kind and the end of the token at `at`."""
    for kind, pattern in (
        ("atom", _STRING),
        ("atom", _HERE_STRING),
        ("atom", _CHARACTER),
        ("open", _OPEN),
        ("prefix", _PREFIX),
        ("atom", _WORD),
    ):
        if match := pattern.match(source, at):
            return kind, match.end()
    raise _LexError


def _without_next_datum(tokens: list[tuple[str, str]]) -> None:
    """Drop the next datum from `tokens`, the rest of a program in reverse."""
    depth = 0
    while tokens:
        kind, _ = tokens.pop()
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if depth < 0:
            break
        if depth == 0 and kind != "prefix":
            return
    raise _LexError


def canonical_program(source: str) -> str:
    """`source` without comments (`#;` too) and `#lang racket`, with round brackets only and spaces where needed.

    A source that is no sequence of tokens is only stripped.
    """
    try:
        tokens = list(_tokens(_without_lang(source)))
        rest: list[tuple[str, str]] = []
        for kind, text in reversed(tokens):
            if kind == "skip":
                _without_next_datum(rest)
            else:
                rest.append((kind, text))
    except _LexError:
        return source.strip()
    pieces: list[str] = []
    previous = "open"
    for kind, text in reversed(rest):
        if pieces and pieces[-1].startswith("#<<"):
            pieces.append("\n")
        elif previous not in ("open", "prefix") and kind != "close":
            pieces.append(" ")
        pieces.append(text)
        previous = kind
    return "".join(pieces)


def tree_size(source: str) -> tuple[int, int] | None:
    """(nodes, depth) of the program as data, the tree that Racket's reader makes: atoms and lists; None if broken."""
    nodes = depth = deepest = 0
    try:
        for kind, _ in _tokens(_without_lang(source)):
            if kind == "close":
                depth -= 1
                if depth < 0:
                    return None
            elif kind in ("open", "atom"):
                nodes += 1
                deepest = max(deepest, depth + 1)
                depth += kind == "open"
    except _LexError:
        return None
    return None if depth else (nodes, deepest)


def _without_lang(source: str) -> str:
    """`source` after its `#lang racket`, which comes before everything but comments."""
    at = 0
    while at < len(source):
        if match := _BLANK.match(source, at):
            at = match.end()
        elif source.startswith("#|", at):
            at = _comment_end(source, at)
        else:
            match = _LANG.match(source, at)
            return source[match.end() :] if match else source
    return source


LANGUAGE = Language(
    name="racket",
    full_name="Racket",
    fence="racket",
    comment=";;",
    extension=".rkt",
    find=find,
    install_hint="install Racket CS 8 or later (Debian: apt install --no-install-recommends racket)",
    harness=_HARNESS,
    harness_argv=harness_argv,
    # The waiting interpreter configures its run time as these languages do.
    forking=Forking("open", argv=_waiting_argv, programs=r"\s*(?:;[^\n]*\n\s*)*#lang racket(?:/base)?\s"),
    identity="(define (f x)\n  x)",
    identity_input='"Hello World"',
    identity_output='"Hello World"',
    example="(define (f a)\n  a)",
    skeleton="(define (f first second)\n  <state that changes step by step>\n  <result>)",
    skeleton_input="<first> <second>",
    header=r"^#lang[^\n]*\n?",
    definition=r"^\(define(?:/contract|/match)?\s+(?:\(\s*NAME[\s)]|NAME\s+\((?:case-)?(?:lambda|λ)[\s(])",
    canonical_program=canonical_program,
    tested=("8.7",),
    sample=(
        ("(define (f x) (list (* x 2) (hash 'a (vector x 1.5)) (set x 1) (~a x) (/ x 4)))", ("21", "-3")),
        ("(define (f x) (car x))", ("1",)),
        ("(define (f x) (", ("1",)),
        ("(define (f x) (for/sum ([k x]) (string-length (number->string k))))", ("2000",)),
    ),
    serves=True,
    syntax_errors=(
        "read-syntax: ",
        ": unbound identifier\n",
        ": bad syntax",
        "module: identifier already ",
        ": duplicate ",
        ": missing procedure expression",
        "standard-module-name-resolver: ",
    ),
    memory_errors=("out of memory",),
    memory_overhead_mib=192,
    build=compile_harness,
    fence_aliases=("scheme", "rkt", "lisp"),
    benchmark_suffix="rkt",
    plain_value=_PLAIN_VALUE,
    tree_size=tree_size,
)
