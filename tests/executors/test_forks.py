"""Tests of whole programs in forks of a started interpreter: as in a fresh interpreter, and apart from each other."""

import dataclasses
import os
import re
import resource
import signal
from pathlib import Path

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.sandbox import fork_server
from executors.sandbox.launch import Tier
from executors.worker import Worker

LIMITS = Limits(wall_s=20.0, cpu_s=10.0)
# What a program finds around it, how it ends, and what it prints where.
LIKE_FRESH = {
    "python": (
        "import os, sys\nprint(__name__, sys.argv, sys.path[0], os.getpid(), os.getcwd(), sorted(os.environ))\n"
        "print(os.listdir('.'), sorted(os.listdir('/proc/self/fd'))[:3], os.readlink('/proc/self'), sys.flags)\n"
        "print(sys.stdin.read().upper(), end='')",
        "import atexit, sys\natexit.register(print, 'bye')\nprint(input())\nsys.stderr.write('no\\n')\nsys.exit(3)",
        "import threading\nt = threading.Thread(target=lambda: print('thread', input()))\nt.start()\nt.join()\n1 / 0",
        "import sys\nsys.stdout.write('not flushed')\nfor line in sys.stdin:\n    pass\nprint(eval('1 +'))",
        "import os\nprint('lost')\nos._exit(7)",
        "import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: print('got'))\nos.kill(1, 15)\nos.abort()",
        "x = (",
        "import subprocess, random\nrandom.seed(3)\nprint(random.random())\nsubprocess.run(['/bin/true'])",
        "open('left', 'w').write('x')\nimport os\nprint(os.listdir())\nprint(len(bytes(400 << 20)))",
        # A thread can't take a recursive lock that the first thread holds.
        "import ctypes, threading\nc, kind, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64), "
        "ctypes.create_string_buffer(64)\nc.pthread_mutexattr_init(kind)\nc.pthread_mutexattr_settype(kind, 1)\n"
        "c.pthread_mutex_init(lock, kind)\nc.pthread_mutex_lock(lock)\n"
        "t = threading.Thread(target=lambda: print(c.pthread_mutex_trylock(lock)))\nt.start()\nt.join()\n"
        "print(open('/proc/self/oom_score_adj').read())",
    ),
    "r": (
        "x <- readLines(file('stdin'))\ncat(x, sep='|')\ncat(commandArgs(), getwd(), Sys.getpid(), '\\n')\nprint(1:3)",
        "f <- tempfile()\nwriteLines('kept', f)\nprint(readLines(f))\ninvisible(2)\nquit(status = 4)",
        "print(ls())\nprint(search())\nwarning('look')\nstop('no')",
        "print(1)\nprint(",
        "x <- 5\nx\nset.seed(1)\nrunif(1)\nreg.finalizer(globalenv(), function(e) cat('end\\n'), TRUE)",
    ),
    "lua": (
        "print(arg[0], #arg, io.read('a'), os.getenv('HOME'), os.getenv('LD_PRELOAD'))\nio.write('not flushed')",
        "io.stderr:write('e')\nos.exit(5)",
        "error({})",
        "x =",
    ),
    "ocaml": (
        "let () = print_endline Sys.argv.(0); print_string (read_line ()); at_exit (fun () -> print_string \"bye\")\n"
        "let () = print_endline (Sys.getcwd ()); failwith \"no\"",
        "let () = print_string \"kept\"; exit 3",
        "let () = print_string \"first\";;\nlet x = 1 + true",
        "let rec f n = 1 + f n\nlet () = print_int (f 1)",
    ),
    "racket": (
        "#lang racket\n(displayln (current-command-line-arguments))\n(displayln (find-system-path 'run-file))\n"
        "(write (port->string (current-input-port)))\n'(1 \"a\")\n(module+ main (displayln \"main\"))\n(eval '(+ 1 2))",
        "#lang racket\n(define (f x) (* x 2))\n(f 4)\n(display \"not flushed\")\n(eprintf \"e\")\n(exit 6)",
        "#lang racket/base\n(with-output-to-file \"f\" void)\n(directory-list)\n(error 'f \"no ~a\" 1)",
        "#lang racket\n(thread-wait (thread (lambda () (displayln (read-line)))))\n(car (current-directory))",
        "#lang racket\n(define x",
        "(module program racket/base (display 5))",
    ),
    "julia": (
        "println(ARGS, PROGRAM_FILE, abspath(PROGRAM_FILE) == @__FILE__, pwd())\nprint(uppercase(read(stdin, String)))",
        "for line in eachline() println(length(line)) end\natexit(() -> println(\"bye\"))\nexit(3)",
        "println(readline())\ntry run(`true`) catch e println(typeof(e)) end\n"
        "@async println(\"task\")\nsleep(0.01)\nprintln(stderr, \"e\")\nsqrt(-1.0)",
        "f(x) = (",
        "write(\"f\", \"text\")\nprintln(read(\"f\", String))\nt = Timer(0.01)\nwait(t)\nprint(gcd(4, 6))",
    ),
    "javascript": (
        "console.log(process.argv.slice(1), require.main === module, __filename, process.env, process.pid);\n"
        "process.stdin.on('data', (data) => console.log(String(data).length));",
        "process.on('exit', () => console.log('bye'));\nsetTimeout(() => { console.error('e'); process.exit(4); }, 5);",
        "const lines = require('readline').createInterface({ input: process.stdin });\n"
        "lines.on('line', (line) => console.log(line));\nlines.on('close', () => Promise.reject(new Error('no')));",
        "const x = (",
        "const { Worker, isMainThread, parentPort } = require('worker_threads');\n"
        "if (isMainThread) new Worker(__filename).on('message', (text) => console.log(text));\n"
        "else parentPort.postMessage('from a thread');",
        # What Node's own threads do, and those of its C library: files, keys, compression, garbage.
        # One after the other: what is done at once ends in any order.
        "require('fs').promises.readFile(__filename).then((data) => { console.log(data.length > 9);\n"
        "require('crypto').pbkdf2('a', 'b', 9, 8, 'sha1', (_, key) => { console.log(key);\n"
        "require('zlib').gzip('x', (_, data) => console.log(data.length)); }); });\n"
        "const many = []; for (let i = 0; i < 1e6; i++) many.push({ i }); console.log(many.length);",
        # The clock since the start, waiting, and signals to itself.
        "const begin = performance.now();\nconsole.log(begin < 2000, process.uptime() < 2);\n"
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30);\n"
        "console.log(performance.now() - begin > 29);\nprocess.kill(process.pid, 'SIGTERM');\n"
        "try { require('child_process').execSync('true'); } catch (error) { console.log(error.code); }",
        "const f = (n) => n ? f(n - 1) + 1 : 0;\ntry { f(1e6); } catch (error) { console.log(error.name); }\n"
        "WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])).then(() => process.abort());",
        # All threads answer.
        "process.setuid(process.getuid());\nconsole.log('mine');",
    ),
    "ruby": ("p ARGV, $0, __FILE__ == $0, $stdin.read, Process.pid\nat_exit { print 'bye' }\nraise 'no'", "exit 3",
        # Its threads and timers; the file's end as data; what has to be a line's first word.
        "require 'timeout'\nq = Queue.new\nThread.new { 3.times { |i| q << i; sleep 0.01 }; q << nil }\n"
        "while (x = q.pop) do p x end\nbegin Timeout.timeout(0.05) { loop {} } rescue p $!.class end\n"
        "p (1..3).map { |i| Thread.new { (1..99999).sum { |k| k % i } } }.map(&:value)\n"
        "trap('USR1') { puts 'got' }\nProcess.kill('USR1', $$)\nsleep 0.05\nbegin fork rescue p $!.class end",
        "# frozen_string_literal: true\nbegin 'a' << 'b' rescue p $!.class end\n"
        "p __LINE__, __dir__, caller, binding.local_variables, DATA.read\n__END__\ntext\n",
        "=begin\ntext\n=end\nputs 5", "#!/usr/bin/ruby -w\np $VERBOSE", "\ufeffputs 6", "__END__\n", "",
        "p Gem::VERSION\nrequire 'json'\nputs JSON.dump([1])\nreturn\nputs 7", "puts 8\nputs(\n"),
    "perl": ('print "@ARGV $0 $$ ", join("|", <STDIN>), "\\n";\nEND { print "bye" }\ndie "no\\n";', "exit 3"),
    "php": ("<?php print_r($argv); echo stream_get_contents(STDIN), getmypid(), getcwd();\nthrow new Exception('no');",
            "<?php register_shutdown_function(function () { echo 'bye'; });\nexit(3);"),
    "scheme": ('(use-modules (ice-9 rdelim))\n(write (command-line))\n(display (read-string))\n(error "no")',
               "(display \"not flushed\")\n(exit 3)"),
    "fortran": (
        "program p\n  character(99) :: line\n  read (*, '(a)') line\n  print *, line, command_argument_count()\n"
        "  stop 3\nend program p",
    ),
}  # fmt: skip
# Each prints a random number that it does not seed; Guile and Fortran seed with a constant, OCaml when it is told to.
RANDOM = {
    "python": ("import random\nprint(random.random())",),
    "r": ("cat(runif(1))",),
    "lua": ("print(math.random())",),
    "racket": ("#lang racket\n(random)",),
    "julia": ("print(rand())",),
    "javascript": (
        "console.log(Math.random());",
        "console.log(require('crypto').randomUUID());",
        "new (require('worker_threads').Worker)('console.log(Math.random())', { eval: true });",
    ),
    "ruby": ("puts rand",),
    "perl": ("print rand",),
    "php": ("<?php echo mt_rand();",),
}
STDIN = "first line\nsecond\n"
# Run in the default tests: quick in a fresh interpreter too.
_DEFAULT = ("lua",)


def forks():
    return fork_server.library() is not None


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in _DEFAULT else pytest.mark.ci) for name in sorted(LIKE_FRESH)]
)
def test_a_fork_behaves_as_a_fresh_interpreter(name):
    language = LANGUAGES[name]
    interpreter = language.find()
    if interpreter is None or not forks():
        pytest.skip(f"no {name} interpreter or no C compiler here")
    worker = Worker(language, interpreter, Tier.NAMESPACES, LIMITS)
    try:
        for source in LIKE_FRESH[name]:
            fresh, forked = (worker.run_program("1", source.encode(), STDIN.encode(), fork) for fork in (False, True))
            for field in ("status", "exit_code", "stdout", "stderr", "message"):
                assert getattr(forked, field) == getattr(fresh, field), (source, field)
        for source in RANDOM.get(name, ()):
            draws = {worker.run_program("2", source.encode(), b"", fork=True).stdout for _ in range(3)}
            assert len(draws) == 3, source
        # A whole program that the fork server refuses would have been compared with itself.
        server = worker._forks._server
        assert server is not None and server.usable
        assert int(Path(f"/proc/{server.contained.pid}/oom_score_adj").read_text()) < 1000, "programs die first"
    finally:
        worker.close()


def run(pool, source, stdin, expected=None, **more):
    return pool.submit(Job("1", JobKind.PROGRAM, source, stdin=stdin, expect_stdout=expected, **more)).result()


# Each prints `none` if it finds nothing of an earlier test: files, processes, descriptors, memory, what it inherited.
_TRACES = """
import ctypes, glob, os, re, signal, socket, sys, time
mark = re.compile(rb'MARKED[0-9]{6}')
text = sys.stdin.read()
found = []
for path in glob.glob('/tmp/**', recursive=True) + ['/proc/self/environ']:
    if os.path.isfile(path) and path != __file__ and mark.search(open(path, 'rb').read()):
        found.append(path)
found += [name for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid()]
found += [fd for fd in os.listdir('/proc/self/fd') if int(fd) > 2 and os.path.exists('/proc/self/fd/' + fd)]
if not mark.search(text.encode()):
    with open('/proc/self/mem', 'rb', 0) as memory:
        for line in open('/proc/self/maps'):
            begin, end = (int(edge, 16) for edge in line.split()[0].split('-'))
            if line.split()[1].startswith('rw'):
                memory.seek(begin)
                found += mark.findall(memory.read(end - begin))
for attempt in (os.fork, lambda: os.kill(-1, 9), lambda: open('/proc/sys/kernel/core_pattern', 'w'),
                lambda: open('/azr/x', 'w'), lambda: socket.socket(), lambda: os.unshare(0x10000000),
                lambda: os.mkdir('/new'), lambda: os.listdir('/home')):
    try:
        done = attempt()
        found.append(repr(done))
    except (OSError, AttributeError):
        pass
c = ctypes.CDLL(None)
lasting = c.shmget(1, 4096, 0o1600), c.msgget(1, 0o1600), c.semget(1, 1, 0o1600), c.mq_open(b'/q', 0o102, 0o600, None)
found += [number for number in lasting if number >= 0]
for name in ('left', 'deep/er'):
    os.makedirs(name)
    open(name + '/file', 'w').write(text)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(found or 'none')
"""
# Ends of programs, after each of which the next test finds a working server.
_ENDS = {
    "while True: pass": (Status.TIMEOUT,),
    "import time\ntime.sleep(60)": (Status.TIMEOUT,),
    "import os, time\nos.close(0); os.close(1); os.close(2)\ntime.sleep(60)": (Status.TIMEOUT,),
    "while True: print('x' * 1000)": (Status.OUTPUT_LIMIT,),
    "x = bytearray(1 << 31)": (Status.MEMORY,),
    "import os\nos._exit(137)": (Status.CRASH,),
    "import ctypes\nctypes.string_at(0)": (Status.CRASH,),
    "import os\nfor n in range(3, 256):\n    try: os.write(n, b'D 0 0')\n    except OSError: 1": (Status.OK,),
    "with open('f', 'wb') as f:\n    while True: f.write(bytes(1 << 16))": (Status.CRASH, Status.RUNTIME_ERROR),
    "for n in range(99):\n    with open(str(n), 'wb') as f: f.write(bytes(1 << 20))": (Status.RUNTIME_ERROR,),
    "for n in range(9999): open(str(n), 'w').close()": (Status.RUNTIME_ERROR,),
}


@pytest.mark.ci
def test_a_test_finds_nothing_of_another_and_reaches_nobody():
    if not forks():
        pytest.skip("no C compiler here")
    with Pool("python", workers=1, limits=Limits(wall_s=1.5, cpu_s=1.0, memory_mib=256)) as pool:
        stdin = ("MARKED123456", "a", "b")
        verdict = run(pool, _TRACES, stdin, ("none",) * 3, all_tests=True)
        assert verdict.correct, verdict
        for source, statuses in _ENDS.items():
            assert run(pool, source, ("",)).status in statuses, source
            assert run(pool, "print(int(input()) + 1)", ("41",), ("42",)).correct, source


def test_a_killed_server_is_replaced_and_one_that_fails_is_not_used(caplog, monkeypatch, tmp_path):
    language, interpreter = LANGUAGES["lua"], LANGUAGES["lua"].find()
    if interpreter is None or not forks():
        pytest.skip("no lua interpreter or no C compiler here")
    worker = Worker(language, interpreter, Tier.NAMESPACES, LIMITS)
    try:
        assert worker.run_program("1", b"print(1)", fork=True).stdout == "1\n"
        first = worker._forks._server
        assert first is not None
        os.killpg(first.contained.process.pid, signal.SIGKILL)
        assert worker.run_program("2", b"print(2)", fork=True).stdout == "2\n"
        second = worker._forks._server
        assert second is not first and second is not None and not caplog.records
        second.end("E something is wrong")
        assert worker.run_program("3", b"print(3)", fork=True).stdout == "3\n"
        assert worker._forks._server is None and "something is wrong" in caplog.text
    finally:
        worker.close()
    bad = tmp_path / "bad.c"
    bad.write_text("#include <not_there.h>\n")
    monkeypatch.setattr(fork_server, "_SOURCE", bad)
    for library, said in ((fork_server.library.__wrapped__, "not_there.h"), (lambda: None, "no C compiler")):
        monkeypatch.setattr(fork_server, "library", library)
        worker = Worker(language, interpreter, Tier.NAMESPACES, LIMITS)
        assert worker.run_program("4", b"print(4)", fork=True).stdout == "4\n"
        assert said in caplog.text


def test_a_server_serves_a_process_with_many_descriptors_and_tells_why_it_was_killed(monkeypatch):
    language, interpreter = LANGUAGES["lua"], LANGUAGES["lua"].find()
    if interpreter is None or not forks():
        pytest.skip("no lua interpreter or no C compiler here")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most[1], 4096), most[1]))
    worker = Worker(language, interpreter, Tier.NAMESPACES, LIMITS)
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1024)]
    try:
        assert worker.run_program("1", b"print(1)", fork=True).stdout == "1\n"
        server = worker._forks._server
        assert server is not None and server.usable
        launch = worker._program("program.lua", b"while true do end", b"")
        process = server.begin(dataclasses.replace(launch, memory_mib=64, cpu_s=5.0))
        # The kernel's count can be asked for only while the server's control group is there.
        monkeypatch.setattr(server.contained, "ran_out_of_memory", lambda: server.usable)
        os.killpg(server.contained.process.pid, signal.SIGKILL)
        assert process.exit_code(9.0) == 128 + signal.SIGKILL and process.ran_out_of_memory()
        process.kill()
    finally:
        worker.close()
        for descriptor in many:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, most)


def test_which_racket_programs_fork_is_decided_at_once():
    forking = LANGUAGES["racket"].forking
    assert forking is not None
    for text, forked in (
        ("; a\n\n;;b ; c\n #lang racket/base\n", True),
        ("; #lang racket\n1", False),
        ("; " * 9999, False),
    ):
        assert bool(re.match(forking.programs, text)) is forked


def test_other_tiers_and_cold_pools_do_not_fork():
    language, interpreter = LANGUAGES["lua"], LANGUAGES["lua"].find()
    if interpreter is None:
        pytest.skip("no lua interpreter here")
    for tier, cold in ((Tier.LANDLOCK, False), (Tier.NAMESPACES, True)):
        worker = Worker(language, interpreter, tier, LIMITS, cold=cold)
        assert worker.run_program("1", b"print(1)", fork=True).stdout == "1\n"
        assert worker._forks._server is None
