"""Whole programs that attack: they look for what is expected, read beyond their input, write forever, leave children.

Fortran's own, and more in Python, are in test_program_tests.py.
"""

import os
import time

import pytest
from conftest import ci_in

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from tests.executors.processes import descendants, still_running

# Each reads its input to the end, looks for "secret output" in the files and environments that it can reach, reads
# again, and prints what that gave and "found" or "nothing".
LOOKS = {
    "python": """
import glob, sys
sys.stdin.read()
def text(path):
    try:
        return open(path, errors="replace").read()
    except OSError:
        return ""
paths = glob.glob("/tmp/*") + glob.glob("*") + ["/proc/self/environ", "/proc/1/environ", "/proc/1/cmdline"]
print(sys.stdin.read() + ("found" if any("se" + "cret output" in text(path) for path in paths) else "nothing"))
""",
    "javascript": """
const fs = require('fs');
fs.readFileSync(0);
const text = (path) => { try { return fs.readFileSync(path, 'utf8'); } catch { return ''; } };
const names = (folder) => fs.readdirSync(folder).map((name) => folder + '/' + name);
const paths = [...names('/tmp'), ...names('.'), '/proc/self/environ', '/proc/1/environ', '/proc/1/cmdline'];
console.log(text(0) + (paths.some((path) => text(path).includes('se' + 'cret output')) ? 'found' : 'nothing'));
""",
    "lua": """
io.read('a')
local found = 'nothing'
for _, path in ipairs({ arg[0], '/proc/self/environ', '/proc/1/environ', '/proc/1/cmdline', '/proc/self/fd/3' }) do
  local file = io.open(path)
  local text = file and file:read('a') or ''
  if text:find('se' .. 'cret output', 1, true) then found = 'found' end
end
print(io.read('a') .. found)
""",
    "racket": """#lang racket
(void (port->string (current-input-port)))
(define (text path) (with-handlers ([void (lambda (_) "")]) (file->string path)))
(define (names folder) (with-handlers ([void (lambda (_) '())]) (directory-list folder #:build? #t)))
(define paths (append (names "/tmp") (names ".") '("/proc/self/environ" "/proc/1/environ" "/proc/1/cmdline")))
(define found? (for/or ([path paths]) (string-contains? (text path) (string-append "se" "cret output"))))
(displayln (string-append (port->string (current-input-port)) (if found? "found" "nothing")))
""",
    "julia": """
read(stdin, String)
text(path) = try read(path, String) catch; "" end
names(folder) = try joinpath.(folder, readdir(folder)) catch; String[] end
paths = [names("/tmp"); names("."); "/proc/self/environ"; "/proc/1/environ"; "/proc/1/cmdline"]
println(read(stdin, String), any(path -> occursin("se" * "cret output", text(path)), paths) ? "found" : "nothing")
""",
    "r": """
input <- file('stdin', 'r')
invisible(readLines(input))
text <- function(path) tryCatch(suppressWarnings(readLines(path)), error = function(e) '')
paths <- c(list.files('/tmp', full.names = TRUE), list.files('.'), '/proc/self/environ', '/proc/1/environ')
seen <- any(vapply(paths, function(path) any(grepl(paste0('se', 'cret output'), text(path), useBytes = TRUE)), NA))
cat(readLines(input), if (seen) 'found' else 'nothing', sep = '')
""",
    "ocaml": """
let rec drain () = match input_char stdin with _ -> drain () | exception End_of_file -> ()
let text path = try let file = open_in_bin path in
  let buffer = Buffer.create 99 in
  (try while true do Buffer.add_channel buffer file 1 done with End_of_file -> ()); Buffer.contents buffer
  with _ -> ""
let holds text part = let n = String.length part in
  let rec from i = i + n <= String.length text && (String.sub text i n = part || from (i + 1)) in from 0
let names folder = try List.map (Filename.concat folder) (Array.to_list (Sys.readdir folder)) with _ -> []
let () = drain ();
  let paths = names "/tmp" @ names "." @ ["/proc/self/environ"; "/proc/1/environ"; "/proc/1/cmdline"] in
  drain ();
  print_string (if List.exists (fun path -> holds (text path) ("se" ^ "cret output")) paths then "found" else "nothing")
""",
    "ruby": """
STDIN.read
text = ->(path) { File.file?(path) ? File.binread(path) : '' rescue '' }
paths = Dir['/tmp/*'] + Dir['*'] + ['/proc/self/environ', '/proc/1/environ', '/proc/1/cmdline']
print STDIN.read, paths.any? { |path| text.(path).include?('se' + 'cret output') } ? 'found' : 'nothing'
""",
    "perl": """
local $/;
my $given = <STDIN>;
my $found = 'nothing';
for my $path (glob('/tmp/* *'), '/proc/self/environ', '/proc/1/environ', '/proc/1/cmdline') {
  open my $file, '<', $path or next;
  my $text = <$file> // '';
  $found = 'found' if index($text, 'se' . 'cret output') >= 0;
}
print <STDIN>, $found;
""",
    "php": """<?php
stream_get_contents(STDIN);
$found = 'nothing';
$others = ['/proc/self/environ', '/proc/1/environ', '/proc/1/cmdline'];
foreach (array_merge(glob('/tmp/*'), glob('*'), $others) as $path) {
  if (str_contains((string) @file_get_contents($path), 'se' . 'cret output')) $found = 'found';
}
echo stream_get_contents(STDIN), $found;
""",
    "scheme": """
(use-modules (ice-9 ftw) (ice-9 textual-ports))
(get-string-all (current-input-port))
(define (text path) (catch #t (lambda () (call-with-input-file path get-string-all #:encoding "latin1")) (lambda _ "")))
(define (names folder) (map (lambda (name) (string-append folder "/" name)) (or (scandir folder) '())))
(define paths (append (names "/tmp") (names ".") '("/proc/self/environ" "/proc/1/environ" "/proc/1/cmdline")))
(display (get-string-all (current-input-port)))
(display (if (or-map (lambda (path) (string-contains (text path) (string-append "se" "cret output"))) paths)
  "found" "nothing"))
""",
}
# Each tries to start a process that outlives it and holds its output, and prints "done".
CHILDREN = {
    "python": "import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)\nprint('done')",
    "javascript": "const kept = { detached: true, stdio: 'inherit' };\ntry {\n"
    "  const child = require('child_process').spawn('sleep', ['60'], kept);\n"
    "  child.on('error', () => {}); child.unref();\n} catch {}\nconsole.log('done');",
    "lua": "os.execute('sleep 60 &')\nprint('done')",
    "racket": "#lang racket\n(with-handlers ([void void])\n"
    '  (subprocess (current-output-port) #f (current-error-port) "/bin/sleep" "60"))\n(displayln "done")',
    "julia": 'try run(`sleep 60`, wait=false) catch end\nprintln("done")',
    "r": "try(system('sleep 60', wait = FALSE), silent = TRUE)\ncat('done')",
    "ocaml": '#load "unix.cma";;\nlet () = (try if Unix.fork () = 0 then (Unix.sleep 60; exit 0) with _ -> ());\n'
    '  print_string "done"',
    "ruby": "begin\n  fork { sleep 60 }\nrescue SystemCallError, NotImplementedError\nend\nprint 'done'",
    "perl": "my $child = fork;\nif (defined $child && !$child) { sleep 60; exit }\nprint 'done';",
    "php": "<?php @exec('sleep 60 &'); echo 'done';",
    "scheme": "(catch #t (lambda () (if (zero? (primitive-fork)) (begin (sleep 60) (primitive-exit 0))))\n"
    '  (lambda _ #f))\n(display "done")',
}
# Each prints the same line forever.
FLOODS = {
    "python": "while True: print('3')",
    "javascript": "while (true) console.log('3');",
    "lua": "while true do print('3') end",
    "racket": "#lang racket\n(let again () (displayln 3) (again))",
    "julia": "while true println(3) end",
    "r": "repeat cat('3\\n')",
    "ocaml": 'let () = while true do print_endline "3" done',
    "ruby": "loop { puts 3 }",
    "perl": 'print "3\\n" while 1;',
    "php": '<?php while (true) echo "3\\n";',
    "scheme": "(let again () (display 3) (newline) (again))",
}


@pytest.mark.parametrize("language", ci_in(sorted(LOOKS), *(set(LOOKS) - {"lua"})))
def test_whole_programs_that_attack(language):
    if LANGUAGES[language].find() is None:
        pytest.skip(f"no {language} interpreter here")

    def run(source, *tests):
        stdin, expected = zip(*tests, strict=True)
        job = Job("1", JobKind.PROGRAM, source, stdin=stdin, expect_stdout=expected, all_tests=True)
        return pool.submit(job).result()

    before = descendants(os.getpid())
    with Pool(language, workers=1, limits=Limits(wall_s=20.0, cpu_s=10.0, memory_mib=512)) as pool:
        looked = run(LOOKS[language], ("a\n", "secret output"), ("b\n", "nothing"))
        assert (looked.passed, looked.stdout.strip()) == ((False, True), "nothing"), looked
        # It does find what is there: its own text.
        comment = "(* secret output *)" if language == "ocaml" else f"{LANGUAGES[language].comment} secret output"
        assert run(f"{LOOKS[language]}\n{comment}\n", ("", "found")).correct
        # The program may wait for its child to the end of its time; what it may not do is keep it.
        begin = time.monotonic()
        left = run(CHILDREN[language], ("", "done"))
        assert left.status is not Status.INFRASTRUCTURE and time.monotonic() - begin < 40, left
        inside = descendants(os.getpid(), before)
        assert not [pid for pid in inside if "sleep" in os.readlink(f"/proc/{pid}/exe")]
        assert run(FLOODS[language], ("", "3")).status in (Status.OUTPUT_LIMIT, Status.TIMEOUT)
        assert run(LOOKS[language], ("", "nothing")).correct
    assert still_running(inside) == []


def test_output_in_another_encoding_is_named():
    latin = "local file = io.stdout\nfile:write('caf\\xe9')"
    with Pool("lua", workers=1) as pool:
        job = Job("1", JobKind.PROGRAM, latin, stdin=("",), expect_stdout=("caf\u00e9",))
        verdict = pool.submit(job).result()
    assert (verdict.correct, verdict.message) == (False, "test 0: it prints something else, not in UTF-8")
