"""The pool: order, futures, time-outs that stall nobody, dead workers, expected values, nothing left behind."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status, load_languages
from executors.judge import Judge, ValueCache
from executors.pool import _Seat
from executors.worker import Request, Worker, parse_reply
from tests.executors.processes import descendants, read_by_python, still_running

REPOSITORY = Path(__file__).parents[2]
LIMITS = Limits(wall_s=1.5, cpu_s=1.5, memory_mib=256)
DOUBLE = "def f(x):\n    return x * 2"
SLEEP = "import time\ndef f(x):\n    time.sleep(100)"
SPIN = "def f(x):\n    while True: pass"


def double_jobs(count):
    return [Job(str(index), JobKind.EVALUATE, DOUBLE, (str(index),)) for index in range(count)]


@pytest.fixture(scope="module")
def pool():
    with Pool("python", workers=2, limits=LIMITS) as opened:
        yield opened


def test_run_all_keeps_order_and_run_gives_each_once(pool):
    verdicts = pool.run_all(double_jobs(20))
    assert [verdict.values for verdict in verdicts] == [(str(2 * index),) for index in range(20)]
    assert sorted(int(verdict.id) for verdict in pool.run(iter(double_jobs(200)))) == list(range(200))


def test_results_do_not_depend_on_pool_size_or_warmth():
    sources = [
        DOUBLE,
        "def f(x):\n    return {x: {x}}",
        "def f(x):\n    return 1 / x",
        "def f(x:",
        "import os\nos._exit(3)",
    ]
    jobs = [Job(f"{number}", JobKind.EVALUATE, source, ("0",), ("0",)) for number, source in enumerate(sources)]
    outcomes = []
    for workers, cold in ((1, False), (3, False), (1, True)):
        with Pool("python", workers=workers, limits=LIMITS, cold=cold) as pool:
            verdicts = pool.run_all(jobs)
            outcomes.append([dataclasses.replace(v, seconds=0.0, memory_mib=0.0, message="") for v in verdicts])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert [v.status.value for v in outcomes[0]] == ["ok", "ok", "runtime_error", "syntax_error", "exit"]
    assert [v.correct for v in outcomes[0]] == [True, False, False, False, False]


@pytest.mark.ci
def test_sleepers_hold_no_place():
    with Pool("python", workers=1, limits=Limits(wall_s=4.0, cpu_s=4.0)) as pool:
        sleepers = [pool.submit(Job(f"s{index}", JobKind.EVALUATE, SLEEP, ("0",))) for index in range(3)]
        good = [pool.submit(job) for job in double_jobs(5)]
        assert [future.result().status for future in good] == [Status.OK] * 5
        assert not any(future.done() for future in sleepers)
        assert [future.result().status for future in sleepers] == [Status.TIMEOUT] * 3


def test_busy_programs_keep_their_place():
    with Pool("python", workers=1, limits=LIMITS) as pool:
        spinner = pool.submit(Job("spin", JobKind.EVALUATE, SPIN, ("0",)))
        good = pool.submit(double_jobs(1)[0])
        assert good.result().status is Status.OK
        assert spinner.done()
        assert len(pool._seats) == 1


class RecordingWorker(Worker):
    """A real worker that also keeps what it was asked."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked = []

    def ask(self, kind, source, inputs, seed=0):
        self.asked.append((kind, source, tuple(inputs), seed))
        return super().ask(kind, source, inputs, seed)


def test_expected_value_never_enters_the_process_of_the_program(pool):
    worker = RecordingWorker(pool.language, pool.interpreter, pool.tier, LIMITS)
    try:
        judge = Judge(pool.language, worker, ValueCache(), LIMITS)
        job = Job("job", JobKind.EVALUATE, "def f(x):\n    return {x: 7}", ("1",), ("{1: 0x7}",), determinism=True)
        assert judge.judge(job).correct is True
        kinds = [kind for kind, *_ in worker.asked]
        assert kinds == [Request.EVALUATE, Request.EVALUATE, Request.VALUE]
        for kind, source, inputs, _ in worker.asked:
            if kind is Request.EVALUATE:
                assert b"0x7" not in source and inputs == (b"1",)
            else:
                assert source == b""
        # The second time both values are known and only the program runs.
        worker.asked.clear()
        judge.judge(dataclasses.replace(job, determinism=False))
        assert [kind for kind, *_ in worker.asked] == [Request.EVALUATE]
    finally:
        worker.close()


@pytest.mark.parametrize("expect", ["2) or True #", "f(1)", ""])
def test_unreadable_expected_value_is_the_callers_mistake(pool, expect):
    for job in (
        Job("job", JobKind.EVALUATE, DOUBLE, ("1",), (expect,)),
        Job("job", JobKind.VALUE, "", ("2",), (expect,)),
    ):
        for _ in range(2):
            verdict = pool.submit(job).result()
            assert (verdict.status, verdict.correct, verdict.values) == (Status.INFRASTRUCTURE, None, ())
            assert "the expected value can't be read" in verdict.message
    failing = Job("job", JobKind.EVALUATE, "def f(x):\n    return 1 / 0", ("1",), (expect,))
    assert (pool.submit(failing).result().status, pool.submit(failing).result().correct) == (
        Status.RUNTIME_ERROR,
        False,
    )


def test_job_whose_fields_do_not_fit_is_refused():
    with pytest.raises(ValueError, match="'a' has no input"):
        Job("a", JobKind.EVALUATE, DOUBLE)
    with pytest.raises(ValueError, match="'b' has 1 expect for 2 inputs"):
        Job("b", JobKind.VALUE, inputs=("1", "2"), expect=("1",))
    with pytest.raises(ValueError, match="'c' is a whole program"):
        Job("c", JobKind.PROGRAM, DOUBLE, ("1",))


def test_forged_replies_are_refused():
    with pytest.raises(Exception, match="status infrastructure"):
        parse_reply([b"infrastructure", b"", b"", b"0", b"0"], 1, LIMITS)
    with pytest.raises(Exception, match="values for 2 inputs"):
        parse_reply([b"ok", b"", b"", b"0", b"0", b"1"], 2, LIMITS)
    with pytest.raises(Exception, match="can't be read"):
        parse_reply([b"great", b"", b"", b"0", b"0"], 1, LIMITS)
    for seconds, memory_mib in ((b"nan", b"0"), (b"-1", b"0"), (b"0", b"inf")):
        with pytest.raises(Exception, match="seconds"):
            parse_reply([b"ok", b"", b"", seconds, memory_mib, b"1"], 1, LIMITS)
    long = parse_reply([b"ok", b"", b"", b"0", b"0", b"x" * 8193], 1, LIMITS)
    assert (long.status, long.values) == (Status.OUTPUT_LIMIT, ())


FORGER = """
import os, struct
def frame(*fields):
    return struct.pack(">I", len(fields)) + b"".join(struct.pack(">I", len(x)) + x for x in fields)
def f(x):
    for descriptor in range(3, 16):
        try: os.write(descriptor, frame({fields}))
        except OSError: pass
    return 7
"""


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize(
    ("warm_fields", "cold_fields"),
    [
        ("b'infrastructure', b'', b''", "b'infrastructure', b'', b'', b'0', b'0'"),
        ("b'ok', b'', b'', b'[object]'", "b'ok', b'', b'', b'0', b'0', b'[object]'"),
        ("b'ok', b'', b'', b'( 7)'", "b'ok', b'', b'', b'0', b'0', b'( 7)'"),
        ("b'ok', b'', b'', b'1', b'2'", "b'ok', b'', b'', b'0', b'0', b'1', b'2'"),
    ],
)
def test_program_that_writes_its_own_reply(warm_fields, cold_fields, cold):
    fields = cold_fields if cold else warm_fields
    with Pool("python", workers=1, limits=LIMITS, cold=cold) as pool:
        verdict = pool.submit(Job("forger", JobKind.EVALUATE, FORGER.format(fields=fields), ("0",), ("7",))).result()
        assert verdict.status in (Status.CRASH, Status.UNSERIALISABLE)
        assert verdict.correct is False
        assert pool.submit(double_jobs(2)[1]).result().values == ("2",)


def test_forged_text_costs_no_worker(pool):
    """A claim that is no UTF-8 is a crash; to start another interpreter for it would cost the next program seconds."""
    worker = Worker(pool.language, pool.interpreter, pool.tier, LIMITS)
    forger = FORGER.format(fields=r"b'ok', b'', b'', b'\xff\xfe'").encode()
    try:
        assert worker.ask(Request.EVALUATE, DOUBLE.encode(), [b"1"]).values == ("2",)
        before = list(worker._serving.values())
        assert worker.ask(Request.EVALUATE, forger, [b"1"]).status is Status.CRASH
        assert worker.ask(Request.EVALUATE, DOUBLE.encode(), [b"2"]).values == ("4",)
        assert list(worker._serving.values()) == before
    finally:
        worker.close()


def run_program(pool, source):
    return pool.submit(Job("program", JobKind.PROGRAM, textwrap.dedent(source))).result()


def test_peak_memory_is_not_that_of_a_large_parent(pool):
    ballast = bytearray(400 << 20)
    verdict = run_program(pool, "x = bytearray(80 << 20)\nprint(len(x) >> 20)")
    assert 80 < verdict.memory_mib < 200
    assert len(ballast) >> 20 == 400


def test_programs(pool):
    verdict = run_program(pool, "import sys\nprint('out' * 50000)\nprint('err', file=sys.stderr)")
    assert verdict.status is Status.OUTPUT_LIMIT
    assert len(verdict.stdout) == LIMITS.output_bytes
    verdict = run_program(pool, "import sys\nprint('x' * 60000)\nprint('err', file=sys.stderr)\nsys.exit(3)")
    assert (verdict.status, verdict.exit_code, len(verdict.stdout)) == (Status.RUNTIME_ERROR, 3, 60001)
    assert verdict.stderr == "err\n"
    assert run_program(pool, "print(1").status is Status.SYNTAX_ERROR
    assert run_program(pool, "assert 1 == 2").status is Status.RUNTIME_ERROR
    assert run_program(pool, "assert 1 == 1").status is Status.OK
    assert run_program(pool, "import time\ntime.sleep(100)").status is Status.TIMEOUT
    assert run_program(pool, "while True: pass").status is Status.TIMEOUT
    assert run_program(pool, "import ctypes\nctypes.string_at(8)").status is Status.CRASH
    assert (
        run_program(pool, "import os\nos.close(1)\nos.close(2)\nimport time\ntime.sleep(100)").status is Status.TIMEOUT
    )
    assert run_program(pool, "[0] * (1 << 34)").status is Status.MEMORY
    verdict = run_program(pool, "x = bytearray(80 << 20)\nprint(len(x) >> 20)")
    assert (verdict.stdout, verdict.exit_code) == ("80\n", 0)
    assert 80 < verdict.memory_mib < 200
    assert 0 < verdict.seconds < LIMITS.wall_s


def test_no_program_blames_the_pool_for_its_end(pool):
    """137 is how a kill from outside is told, and what lowers its own limit on processor time is killed just so."""
    verdict = run_program(pool, "import sys\nsys.exit(137)")
    assert verdict.status is Status.CRASH
    # A code above 128 that stands for no signal is the program's own.
    for code in (255, 163):
        verdict = run_program(pool, f"import sys\nsys.exit({code})")
        assert (verdict.status, verdict.exit_code) == (Status.RUNTIME_ERROR, code)
    limit = "import resource\nprint(resource.getrlimit(0)[0] > 0, flush=True)\nresource.setrlimit(0, (1, 1))"
    verdict = run_program(pool, limit)
    assert (verdict.status, verdict.stdout) == (Status.RUNTIME_ERROR, "True\n")
    with Pool("python", workers=1, limits=LIMITS, cold=True) as cold:
        for code, status in {137: Status.CRASH, 163: Status.EXIT}.items():
            source = f"import os\nos._exit({code})"
            assert cold.submit(Job("", JobKind.EVALUATE, source, ("0",))).result().status is status


def test_programs_are_contained_and_have_a_private_folder(pool):
    source = f"""
        import os, socket, glob
        open("/tmp/state", "w").write("mine")
        assert set(os.listdir("/tmp")) - {set(read_by_python("/tmp"))} == {{"program.py", "state"}}
        for attempt in (lambda: socket.socket(), os.fork, lambda: open("/etc/passwd"), lambda: open("/usr/x", "w")):
            try:
                attempt()
            except OSError:
                continue
            raise SystemExit("possible")
        assert glob.glob("/proc/[0-9]*") == ["/proc/1"], glob.glob("/proc/[0-9]*")
    """
    for _ in range(2):
        verdict = run_program(pool, source)
        assert verdict.status is Status.OK, verdict


def test_every_input_meets_the_program_in_a_fresh_process(pool):
    counts = "calls = 0\ndef f(x):\n    global calls\n    calls += 1\n    return calls"
    remembers = "def f(x, seen=[]):\n    seen.append(x)\n    return seen"
    jobs = [Job("1", JobKind.EVALUATE, source, ("1", "2", "3"), determinism=True) for source in (counts, remembers)]
    counted, remembered = pool.run_all(jobs)
    assert counted.values == ("1", "1", "1")
    assert remembered.values == ("[1]", "[2]", "[3]")


def test_unknown_language_and_bad_settings_say_the_fix():
    with pytest.raises(ValueError, match=r"'cobol': use one of .*python"):
        Pool("cobol")
    with pytest.raises(ValueError, match="workers is 0"):
        Pool("python", workers=0)
    with pytest.raises(ValueError, match="allow_tier is 'vm': use one of namespaces"), Pool("python", allow_tier="vm"):
        pass
    missing = dataclasses.replace(LANGUAGES["python"], find=lambda: None, install_hint="get it")
    with pytest.raises(ValueError, match="not installed: get it"), Pool(missing):
        pass


def test_ignored_ends_of_processes_are_an_error_and_the_command_heeds_them_again(tmp_path):
    ignoring = "import os, signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    enter = ignoring + "from executors import Pool\nPool('python', workers=1).__enter__()"
    done = subprocess.run([sys.executable, "-c", enter], capture_output=True, text=True, check=False)
    assert "ValueError: SIGCHLD is ignored in this process" in done.stderr
    source = tmp_path / "program.py"
    source.write_text("import os\nos._exit(3)")
    command = ["-m", "executors", "run", "--language=python", f"--source={source}", "--program"]
    run = ignoring + f"os.execv(sys.executable, [sys.executable, *{command}])"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["exit_code"] == 3, done.stderr


def test_broken_interpreter_is_an_error_at_entry():
    python = LANGUAGES["python"]
    broken = dataclasses.replace(python, harness_argv=lambda interpreter, harness, mode: ["/nowhere/python"])
    with pytest.raises(ValueError, match=r"identity program.*nowhere"), Pool(broken, workers=1):
        pass


def test_languages_of_a_user_directory(tmp_path):
    text = "import dataclasses\nfrom executors.languages import python\n"
    text += "LANGUAGE = dataclasses.replace(python.LANGUAGE, name='mine')\n"
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "other.py").write_text("raise RuntimeError('not a language file')\n")
    languages = load_languages(tmp_path)
    assert list(languages) == ["mine"]
    with Pool(languages["mine"], workers=1) as pool:
        assert pool.submit(double_jobs(2)[1]).result().values == ("2",)
    (tmp_path / "second.py").write_text(text)
    with pytest.raises(ValueError, match="'mine', as another file"):
        load_languages(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        load_languages(tmp_path / "nowhere")


def test_a_worker_that_cannot_be_made_ends_its_job_with_the_error(monkeypatch):
    with Pool("python", workers=2) as pool:
        first, second, *rest = double_jobs(6)
        assert pool.submit(first).result().ok

        def refuse(seat):
            raise OSError("no process can be started")

        monkeypatch.setattr(_Seat, "_worker", refuse)
        futures = [pool.submit(job) for job in (second, *rest)]
        # The seat that has its worker goes on; another one's jobs end with what was wrong.
        errors = [future.exception(timeout=30) for future in futures]
        assert all(error is None or "no process can be started" in str(error) for error in errors)
        monkeypatch.undo()
        assert all(future.result().ok for future in [pool.submit(job) for job in double_jobs(6)])


def test_a_machine_without_another_thread_ends_the_job_with_the_error(monkeypatch):
    with Pool("python", workers=1) as pool:
        pool._seats.clear()
        pool._idle.clear()
        monkeypatch.setattr(threading.Thread, "start", lambda thread: (_ for _ in ()).throw(RuntimeError("no thread")))
        assert "no thread" in str(pool.submit(double_jobs(1)[0]).exception(timeout=30))
        monkeypatch.undo()
        assert pool.submit(double_jobs(1)[0]).result().ok


def test_import_is_light():
    check = (
        "import sys, executors; heavy = {'jax', 'numpy', 'azr_jax', 'flax'} & set(sys.modules);"
        "raise SystemExit(f'imports {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, check=True)


@pytest.mark.slow
def test_many_programs_leave_memory_and_descriptors_flat():
    def resident_pages():
        return int(Path("/proc/self/statm").read_text().split()[1])

    with Pool("python", workers=2, limits=LIMITS) as pool:
        sum(1 for _ in pool.run(double_jobs(2000)))
        before, descriptors = resident_pages(), len(os.listdir("/proc/self/fd"))
        jobs = (Job(str(index), JobKind.EVALUATE, DOUBLE, (str(index),)) for index in range(6000))
        assert all(verdict.status is Status.OK for verdict in pool.run(jobs))
        assert resident_pages() - before < 2048
        assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("kind", [JobKind.EVALUATE, JobKind.PROGRAM])
def test_an_exception_ends_what_is_running_at_once(kind):
    """An interruption must not wait for a program that may run for minutes."""
    inputs = ("1",) if kind is JobKind.EVALUATE else ()
    before = descendants(os.getpid())
    with pytest.raises(KeyboardInterrupt), Pool("python", workers=2, limits=Limits(wall_s=90.0, cpu_s=90.0)) as pool:
        futures = [pool.submit(Job("1", kind, f"{SLEEP}\nif not {inputs}: f(1)", inputs)) for _ in range(3)]
        time.sleep(1.0)
        inside, began = descendants(os.getpid(), before), time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 20
    assert still_running(inside) == []
    assert {future.result().status for future in futures if not future.cancelled()} == {Status.INFRASTRUCTURE}
