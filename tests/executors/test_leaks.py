"""Nothing of one program reaches the next: what its worker's processes hold, and what a program starts with."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import BY_NAME
from processes import descendants

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status

LIMITS = Limits(wall_s=60.0, cpu_s=30.0, value_chars=1 << 18)
# f raises its argument as a message.
RAISES = {
    "python": "def f(x):\n    raise ValueError(x)",
    "javascript": "function f(x) { throw new TypeError(x); }",
    "julia": "f(x) = error(x)",
    "racket": "(define (f x) (error x))",
    "lua": "function f(x) error(x) end",
    "perl": "sub f { die $_[0] }",
    "php": "<?php function f($x) { throw new Exception($x); }",
    "scheme": "(define (f x) (error x))",
    "ruby": "def f(x) = raise(x)",
    "ocaml": "let f x = if true then failwith x else x",
    "r": "f <- function(x) stop(x)",
}
ABSENT = {
    "python": "def f(x):\n    return {name}",
    "javascript": "function f(x) {{ return {name}; }}",
    "julia": "f(x) = {name}",
    "racket": "(define (f x) (dynamic-require '{name} 'x))",
    "lua": "function f(x) return {name}.x end",
    "perl": "sub f {{ return {name}() }}",
    "php": "<?php function f($x) {{ return {name}(); }}",
    "scheme": "(define (f x) {name})",
    "ruby": "def f(x) = {name}",
    "ocaml": "let f x = raise (Failure {name})",
    "r": "f <- function(x) {name}",
}
# What a file holds, or a variable of the environment.
READS = {
    "python": "import os\ndef f(path):\n    try:\n        return open(path).read() if '/' in path else "
    "os.environ[path]\n    except (OSError, KeyError):\n        return 'none'",
    "javascript": "const fs = require('fs');\nfunction f(path) { try { return path.includes('/') ? "
    "fs.readFileSync(path, 'latin1') : process.env[path] ?? 'none'; } catch { return 'none'; } }",
    "julia": 'f(path) = try occursin("/", path) ? read(path, String) : ENV[path] catch; "none" end',
    "racket": '(define (f path) (with-handlers ([void (lambda (_) "none")]) (if (regexp-match? "/" path) '
    '(call-with-input-file path port->string) (or (getenv path) "none"))))',
    "lua": "function f(path)\n  if not path:find('/') then return os.getenv(path) or 'none' end\n"
    "  local file = io.open(path); return file and file:read('a') or 'none'\nend",
    # Perl and PHP write over the memory that /proc/self/environ shows.
    "perl": "sub f {\n    my ($path) = @_;\n"
    "    return join ' ', map { \"$_=$ENV{$_}\" } sort keys %ENV if $path =~ /environ/;\n"
    "    return $ENV{$path} // 'none' if $path !~ m{/};\n"
    "    open my $in, '<', $path or return 'none';\n    local $/;\n    my $text = <$in> // 'none';\n"
    "    $text =~ tr/\\0//d;\n    return $text;\n}",
    "php": "<?php function f($path) {\n    if ($path === '/proc/self/environ') return http_build_query(getenv());\n"
    "    if (!str_contains($path, '/')) return getenv($path) ?: 'none';\n"
    "    $text = @file_get_contents($path);\n"
    "    return $text === false ? 'none' : str_replace(chr(0), '', $text);\n}",
    "scheme": "(use-modules (ice-9 textual-ports))\n(define (f path)\n  (if (not (string-index path #\\/))\n"
    '      (or (getenv path) "none")\n      (catch #t (lambda () (string-delete #\\nul (call-with-input-file path '
    'get-string-all))) (lambda _ "none"))))',
    "ruby": "def f(path) = path.include?('/') ? File.binread(path).delete(\"\\0\") : ENV.fetch(path, 'none') "
    "rescue 'none'",
    "ocaml": """
let f path =
  if not (String.contains path '/') then Option.value (Sys.getenv_opt path) ~default:"none" else
  try
    let channel = open_in_bin path and text = Buffer.create 4096 in
    (try while true do Buffer.add_channel text channel 1 done with End_of_file -> ());
    Buffer.contents text
  with Sys_error _ -> "none"
""",
    "r": "f <- function(path) {\n  if (!grepl('/', path)) return(Sys.getenv(path, 'none'))\n"
    "  read <- function(...) { bytes <- readBin(path, 'raw', 1e5); rawToChar(bytes[bytes != 0]) }\n"
    "  tryCatch(read(), error = function(e) 'none', warning = function(w) 'none')\n}",
}
# Changes whatever it can of the descriptors and the process that it was given.
CHANGES = {
    "python": """
import ctypes, fcntl, os, resource, signal
def f(x):
    for number in range(32):
        for change in (
            lambda: resource.setrlimit(number, (1 << 20, 1 << 20)),
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
    libc = ctypes.CDLL(None)
    libc.prctl(4, 1, 0, 0, 0)
    libc.prctl(15, b"changed", 0, 0, 0)
    libc.personality(0x0040000)
    return x
""",
    "julia": """
function f(x)
    for fd in 0:31
        ccall(:fcntl, Cint, (Cint, Cint, Cint), fd, 4, 0o6000)
        ccall(:lseek, Clong, (Cint, Clong, Cint), fd, 7, 1)
        ccall(:flock, Cint, (Cint, Cint), fd, 1)
        ccall(:signal, Ptr{Cvoid}, (Cint, Ptr{Cvoid}), fd, Ptr{Cvoid}(1))
        ccall(:setrlimit, Cint, (Cint, Ref{NTuple{2,UInt}}), fd, (UInt(1) << 20, UInt(1) << 20))
    end
    ccall(:prctl, Cint, (Cint, Culong, Culong, Culong, Culong), 4, 1, 0, 0, 0)
    ccall(:prctl, Cint, (Cint, Cstring, Culong, Culong, Culong), 15, "changed", 0, 0, 0)
    ccall(:personality, Cint, (Culong,), 0x0040000)
    ENV["LEFT"] = "behind"
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
(define control (foreign "prctl" (_fun #:varargs-after 1 _int _long _long _long _long -> _int)))
(define ignore (foreign "signal" (_fun _int _intptr -> _intptr)))
(define limit (foreign "setrlimit" (_fun _int (_list i _long) -> _int)))
(define (f x)
  (for ([fd 32]) (set-flags fd 4 #o6000) (seek fd 7 1) (lock fd 1) (ignore fd 1)
    (limit fd (list 1048576 1048576)))
  (control 4 1 0 0 0)
  ((foreign "umask" (_fun _int -> _int)) #o777)
  ((foreign "personality" (_fun _long -> _int)) #x0040000)
  (putenv "LEFT" "behind")
  x)
""",
    "javascript": """
const fs = require('fs');
const { Pipe, constants } = process.binding('pipe_wrap');
function f(x) {
  for (let fd = 0; fd < 32; fd++) {
    try { fs.readSync(fd, Buffer.alloc(7)); } catch {}
    try { new Pipe(constants.SOCKET).open(fd); } catch {}
  }
  process.env.LEFT = 'behind';
  process.umask(0o777);
  process.title = 'changed';
  return x;
}
""",
    "ocaml": """
#load "unix.cma";;
let f x =
  for number = 0 to 31 do
    let descriptor : Unix.file_descr = Obj.magic number in
    List.iter (fun change -> try change () with Unix.Unix_error _ | Invalid_argument _ | Sys_error _ -> ()) [
      (fun () -> Unix.set_nonblock descriptor);
      (fun () -> ignore (Unix.lseek descriptor 7 Unix.SEEK_CUR));
      (fun () -> Unix.lockf descriptor Unix.F_TLOCK 0);
      (fun () -> Sys.set_signal number Sys.Signal_ignore);
      (fun () -> ignore (Unix.sigprocmask Unix.SIG_BLOCK [number]))]
  done;
  ignore (Unix.umask 0o777);
  Unix.putenv "LEFT" "behind";
  x
""",
    "perl": """
use Fcntl qw(:DEFAULT :flock);
sub f {
    for my $fd (0 .. 31) {
        $SIG{$_} = 'IGNORE' for keys %SIG;
        open my $file, '<&=', $fd or next;
        fcntl $file, F_SETFL, O_NONBLOCK | O_APPEND;
        sysseek $file, 7, 1;
        flock $file, LOCK_SH;
    }
    umask 0777;
    $ENV{LEFT} = 'behind';
    $0 = 'changed';
    return $_[0];
}
""",
    "php": """<?php
function f($x) {
    for ($fd = 0; $fd < 32; $fd++) {
        $fd > 0 && $fd != SIGKILL && $fd != SIGSTOP && pcntl_signal($fd, SIG_IGN);
        posix_setrlimit($fd, 1 << 20, 1 << 20);
        if ($file = @fopen("php://fd/$fd", 'r')) {
            stream_set_blocking($file, false);
            fseek($file, 7, SEEK_CUR);
            flock($file, LOCK_SH);
        }
    }
    umask(0777);
    putenv('LEFT=behind');
    cli_set_process_title('changed');
    return $x;
}
""",
    "scheme": """
(define (f x)
  (do ((fd 0 (+ fd 1))) ((= fd 32))
    (for-each
     (lambda (change) (catch #t change (lambda _ #f)))
     (list (lambda () (setrlimit fd 1048576 1048576))
           (lambda () (sigaction fd SIG_IGN))
           (lambda () (seek (fdopen fd "r") 7 SEEK_CUR))
           (lambda () (fcntl (fdopen fd "r") F_SETFL (logior O_NONBLOCK O_APPEND)))
           (lambda () (flock fd LOCK_SH)))))
  (umask #o777)
  (setenv "LEFT" "behind")
  x)
""",
    "ruby": """
require 'fcntl'
def f(x)
  32.times do |fd|
    file = IO.for_fd(fd, autoclose: false) rescue next
    file.fcntl(Fcntl::F_SETFL, File::NONBLOCK | File::APPEND) rescue nil
    file.sysseek(7, IO::SEEK_CUR) rescue nil
    file.flock(File::LOCK_SH) rescue nil
    trap(fd, "IGNORE") rescue nil
    Process.setrlimit(fd, 1 << 20, 1 << 20) rescue nil
  end
  File.umask(0o777)
  ENV["LEFT"] = "behind"
  Process.setproctitle("changed")
  x
end
""",
    "lua": "function f(x) io.stdin:read('a'); io.stdout:seek('cur', 7); os.setlocale('C'); return x end",
    "r": "f <- function(x) { readLines(file('stdin')); Sys.setenv(LEFT = 'behind'); Sys.umask('777'); x }",
}
PATHS = [f"/proc/self/fdinfo/{number}" for number in range(24)] + ["/proc/self/status", "/proc/self/comm"]
PATHS += ["/proc/self/oom_score_adj", "/proc/self/personality", "/proc/self/limits", "/proc/self/environ", "LEFT", "TZ"]
# What differs from process to process whoever ran before, or is how much memory a server has by now.
OWN = re.compile(r"^(?:Pid|Ngid|NSt?g?pid|NSpid|NSpgid|NSsid|NStgid|Tgid|PPid|Vm|Rss|HugetlbPages|\w*ctxt|Max address|"
                 r"Max cpu|Max data|ino:|mnt_id|SigQ|Cpus|Mems|eventfd|tfd).*", re.MULTILINE)  # fmt: skip
QUOTED = ("'UTC'", '"UTC"')
# A mapping that the server and all its children write.
SHARED = re.compile(r"\brw.s ")


def by_length(names: Iterable[str]) -> list[object]:
    """`names`, those whose interpreters take long marked for CI."""
    return [
        pytest.param(name, marks=pytest.mark.ci) if name in ("julia", "racket", "ocaml", "r", *BY_NAME) else name
        for name in names
    ]


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
@pytest.mark.parametrize("name", by_length(RAISES))
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
        assert {verdicts[0].status, verdicts[1].status} <= {Status.RUNTIME_ERROR, Status.SYNTAX_ERROR}, verdicts
        assert verdicts[2].correct is True
        # A server wipes what it has just written; what it keeps stays.
        end = time.monotonic() + 10
        while (left := copies(marker)) and time.monotonic() < end:
            time.sleep(0.05)
        assert left == 0


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

        maps = pool.submit(Job("maps", JobKind.EVALUATE, READS[name], ('"/proc/self/maps"',))).result().values[0]
        assert "/" in maps and SHARED.search(maps) is None
        before = seen()
        assert [text for text in before[:2] if "none" in text] == [] and "TZ=UTC" in before[-3] and before[-1] in QUOTED
        assert pool.submit(Job("change", JobKind.EVALUATE, CHANGES[name], ("1",))).result().status is Status.OK
        assert seen() == before


# What a program can do to files of the machine that it may only read: all that the kernel would remember of it.
TOUCHES = """
import ctypes, fcntl, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def f(change):
    seen = []
    for path in ("/usr/bin/env", "/dev/null", "/dev/urandom"):
        fd = os.open(path, os.O_RDONLY)
        for action in (
            lambda: fcntl.flock(fd, fcntl.LOCK_SH),
            lambda: fcntl.fcntl(fd, fcntl.F_SETLK, struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0)),
            lambda: fcntl.fcntl(fd, 37, struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0)),
            lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
            lambda: fcntl.fcntl(fd, 1036, struct.pack("Q", 3)),
            lambda: fcntl.fcntl(fd, 1038, struct.pack("Q", 3)),
            lambda: os.setxattr(fd, "user.left", b"behind"),
            lambda: os.utime(fd, (1, 1)),
            lambda: os.fchmod(fd, 0o4755),
        ):
            try:
                if change:
                    action()
                    seen.append("could")
            except OSError:
                pass
        stat = os.stat(fd)
        try:
            hint = fcntl.fcntl(fd, 1035, bytes(8)).hex()
        except OSError:
            hint = "none"
        seen += [hint, stat.st_mode, stat.st_mtime_ns, os.listxattr(fd)]
    return str(seen)
"""


@pytest.mark.parametrize("kind", [JobKind.EVALUATE, JobKind.PROGRAM])
def test_the_machine_remembers_nothing_that_a_program_did_to_its_files(kind):
    def touched(pool: Pool, change: int) -> str:
        if kind is JobKind.EVALUATE:
            verdict = pool.submit(Job("touch", kind, TOUCHES, (str(change),))).result()
            return verdict.values[0].strip("'\"")
        return pool.submit(Job("touch", kind, f"{TOUCHES}\nprint(f({change}))")).result().stdout.strip()

    with Pool("python", workers=1, limits=LIMITS) as pool:
        before, changing = touched(pool, 0), touched(pool, 1)
        assert "could" not in changing and "st_mode" not in before and "[" in before
    with Pool("python", workers=1, limits=LIMITS) as pool:
        assert touched(pool, 0) == before == changing
