"""Nothing of one program reaches the next: what its worker's processes hold, and what a program starts with."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from processes import descendants

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status

LIMITS = Limits(wall_s=60.0, cpu_s=30.0)
WARM = [name for name, language in LANGUAGES.items() if language.serves and language.once]
# f raises its argument as a message.
RAISES = {
    "python": "def f(x):\n    raise ValueError(x)",
    "javascript": "function f(x) { throw new TypeError(x); }",
    "julia": "f(x) = error(x)",
    "racket": "(define (f x) (error x))",
}
ABSENT = {
    "python": "def f(x):\n    return {name}",
    "javascript": "function f(x) {{ return {name}; }}",
    "julia": "f(x) = {name}",
    "racket": "(define (f x) (dynamic-require '{name} 'x))",
}
READS = {
    "python": "def f(path):\n    try:\n        return open(path).read()\n    except OSError:\n        return 'none'",
    "javascript": "const fs = require('fs');\n"
    "function f(path) { try { return fs.readFileSync(path, 'latin1'); } catch { return 'none'; } }",
    "julia": 'f(path) = try read(path, String) catch; "none" end',
    "racket": '(define (f path) (with-handlers ([void (lambda (_) "none")]) (call-with-input-file path port->string)))',
    "lua": "function f(path) local file = io.open(path); return file and file:read('a') or 'none' end",
    "r": "f <- function(path) tryCatch(paste(readLines(path), collapse = '\\n'), error = function(e) 'none', "
    "warning = function(w) 'none')",
}
# Changes whatever it can of the descriptors and the process that it was given.
CHANGES = {
    "python": """
import fcntl, os, signal
def f(x):
    for number in range(32):
        for change in (
            lambda: fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND),
            lambda: os.lseek(number, 7, os.SEEK_CUR),
            lambda: fcntl.flock(number, fcntl.LOCK_SH),
            lambda: signal.signal(number, signal.SIG_IGN),
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [number]),
        ):
            try:
                change()
            except (OSError, ValueError):
                pass
    os.umask(0o777)
    os.environ["LEFT"] = "behind"
    return x
""",
    "julia": """
function f(x)
    for fd in 0:31
        ccall(:fcntl, Cint, (Cint, Cint, Cint), fd, 4, 0o6000)
        ccall(:lseek, Clong, (Cint, Clong, Cint), fd, 7, 1)
        ccall(:flock, Cint, (Cint, Cint), fd, 1)
        ccall(:signal, Ptr{Cvoid}, (Cint, Ptr{Cvoid}), fd, Ptr{Cvoid}(1))
    end
    ccall(:umask, Cint, (Cint,), 0o777)
    return x
end
""",
    "racket": """
(require ffi/unsafe)
(define-syntax-rule (foreign name type) (get-ffi-obj name #f type))
(define set-flags (foreign "fcntl" (_fun #:varargs-after 2 _int _int _int -> _int)))
(define seek (foreign "lseek" (_fun _int _long _int -> _long)))
(define lock (foreign "flock" (_fun _int _int -> _int)))
(define (f x)
  (for ([fd 32]) (set-flags fd 4 #o6000) (seek fd 7 1) (lock fd 1))
  x)
""",
    "javascript": """
const { Pipe, constants } = process.binding('pipe_wrap');
function f(x) {
  for (let fd = 0; fd < 32; fd++) try { new Pipe(constants.SOCKET).open(fd); } catch {}
  process.umask(0o777);
  process.title = 'changed';
  return x;
}
""",
    "lua": "function f(x) io.stdin:read('a'); io.stdout:seek('cur', 7); os.setlocale('C'); return x end",
    "r": "f <- function(x) { readLines(file('stdin')); Sys.setenv(LEFT = 'behind'); Sys.umask('777'); x }",
}
PATHS = [f"/proc/self/fdinfo/{number}" for number in range(12)] + ["/proc/self/status", "/proc/self/comm"]
PATHS += ["/proc/self/oom_score_adj", "/proc/self/personality", "/proc/self/limits"]
# What differs from process to process whoever ran before, or is how much memory a server has by now.
OWN = re.compile(r"^(?:Pid|Ngid|NSt?g?pid|NSpid|NSpgid|NSsid|NStgid|Tgid|PPid|Vm|Rss|HugetlbPages|\w*ctxt|Max address|"
                 r"Max cpu|Max data|ino:|mnt_id|SigQ|Cpus|Mems|eventfd|tfd).*", re.MULTILINE)  # fmt: skip


def by_length(names: Iterable[str]) -> list[object]:
    """`names`, those whose interpreters take long marked for CI."""
    return [pytest.param(name, marks=pytest.mark.ci) if name in ("julia", "racket", "r") else name for name in names]


def copies(marker: str) -> int:
    """How often the marker is in the memory of the processes below this one."""
    count, needle = 0, marker.encode()
    for pid in descendants(os.getpid()):
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with open(f"/proc/{pid}/mem", "rb") as memory:
            for line in maps:
                edges, access, *_ = line.split()
                start, end = (int(edge, 16) for edge in edges.split("-"))
                if not access.startswith("rw") or end - start > 1 << 30:
                    continue
                memory.seek(start)
                try:
                    count += memory.read(end - start).count(needle)
                except OSError:
                    continue
    return count


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of a process that is closed to others")
@pytest.mark.parametrize("name", by_length(WARM))
def test_nothing_that_was_asked_or_claimed_stays_in_a_worker(name):
    if LANGUAGES[name].find() is None:
        pytest.skip(f"{name} is not installed")
    marker = "leak" + os.urandom(8).hex()
    text = json.dumps(marker)
    with Pool(name, workers=1, limits=LIMITS) as pool:
        jobs = [
            Job("raised", JobKind.EVALUATE, RAISES[name], (text,)),
            Job("absent", JobKind.EVALUATE, ABSENT[name].format(name=marker), ("1",)),
            Job("value", JobKind.EVALUATE, LANGUAGES[name].identity, (text,), expect=(text,)),
            Job("refused", JobKind.VALUE, inputs=(f"{marker}(1)",)),
        ]
        verdicts = pool.run_all(jobs)
        assert verdicts[0].status is verdicts[1].status is Status.RUNTIME_ERROR or name == "racket", verdicts
        assert verdicts[2].correct is True
        assert copies(marker) == 0


@pytest.mark.parametrize("name", by_length(READS))
def test_a_program_starts_as_if_none_had_been_before(name):
    if LANGUAGES[name].find() is None:
        pytest.skip(f"{name} is not installed")
    inputs = tuple(json.dumps(path) for path in PATHS)
    with Pool(name, workers=1, limits=LIMITS) as pool:
        walk = Job("walk", JobKind.EVALUATE, READS[name], inputs)

        def seen() -> list[str]:
            verdict = pool.submit(walk).result()
            assert verdict.status is Status.OK, verdict
            return [OWN.sub("", value.replace("\\n", "\n").replace("\\t", " ")) for value in verdict.values]

        before = seen()
        assert pool.submit(Job("change", JobKind.EVALUATE, CHANGES[name], ("1",))).result().status is Status.OK
        assert seen() == before
