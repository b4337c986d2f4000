"""Whole programs with tests: standard input in, standard output compared on the host."""

import json
import subprocess
import sys
import time

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status, outputs, worker
from executors.sandbox.launch import Tier
from executors.speed import SUMS

LIMITS = Limits(wall_s=10.0, cpu_s=5.0, memory_mib=512)
STDIN = ("1\n2\n", "40\n2\n", "5\n-7\n")
EXPECTED = ("3\n", "42", "-2\n\n")


@pytest.fixture(scope="module")
def python():
    with Pool("python", workers=1, limits=LIMITS) as pool:
        yield pool


def run(pool, source, stdin=STDIN, expected=EXPECTED, **more):
    return pool.submit(Job("1", JobKind.PROGRAM, source, stdin=stdin, expect_stdout=expected, **more)).result()


@pytest.mark.parametrize(
    "language",
    [pytest.param(name, marks=[] if name in ("python", "lua") else pytest.mark.ci) for name in sorted(SUMS)],
)
def test_programs_are_tested_in_every_language(language):
    if LANGUAGES[language].find() is None:
        pytest.skip(f"no {language} interpreter here")
    with Pool(language, workers=1, limits=LIMITS) as pool:
        right = run(pool, SUMS[language])
        assert (right.status, right.correct, right.passed) == (Status.OK, True, (True,) * 3), right
        wrong = run(pool, SUMS[language], expected=("3", "41", "-2"), all_tests=True)
        assert (wrong.status, wrong.correct, wrong.passed) == (Status.OK, False, (True, False, True))
        assert wrong.message == "test 1: it prints something else"


def test_tests_end_at_the_first_that_fails(python):
    verdict = run(python, SUMS["python"], expected=("3", "41", "-2"))
    assert verdict.passed == (True, False) and verdict.stdout == "42\n"
    late = run(python, "import sys\nprint(int(input()) + int(input()))\nsys.exit(1)")
    assert (late.status, late.correct, late.passed) == (Status.RUNTIME_ERROR, False, (False,))


def test_a_test_may_print_what_it_must_beside_the_usual_limit(python):
    size = LIMITS.output_bytes
    assert run(python, f"print('x' * {2 * size})", stdin=("",), expected=("x" * 2 * size,)).correct
    assert run(python, f"print('x' * {2 * size})", stdin=("",), expected=("x",)).status is Status.OUTPUT_LIMIT


def test_a_job_has_limits_of_its_own_and_one_of_all_tests(python):
    sleep = "import time\ntime.sleep(1.2)\nprint(1)"
    hasty = Limits(wall_s=0.2, cpu_s=0.2, memory_mib=512)
    assert run(python, sleep, stdin=("",), expected=("1",), limits=hasty).status is Status.TIMEOUT
    assert run(python, sleep, stdin=("",), expected=("1",)).correct
    late = run(python, sleep, stdin=("",) * 4, expected=("1",) * 4, total_s=2.3, all_tests=True)
    assert (late.status, late.correct, late.passed) == (Status.TIMEOUT, False, (True, False))
    assert late.message.startswith("2 of 4 tests take ") and late.message.endswith(" and 2.3 s are allowed")
    assert run(python, "print(1)", stdin=("",) * 4, expected=("1",) * 4, total_s=9.0).correct


def test_without_expected_outputs_nothing_is_compared(python):
    verdict = run(python, SUMS["python"], expected=None)
    assert (verdict.status, verdict.correct, verdict.passed, verdict.stdout) == (Status.OK, None, (True,) * 3, "-2\n")


def test_a_program_can_neither_find_the_expected_output_nor_reach_the_next_test(python):
    """It looks beyond its input, writes into it, floods, sleeps, and leaves a child behind."""
    look = """
import glob, os, sys
sys.stdin.read()
try:
    os.write(0, b'42')
except OSError:
    pass
texts = [open(path).read() for path in glob.glob('/tmp/*') + ['/proc/self/environ'] if os.path.isfile(path)]
print(sys.stdin.read() + ('found' if any('se' + 'cret output' in text for text in texts) else 'nothing'))
"""
    verdict = run(python, look, stdin=("a", "b"), expected=("secret output", "nothing"), all_tests=True)
    assert (verdict.passed, verdict.stdout) == ((False, True), "nothing\n")
    state = "open('/tmp/state', 'a').write('x')\nprint(len(open('/tmp/state').read()))"
    assert run(python, state, stdin=("", ""), expected=("1", "1")).correct
    with Pool("python", workers=1, limits=Limits(wall_s=1.0, cpu_s=1.0, memory_mib=256)) as hasty:
        assert run(hasty, "while True: print('3')").status in (Status.OUTPUT_LIMIT, Status.TIMEOUT)
        assert run(hasty, "print('3', flush=True)\nimport time; time.sleep(60)").status is Status.TIMEOUT
        child = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint(int(input()) + int(input()))"
        assert run(hasty, child).correct is not None


def test_a_large_input_and_one_that_is_not_read(python):
    large = "x" * (8 << 20)
    assert run(python, "import sys\nprint(len(sys.stdin.read()))", stdin=(large,), expected=(str(8 << 20),)).correct
    assert run(python, "print('done')", stdin=(large,), expected=("done",)).correct


@pytest.mark.parametrize(
    ("actual", "expected", "how", "right"),
    [
        ("1 \n2\n\n", "1\n2", "trimmed", True),
        (" 1", "1", "trimmed", False),
        ("1\n\n2", "1\n2", "trimmed", False),
        ("1\n", "1", "exact", False),
        ("1\n", "1\n", "exact", True),
        ("0.3000000001 yes", "0.3\nyes", "numbers", True),
        ("1000000.5", "1000000", "numbers", True),
        ("0.31", "0.3", "numbers", False),
        ("0.3 no", "0.3 yes", "numbers", False),
        ("1 2", "1", "numbers", False),
        ("nan", "1", "numbers", False),
        ("", "", "numbers", True),
        ("998244354", "998244353", "numbers", False),
        ("+0998244353", "998244353", "numbers", True),
        ("998244354.0", "998244353", "numbers", True),
        ("9" * 500, "9" * 499 + "8", "numbers", False),
        ("1_0", "10", "numbers", False),
        ("\u0663", "3", "numbers", False),
        ("2e400", "1e400", "numbers", False),
        ("1e400", "inf", "numbers", False),
        ("-Infinity", "-inf", "numbers", True),
        ("NaN", "nan", "numbers", True),
        (" 1 \n2.50", "1\n2.5\n\n", "decimals", True),
        ("1 2", "1\n2", "decimals", False),
        ("1.0000001", "1", "decimals", False),
        ("x 1.0", "x 1", "decimals", False),
        ("1e999999999", "1e999999998", "decimals", False),
    ],
)
def test_outputs_are_compared_as_the_benchmark_says(actual, expected, how, right):
    assert outputs.same(actual, expected, how) is right


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stdin": ("a",), "expect_stdout": ()}, "0 expect_stdout for 1 stdin"),
        ({"expect_stdout": ()}, "no test"),
        ({"kind": JobKind.EVALUATE, "inputs": ("1",), "limits": LIMITS}, "they are for whole programs"),
        ({"compare": "loosely"}, "'loosely': use one of trimmed, exact, numbers"),
        ({"kind": JobKind.EVALUATE, "inputs": ("1",), "stdin": ("a",)}, "for whole programs"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Job(**{"id": "1", "kind": JobKind.PROGRAM, "source": "", **fields})


def test_batch_takes_programs_with_tests():
    line = {"id": 7, "kind": "program", "source": SUMS["python"], "stdin": ["1\n2\n"], "expect_stdout": ["3"]}
    command = [sys.executable, "-m", "executors", "batch", "--language=python", "--workers=1"]
    done = subprocess.run(command, input=json.dumps(line), text=True, capture_output=True, check=True)
    verdict = json.loads(done.stdout)
    assert (verdict["id"], verdict["correct"], verdict["passed"]) == (7, True, [True])


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("chars", [100, 2100, 70000])
def test_a_flood_is_one_however_late_it_is_read(stream, chars, monkeypatch):
    """Node keeps in memory what does not fit a pipe at once."""
    if LANGUAGES["javascript"].find() is None:
        pytest.skip("javascript is not installed")
    drain = worker._drain

    def late(*arguments):
        time.sleep(0.5)
        return drain(*arguments)

    monkeypatch.setattr(worker, "_drain", late)
    with Pool("javascript", workers=1, limits=Limits(wall_s=4.0, memory_mib=128)) as pool:
        verdict = run(pool, f"while (true) process.{stream}.write('x'.repeat({chars}));", stdin=(), expected=None)
        assert verdict.status is Status.OUTPUT_LIMIT, verdict
        exact = run(pool, f"process.{stream}.write('x'.repeat(65536));", stdin=(), expected=None)
        assert exact.status is Status.OK and len(getattr(exact, stream)) == 65536


# What attacks by a compiled program: the compiler has the text, and nothing of it runs there.
_FORTRAN = {
    "child": "program p\n  integer :: code\n  call execute_command_line('sleep 60 &', cmdstat=code)\n"
    "  print '(i0)', merge(1, 0, code == 0)\nend program p",
    "secrets": "program p\n  character(len=4096) :: line\n  integer :: status\n"
    "  open (10, file='/proc/1/environ', action='read', iostat=status)\n"
    "  if (status == 0) read (10, '(a)', iostat=status) line\n"
    "  print '(i0)', merge(1, 0, status == 0 .and. index(line, 'CANARY') > 0)\nend program p",
    "next test": "program p\n  integer :: n, status\n  logical :: there\n  inquire (file='left', exist=there)\n"
    "  open (10, file='left')\n  write (10, *) 1\n  print '(i0)', merge(1, 0, there)\nend program p",
    "bounds": "program p\n  integer :: a(3), i\n  read (*, *) i\n  a = 7\n  print '(i0)', a(i)\nend program p",
}
_FORTRAN_ENDS = {
    "endless": ("program p\n  do\n  end do\nend program p", (Status.TIMEOUT,)),
    "flood": (
        "program p\n  do\n    print *, 'xxxxxxxxxxxxxxxxxxxxxxxxx'\n  end do\nend program p",
        (Status.OUTPUT_LIMIT,),
    ),
    "memory": (
        "program p\n  real, allocatable :: a(:)\n  allocate (a(2000000000))\n  a = 1\n  print *, sum(a)\nend program p",
        (Status.MEMORY, Status.RUNTIME_ERROR),
    ),
    "compiles endlessly": ("include 'program.f90'", (Status.SYNTAX_ERROR,)),
    "endless include": ("include '/dev/zero'", (Status.SYNTAX_ERROR, Status.TIMEOUT, Status.MEMORY, Status.CRASH)),
    "huge text": ("x" * (4 << 20), (Status.SYNTAX_ERROR, Status.TIMEOUT, Status.MEMORY, Status.OUTPUT_LIMIT)),
}


@pytest.mark.ci
@pytest.mark.parametrize("tier", Tier)
def test_a_program_is_compiled_once_for_all_its_tests_in_every_tier(tier, monkeypatch):
    language = LANGUAGES["fortran"]
    interpreter = language.find()
    if interpreter is None:
        pytest.skip("no fortran compiler here")
    started = []
    begin = worker.start
    monkeypatch.setattr(worker, "start", lambda launch, watch: started.append(launch.children) or begin(launch, watch))
    judging = worker.Worker(language, interpreter, tier, LIMITS)
    verdicts = [judging.run_program("sum", SUMS["fortran"].encode(), text.encode()) for text in STDIN]
    assert [verdict.stdout for verdict in verdicts] == ["3\n", "42\n", "-2\n"]
    assert started == [True, False, False, False]


@pytest.mark.ci
def test_what_is_compiled_runs_as_contained_as_other_programs(monkeypatch):
    if LANGUAGES["fortran"].find() is None:
        pytest.skip("no fortran compiler here")
    monkeypatch.setenv("CANARY", "SECRET-CANARY")
    with Pool("fortran", workers=1, limits=Limits(wall_s=4.0, cpu_s=2.0, memory_mib=256)) as pool:
        for name, source in _FORTRAN.items():
            verdict = run(pool, source, stdin=("9\n", "9\n"), expected=("0", "0"), compare="numbers")
            wanted = (Status.RUNTIME_ERROR, False) if name == "bounds" else (Status.OK, True)
            assert (verdict.status, verdict.correct) == wanted, (name, verdict)
        for name, (source, ends) in _FORTRAN_ENDS.items():
            assert run(pool, source).status in ends, name
        broken = run(pool, "program p\n  print *, 1 +\nend program p")
        assert (broken.status, broken.passed) == (Status.SYNTAX_ERROR, (False,)) and "Syntax error" in broken.stderr
        asked = pool.submit(Job("call", JobKind.EVALUATE, "", ("1",))).result()
        assert asked.status is Status.INFRASTRUCTURE and "whole programs alone" in asked.message
        assert run(pool, SUMS["fortran"]).correct
