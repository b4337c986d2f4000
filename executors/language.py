"""The `Language` record: everything the pool and the prompts need to know of one language.

A language is a folder of executors/languages, or of a directory that the user names: a package that binds
`LANGUAGE = Language(...)`, and the files that its interpreter reads, the harness first. (Or a single file NAME.py next
to its harness.)

The harness protocol. A harness is started inside the sandbox with the argv of `harness_argv` and gets requests on
descriptor 0 and writes replies on descriptor 3; descriptors 1 and 2 are /dev/null. A message is a frame: u32 count,
then for each field u32 length and that many bytes, all big-endian; text is UTF-8 (sources may hold any bytes).
  request: kind, limits as text "wall_s cpu_s memory_mib value_chars message_chars", hash seed (decimal text), source,
           input 1, ..., input n
  reply:   status (a value of `Status`), error kind, message, seconds (decimal text), peak memory in MiB (decimal text),
           value 1, ..., value n (present only when status is ok)
The kind says what a request asks for. An argument list is what a call of f has between its parentheses.
  value        the canonical text of each input, which is one literal; nothing is run, the source is empty
  arguments    the canonical text of each input, an argument list of literals; nothing is run, the source is empty.
               Unlike that of a value this text keeps whatever a program can see: the order of entries, mutability
  expressions  the same for argument lists of any expressions, evaluated without a program; f refuses to be called, and
               what can't be evaluated is `forbidden`
  evaluate     the source is a program: the canonical text of f's value for each input, an argument list of literals
In both modes the harness first writes a ready frame of one field, "ready": start-up is over and the next request's
clock may run. In serve mode (`--serve`) it then answers requests one after another, each in a fresh child process,
until end of file on descriptor 0, and enforces wall_s and cpu_s itself (the host kills the worker some 0.5 s later).
In once mode (`--once`) it answers one request in its own process and exits; there the host enforces wall_s and cpu_s,
and an end without a reply is `exit` or `crash` by its exit code.
The untrusted program's own process only claims a value; harness code that runs after it must use primitives captured
before it. The host accepts only known statuses, never `infrastructure` or `nondeterministic`, and has every claimed
text read back by a "value" or "arguments" request in a clean child: one that does not read as itself is
`unserialisable`.

What the sandbox gives a harness. Its folder (that of `harness`) read-only at /azr/harness; executors/inside, which a
harness in Python may import, at /azr/inside (a word of `harness_argv` that begins with {inside} is there); a read-only
system without network; no writable folder at all but for whole programs; environment: PATH, HOME=/, LANG=C.UTF-8,
TZ=UTC, those of `Interpreter.environment` (where the text {hash_seed} becomes the worker's hash seed, different in the
second process of a determinism check, where TZ is another and LD_PRELOAD names a library that shifts the date), and
these:
  AZR_INSIDE        path of executors/inside
  AZR_CHILD_FILTER  path of a seccomp program, raw `struct sock_filter[]` (8 bytes an instruction, native byte order)
  AZR_NEW_PID       "1": the harness holds CAP_SYS_ADMIN in its user namespace and starts every child with raw
                    clone(CLONE_NEWPID | SIGCHLD); "0": namespaces are refused on this machine, use clone(SIGCHLD)
Already set on the harness by the host: no_new_privs, RLIMIT_CORE 0, RLIMIT_FSIZE, RLIMIT_NOFILE, and a seccomp filter
that refuses sockets, ptrace, mount, keys, bpf, other namespaces and so on, but allows fork and exec.
A serving harness: at start read AZR_CHILD_FILTER into memory that stays, prctl(PR_SET_DUMPABLE = 4, 0); then for each
request make a pipe, clone, and in the child, before any of the program's text is looked at:
  1. setsid(); prctl(PR_SET_PDEATHSIG = 1, SIGKILL = 9); /dev/null over descriptors 0, 1, 2 and 3, close all others but
     the pipe's write end (any number);
  2. setrlimit RLIMIT_AS (9) to VmSize now + memory_mib (Node: RLIMIT_DATA (2)), RLIMIT_CPU (0) to ceil(cpu_s) + 1;
  3. drop all capabilities: capset(header {0x20080522, 0}, data = 24 zero bytes), a function of libc;
  4. prctl(PR_SET_SECCOMP = 22, SECCOMP_MODE_FILTER = 2, &fprog), fprog = {u16 count = bytes / 8, pad, pointer}: after
     it fork, vfork, exec, opening any file for writing, memfd, System V IPC and signals to others are refused
     (EPERM; clone3 gives ENOSYS, threads by clone are allowed).
The child is PID 1 of its namespace: signals with default action are ignored there (abort and SIGALRM too), so
the parent watches: poll the pipe until the limit, read at most what a legal reply can hold (more: kill and
`output_limit`), check its CPU time with clock_gettime(clockid = (~pid << 3) | 2) (over cpu_s: kill and `timeout`),
then always kill(pid, SIGKILL) and wait4(pid) (ru_maxrss for the memory), and check the claimed frame (count, lengths,
status).
An end without a complete frame is `exit` when it exited, `crash` when a signal killed it.
In once mode the same process does steps 2 to 4 after reading the request (its reply goes to descriptor 3).
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# A `plain_value` of floats in most languages. At most 14 digits, so that the shortest text that reads back is this one;
# from 1e-4 on there is no exponent.
PLAIN_FLOAT = r"-?(?:0\.(?!0000)|[1-9][0-9]{0,6}\.)(?:0|[0-9]{0,6}[1-9])"


@dataclasses.dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter found on this machine: its argv prefix, version, and folders the sandbox must show read-only.

    `root` is a folder to be used as / of the sandbox (a private installation), or None for the machine's own system.
    """

    argv: tuple[str, ...]
    version: str
    read_only: tuple[Path, ...] = ()
    root: Path | None = None
    environment: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Forking:
    """How a started interpreter forks for each test of a whole program (sandbox/fork_server.py).

    point: where it waits for a program: "start", before its own main function; "open", when it opens the program's
    file; "read", when it reads the file's first line; "peek", when it reads the file a second time, after a first look
    that finds a blank; "exec": a small process waits, and each fork of it starts the interpreter. argv: from
    interpreter and file to the argv of the interpreter that waits, if it is not that of program_argv. programs: a
    regular expression (never exponential) that the beginning of a program must match; any other one starts an
    interpreter for each test.
    """

    point: str
    argv: Callable[[Interpreter, str], Sequence[str]] | None = None
    programs: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Language:
    """One language: names for prompts, how to find and start its interpreter, limits, examples.

    name: config and command-line name, lower case; full_name: as prompts say it ("Racket"); fence: tag of its fenced
    code blocks; comment: its line-comment marker, and comment_end the end marker if a comment needs one; extension: of
    source files, with the dot.
    find: the interpreter, or None if it is not installed; install_hint: the command that installs it.
    harness: the harness file, None for a language of whole programs only (identity is one then); harness_argv: from
    interpreter, harness path (as seen inside) and mode ("--once", "--serve") to argv. serves: whether `--serve` is
    supported; once: whether `--once` is: without it a cold start is a serving harness that is asked once. hosted.py
    makes harness_argv for an interpreter that can't contain itself.
    program_argv: from interpreter and file to the argv of a whole program; by default the interpreter's with the file.
    forking: how tests of a whole program run in forks; None: each starts a sandbox with an interpreter.
    compile_argv: from interpreter and file to the argv of what compiles a whole program and writes the executable to
    its standard output; program_argv then gets the executable. None: a program is run as its text.
    syntax_errors: substrings of stderr that mark a syntax error of a whole program.
    identity: a program whose f returns its argument; identity_input, identity_output: a value for it, canonical;
    example: a minimal program in the language, shown in prompts. skeleton, skeleton_input: the form of a program of two
    arguments and of its input, with words in <angle brackets> so that neither runs.
    tested: versions of the interpreter, or their beginnings ("1.5"), that the warm server was tested with. sample:
    programs with inputs that any other version is tried on, warm and cold, when a pool opens.
    forbidden: source substrings or reader-level names refused before running, only if the language needs it.
    memory_overhead_mib: address space that the bare interpreter needs on top of a job's limit (PROGRAM jobs).
    memory_errors: substrings of stderr that mark a whole program's end for lack of memory.
    build: compiles what makes the language start faster, once per machine, and returns its path; None: nothing to do.
    threads: whether evaluated programs may start threads of the operating system; False if the runtime starts none and
    runs the language's threads itself.
    hardens: whether the harness puts AZR_CHILD_FILTER on the process that runs a program, as it should; where it can't,
    the filter from outside lets nothing be opened for writing.
    benchmark_suffix: MultiPL-E's name of the language, used in its files' names ("rkt", "jl"); empty: not in MultiPL-E.
    benchmark_tests: how its benchmark tests are written, as texts by key; azr_jax/evaluation/languages/added.py reads
    them for a language that the package does not have.
    plain_value: a regular expression (of the whole text, never exponential) of texts that are surely canonical, such as
    integers and flat lists of them: no process reads them back. Empty: every text is read back.
    definition: a regular expression (multi-line, searched) that finds each top-level definition of the function NAME;
    empty: not known. methods: whether one name may have several definitions, by the types of its arguments. header: a
    regular expression (multi-line) of lines that must come first in a file.
    exports: a regular expression (multi-line) of what exports definitions from a module, which the interpreter refuses
    in a program; self-play leaves it out.
    canonical_program: source text to the form in which duplicates are recognised (white space and comments folded).
    tree_size: source text to (nodes, depth) of the language's own syntax tree, or None for a text that has none; only
    for metrics. None: Python has no parser of the language.
    """

    name: str
    full_name: str
    fence: str
    comment: str
    extension: str
    find: Callable[[], Interpreter | None]
    install_hint: str
    harness: Path | None
    harness_argv: Callable[[Interpreter, str, str], Sequence[str]]
    identity: str
    identity_input: str
    identity_output: str
    example: str
    canonical_program: Callable[[str], str]
    program_argv: Callable[[Interpreter, str], Sequence[str]] = lambda interpreter, file: (*interpreter.argv, file)
    forking: Forking | None = None
    compile_argv: Callable[[Interpreter, str], Sequence[str]] | None = None
    serves: bool = False
    tested: tuple[str, ...] = ()
    sample: tuple[tuple[str, tuple[str, ...]], ...] = ()
    once: bool = True
    forbidden: tuple[str, ...] = ()
    syntax_errors: tuple[str, ...] = ()
    memory_errors: tuple[str, ...] = ()
    build: Callable[[], Path] | None = None
    memory_overhead_mib: int = 0
    threads: bool = True
    hardens: bool = True
    fence_aliases: tuple[str, ...] = ()
    comment_end: str = ""
    definition: str = ""
    methods: bool = False
    header: str = ""
    exports: str = ""
    skeleton: str = "<definition of f, of two arguments>"
    skeleton_input: str = "<first> and <second>"
    benchmark_suffix: str = ""
    benchmark_tests: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    plain_value: str = ""
    tree_size: Callable[[str], tuple[int, int] | None] | None = None

    def commented(self, text: str) -> str:
        """`text`, one line, as a comment."""
        return f"{self.comment} {text} {self.comment_end}".rstrip()


def installed(names: Sequence[str], pattern: str, flag: str = "--version") -> tuple[str, str] | None:
    """The first command on PATH with an accepted version, and the version: the group of `pattern` in its output."""
    for name in names:
        command = shutil.which(name)
        version = re.search(pattern, output_of(command, flag) if command else "")
        if command and version:
            return command, version[1]
    return None


@functools.cache
def output_of(*argv: str) -> str:
    """What a command prints, on standard error if it prints nothing else; empty if it fails or takes a minute."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout or done.stderr
