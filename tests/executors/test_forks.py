"""Tests of whole programs in forks of a started interpreter: as in a fresh interpreter, and apart from each other."""

import os
import signal

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.sandbox import fork_server
from executors.sandbox.launch import Tier
from executors.worker import Worker

LIMITS = Limits(wall_s=20.0, cpu_s=10.0)
# What a program finds around it, how it ends, and what it prints where.
LIKE_FRESH = {
    "python": (
        "import os, sys\nprint(__name__, sys.argv, sys.path[0], os.getpid(), os.getcwd(), sorted(os.environ), __file__)\n"
        "print(os.listdir('.'), sorted(os.listdir('/proc/self/fd'))[:3], os.readlink('/proc/self'), sys.flags)\n"
        "print(sys.stdin.read().upper(), end='')",
        "import atexit, sys\natexit.register(print, 'bye')\nprint(input())\nsys.stderr.write('no\\n')\nsys.exit(3)",
        "import threading\nt = threading.Thread(target=lambda: print('in thread', input()))\nt.start()\nt.join()\n1 / 0",
        "import sys\nsys.stdout.write('not flushed')\nfor line in sys.stdin:\n    pass\nprint(eval('1 +'))",
        "import os\nprint('lost')\nos._exit(7)",
        "import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: print('caught'))\nos.kill(os.getpid(), 15)\nos.abort()",
        "x = (",
        "import subprocess, random\nrandom.seed(3)\nprint(random.random())\nsubprocess.run(['/bin/true'])",
        "open('left', 'w').write('x')\nimport os\nprint(os.listdir())\nprint(len(bytes(400 << 20)))",
    ),
    "r": (
        "x <- readLines(file('stdin'))\ncat(x, sep='|')\ncat(commandArgs(), getwd(), Sys.getpid(), '\\n')\nprint(1:3)",
        "f <- tempfile()\nwriteLines('kept', f)\nprint(readLines(f))\ninvisible(2)\nquit(status = 4)",
        "print(ls())\nprint(search())\nwarning('look')\nstop('no')",
        "print(1)\nprint(",
        "options(error = NULL)\nx <- 5\nx\nset.seed(1)\nrunif(1)\nreg.finalizer(globalenv(), function(e) cat('end\\n'), TRUE)",
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
        "(write (port->string (current-input-port)))\n'(1 \"a\" #t)\n(module+ main (displayln \"main\"))\n(eval '(+ 1 2))",
        "#lang racket\n(define (f x) (* x 2))\n(f 4)\n(display \"not flushed\")\n(eprintf \"e\")\n(exit 6)",
        "#lang racket/base\n(with-output-to-file \"f\" (lambda () (display 1)))\n(directory-list)\n(error 'f \"no ~a\" 1)",
        "#lang racket\n(thread-wait (thread (lambda () (displayln (read-line)))))\n(hash 'a 1)\n(current-directory)\n(car 1)",
        "#lang racket\n(define x",
        "(module program racket/base (display 5))",
    ),
    "julia": (
        "println(ARGS, PROGRAM_FILE, abspath(PROGRAM_FILE) == @__FILE__, pwd())\nprint(uppercase(read(stdin, String)))",
        "for line in eachline() println(length(line)) end\natexit(() -> println(\"bye\"))\nexit(3)",
        "println(readline())\n@async println(\"task\")\nsleep(0.01)\nprintln(stderr, \"e\")\nsqrt(-1.0)",
        "f(x) = (",
        "write(\"f\", \"text\")\nprintln(read(\"f\", String))\nt = Timer(0.01)\nwait(t)\nprint(gcd(4, 6))",
    ),
    "javascript": (
        "console.log(process.argv.slice(1), require.main === module, __filename, process.env.LD_PRELOAD, process.pid);\n"
        "process.stdin.on('data', (data) => console.log(String(data).length));",
        "process.on('exit', () => console.log('bye'));\nsetTimeout(() => { console.error('e'); process.exit(4); }, 5);",
        "const lines = require('readline').createInterface({ input: process.stdin });\n"
        "lines.on('line', (line) => console.log(line));\nlines.on('close', () => Promise.reject(new Error('no')));",
        "const x = (",
    ),
    "ruby": ("p ARGV, $0, __FILE__ == $0, $stdin.read, Process.pid\nat_exit { print 'bye' }\nraise 'no'", "exit 3"),
    "perl": ('print "@ARGV $0 $$ ", join("|", <STDIN>), "\\n";\nEND { print "bye" }\ndie "no\\n";', "exit 3"),
    "php": ("<?php print_r($argv); echo stream_get_contents(STDIN), getmypid(), getcwd();\nthrow new Exception('no');",
            "<?php register_shutdown_function(function () { echo 'bye'; });\nexit(3);"),
    "scheme": ('(use-modules (ice-9 rdelim))\n(write (command-line))\n(display (read-string))\n(display (getpid))\n(error "no")',
               "(display \"not flushed\")\n(exit 3)"),
    "fortran": ("program p\n  character(99) :: line\n  read (*, '(a)') line\n  print *, trim(line), command_argument_count()\n"
                "  stop 3\nend program p",),
}  # fmt: skip
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
        # A whole program that the fork server refuses would have been compared with itself.
        assert worker._forks._server is not None and worker._forks._server.usable
    finally:
        worker.close()
