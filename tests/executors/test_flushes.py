"""Flushes to the disk: refused where nothing can be written, without effect where a whole program saves its own files.

In every language that can ask for one; Lua and R have no call that does.
"""

from __future__ import annotations

import json

import pytest
from test_leaks import by_length
from test_tiers import run_with

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.doctor import landlock_version
from executors.sandbox.launch import Tier
from executors.sandbox.probe import probe

LIMITS = Limits(wall_s=60.0, cpu_s=30.0)
# f(x): which flushes of a file opened for reading succeed, as a sum of powers of two; fsync is 1, fdatasync 2.
FLUSHES = {
    "python": """
import os
def f(x):
    file = os.open("/usr/bin/env", os.O_RDONLY)
    done = 0
    for bit, flush in ((1, os.fsync), (2, os.fdatasync)):
        try:
            flush(file)
            done += bit
        except OSError:
            pass
    return done
""",
    "javascript": """
const fs = require('fs');
function f(x) {
  const file = fs.openSync('/usr/bin/env', 'r');
  let done = 0;
  for (const [bit, flush] of [[1, fs.fsyncSync], [2, fs.fdatasyncSync]]) {
    try { flush(file); done += bit; } catch (error) { if (!error.code) throw error; }
  }
  return done;
}
""",
    "julia": """
function f(x)
    file = ccall(:open, Cint, (Cstring, Cint), "/usr/bin/env", 0)
    (ccall(:fsync, Cint, (Cint,), file) == 0) + 2 * (ccall(:fdatasync, Cint, (Cint,), file) == 0)
end
""",
    "racket": """
(require ffi/unsafe)
(define-syntax-rule (foreign name type) (get-ffi-obj name #f type))
(define (f x)
  (define file ((foreign "open" (_fun #:varargs-after 2 _path _int -> _int)) "/usr/bin/env" 0))
  (for/sum ([name '("fsync" "fdatasync")] [bit '(1 2)])
    (if (zero? ((foreign name (_fun _int -> _int)) file)) bit 0)))
""",
    "ocaml": """
#load "unix.cma";;
let f x =
  let file = Unix.openfile "/usr/bin/env" [Unix.O_RDONLY] 0 in
  try Unix.fsync file; 1 with Unix.Unix_error _ -> 0
""",
    "ruby": """
def f(x)
  file = File.open('/usr/bin/env')
  [[1, :fsync], [2, :fdatasync]].sum do |bit, flush|
    file.send(flush)
    bit
  rescue SystemCallError
    0
  end
end
""",
    "perl": """
use IO::Handle;
sub f {
  open my $file, '<', '/usr/bin/env' or die;
  return $file->sync ? 1 : 0;
}
""",
    "php": """
function f($x) {
  $file = fopen('/usr/bin/env', 'r');
  return (@fsync($file) ? 1 : 0) + (@fdatasync($file) ? 2 : 0);
}
""",
    "scheme": """
(define (f x)
  (let ((file (open-input-file "/usr/bin/env")))
    (catch 'system-error (lambda () (fsync file) 1) (lambda _ 0))))
""",
}
# Whole programs that save a file of their own as careful ones do, and print what it holds.
SAVES = {
    "python": """
import mmap, os
with open("a.txt", "w") as file:
    file.write("kept")
    file.flush()
    os.fsync(file.fileno())
mmap.mmap(-1, 4096).flush()
print(open("a.txt").read())
""",
    "javascript": """
const fs = require('fs');
const file = fs.openSync('a.txt', 'w');
fs.writeSync(file, 'kept'); fs.fsyncSync(file); fs.closeSync(file);
fs.writeFileSync('b.txt', 'kept', { flush: true });
console.log(fs.readFileSync('b.txt', 'utf8'));
""",
    "julia": """
open("a.txt", "w") do file
    write(file, "kept"); flush(file)
    ccall(:fsync, Cint, (Cint,), fd(file)) == 0 || error("fsync")
end
println(read("a.txt", String))
""",
    "racket": """
#lang racket
(require ffi/unsafe ffi/unsafe/port)
(call-with-output-file "a.txt" (lambda (out)
  (write-string "kept" out) (flush-output out)
  (unless (zero? ((get-ffi-obj "fsync" #f (_fun _long -> _int)) (unsafe-port->file-descriptor out))) (exit 1))))
(displayln (file->string "a.txt"))
""",
    "ocaml": """
#load "unix.cma";;
let () =
  let out = open_out "a.txt" in
  output_string out "kept"; flush out; Unix.fsync (Unix.descr_of_out_channel out); close_out out;
  print_endline (input_line (open_in "a.txt"))
""",
    "lua": """
local file = io.open('a.txt', 'w'); file:write('kept'); file:flush(); file:close()
print(io.open('a.txt'):read('a'))
""",
    "r": """
file <- file('a.txt', 'w'); writeLines('kept', file); flush(file); close(file)
writeLines(readLines('a.txt'))
""",
    "ruby": """
File.open('a.txt', 'w') { |file| file.write('kept'); file.fsync; file.fdatasync }
puts File.read('a.txt')
""",
    "perl": """
use IO::Handle;
open my $file, '>', 'a.txt' or die; print $file 'kept'; $file->flush; $file->sync or die 'sync'; close $file;
open $file, '<', 'a.txt' or die; print <$file>, "\\n";
""",
    "php": """<?php
$file = fopen('a.txt', 'w'); fwrite($file, 'kept'); if (!fsync($file)) exit(1); fclose($file);
echo file_get_contents('a.txt'), "\\n";
""",
    "scheme": """
(call-with-output-file "a.txt" (lambda (file) (display "kept" file) (force-output file) (fsync file)))
(display (call-with-input-file "a.txt" read)) (newline)
""",
}


@pytest.mark.parametrize("name", by_length(SAVES))
def test_flushes(name):
    if LANGUAGES[name].find() is None:
        pytest.skip(f"{name} is not installed")
    for cold in (False, True) if name in FLUSHES else ():
        with Pool(name, workers=1, limits=LIMITS, cold=cold) as pool:
            verdict = pool.submit(Job("flush", JobKind.EVALUATE, FLUSHES[name], ("1",))).result()
            assert (verdict.status, verdict.values) == (Status.OK, ("0",)), (cold, verdict)
    with Pool(name, workers=1, limits=LIMITS) as pool:
        verdict = pool.submit(Job("save", JobKind.PROGRAM, SAVES[name])).result()
        assert (verdict.status, verdict.stdout) == (Status.OK, "kept\n"), verdict


@pytest.mark.ci
@pytest.mark.parametrize("tier", ["landlock", "limits"])
def test_flushes_without_namespaces(tier):
    if tier == "landlock" and not landlock_version():
        pytest.skip("this kernel has no Landlock")
    if probe(Tier.LIMITS).fault:
        pytest.skip("this machine refuses seccomp")
    # A Julia in its own root needs namespaces.
    names = [name for name in SAVES if name != "julia" and LANGUAGES[name].find() is not None]
    script = f"""
        import json
        from executors import Job, JobKind, Limits, Pool
        limits = Limits(wall_s=60.0, cpu_s=30.0)
        flushes, saves, ends = {FLUSHES!r}, {SAVES!r}, {{}}
        for name in {names!r}:
            with Pool(name, workers=1, limits=limits, allow_tier={tier!r}) as pool:
                flushed, saved = (), Job("save", JobKind.PROGRAM, saves[name])
                if name in flushes:
                    flushed = pool.submit(Job("flush", JobKind.EVALUATE, flushes[name], ("1",))).result().values
                ends[name] = [pool.tier.name.lower(), *flushed, pool.submit(saved).result().stdout]
        print(json.dumps(ends))
    """
    done = run_with("root", script, namespaces=False, landlock=tier == "landlock")
    assert done.returncode == 0, done.stderr
    # In the least tier a whole program writes no file.
    saved = "" if tier == "limits" else "kept\n"
    assert json.loads(done.stdout) == {name: [tier, *["0"] * (name in FLUSHES), saved] for name in names}
