"""What `python -m executors speed` measures: rates of calls and of tests, a long run through one pool, a batch with
hanging programs.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from executors.jobs import Job, JobKind, Limits, Status, Verdict
from executors.language import Language
from executors.languages import julia
from executors.pool import Pool
from executors.sandbox import cgroup

# Each reads two whole numbers, one a line, and prints their sum.
SUMS: dict[str, str] = {
    "python": "print(int(input()) + int(input()))",
    "racket": "#lang racket\n(displayln (+ (string->number (read-line)) (string->number (read-line))))",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split('\\n').map(Number);\nconsole.log(a + b);",
    "julia": "println(parse(Int, readline()) + parse(Int, readline()))",
    "lua": "print(io.read('n') + io.read('n'))",
    "r": "x <- scan(file('stdin'), quiet = TRUE)\ncat(sum(x), '\\n')",
    "perl": 'print <STDIN> + <STDIN>, "\\n";',
    "php": "<?php echo (int) fgets(STDIN) + (int) fgets(STDIN), PHP_EOL;",
    "scheme": "(display (+ (read) (read)))",
    "fortran": "program sums\n  integer :: a, b\n  read (*, *) a, b\n  print '(i0)', a + b\nend program sums",
    "ruby": "puts gets.to_i + $stdin.read.to_i",
    "ocaml": 'let () = Scanf.scanf " %d %d" (fun a b -> print_int (a + b))',
}

_PAGE_MIB = os.sysconf("SC_PAGESIZE") / 2**20


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Confines threads and processes that are started inside to one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


class _CoreClock:
    """Core time of this process and of all that it starts meanwhile, ended or not, by a control group.

    Wall time depends on the machine's other work, core time hardly. `seconds` is None if no group that counts it can be
    made: version 1 with its cpuacct hierarchy, or version 2 if our own group may be divided.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._home = Path()

    def __enter__(self) -> _CoreClock:
        for controller, file in (("cpuacct", "cpuacct.usage"), ("", "cpu.stat")):
            home = cgroup.own_folder(controller)
            if home is None:
                continue
            folder = home / f"azr_cores_{os.getpid()}"
            with contextlib.suppress(OSError):
                folder.mkdir()
                try:
                    (folder / "cgroup.procs").write_text(str(os.getpid()))
                    (folder / file).read_text()
                except OSError:
                    folder.rmdir()
                    raise
                self._folder, self._home = folder, home
                break
        return self

    def __exit__(self, *exception: object) -> None:
        if self._folder is None:
            return
        (self._home / "cgroup.procs").write_text(str(os.getpid()))
        # Killed processes need a moment to disappear; an empty group that remains does no harm.
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.01)

    def seconds(self) -> float | None:
        """Core seconds so far."""
        if self._folder is None:
            return None
        version_1 = self._folder / "cpuacct.usage"
        if version_1.exists():
            return int(version_1.read_text()) / 1e9
        return int((self._folder / "cpu.stat").read_text().split()[1]) / 1e6


def _identity_job(language: Language, index: int) -> Job:
    source = f"{language.identity}\n{language.commented(str(index))}\n"
    return Job(str(index), JobKind.EVALUATE, source, (language.identity_input,))


def _require_ok(language: Language, verdict: Verdict) -> None:
    if verdict.status is not Status.OK or verdict.correct is False:
        raise ValueError(f"{language.name}: the measured program gives {verdict.status} {verdict.message}")


def _tested_job(tests: int, language: Language, index: int) -> Job:
    source = f"{SUMS[language.name]}\n{language.commented(str(index))}\n"
    stdin = tuple(f"{index}\n{number}\n" for number in range(tests))
    return Job(
        str(index), JobKind.PROGRAM, source, stdin=stdin, expect_stdout=tuple(str(index + n) for n in range(tests))
    )


def rate(
    language: Language,
    workers: int,
    cold: bool,
    seconds: float,
    job_of: Callable[[Language, int], Job] = _identity_job,
    limits: Limits | None = None,
) -> tuple[float, float | None]:
    """Programs per second of `workers` workers over about `seconds`, and core milliseconds of each (None: not counted).

    Every program is different; one worker and the pool itself share one core.
    """
    with (
        _one_core() if workers == 1 else contextlib.nullcontext(),
        _CoreClock() as clock,
        Pool(language, workers=workers, cold=cold, limits=limits) as pool,
    ):
        # Every worker starts before the time is taken.
        _keep_busy(pool, min(1.0, seconds), job_of)
        begin, begin_core_s = time.monotonic(), clock.seconds()
        count = _keep_busy(pool, seconds, job_of)
        elapsed_s, core_s = time.monotonic() - begin, clock.seconds()
    core_ms = None if core_s is None or begin_core_s is None else round(1000 * (core_s - begin_core_s) / count, 2)
    return round(count / elapsed_s, 2), core_ms


def _keep_busy(pool: Pool, seconds: float, job_of: Callable[[Language, int], Job]) -> int:
    """Keeps the pool busy for about `seconds`; returns how many programs it finished."""
    end, count = time.monotonic() + seconds, 0
    waiting: collections.deque[Future[Verdict]] = collections.deque()
    while waiting or time.monotonic() < end:
        while len(waiting) < 3 * pool.workers and time.monotonic() < end:
            waiting.append(pool.submit(job_of(pool.language, count + len(waiting))))
        if waiting:
            _require_ok(pool.language, waiting.popleft().result())
            count += 1
    return count


def rates(language: Language, seconds: float) -> dict[str, Any]:
    """Cold and warm programs per second on one core, and warm on all cores; for Julia also with all programs compiled.

    The keys with core_ms are core milliseconds per program, None if the machine does not count them.
    """
    cores = len(os.sched_getaffinity(0))
    row: dict[str, Any] = {"language": language.name}
    row["cold_per_s"], row["cold_core_ms"] = rate(language, 1, True, seconds)
    for key, workers in (("1", 1), ("all", cores)):
        row[f"warm_per_s_{key}"], row[f"warm_core_ms_{key}"] = (
            rate(language, workers, False, seconds) if language.serves else (None, None)
        )
    if language.name == "julia":
        compiled = dataclasses.replace(language, harness_argv=functools.partial(julia.harness_argv, tier="compiled"))
        row["warm_compiled_per_s_1"], row["warm_compiled_core_ms_1"] = rate(compiled, 1, False, seconds)
    row["cores"] = cores
    return row


def tests_rates(language: Language, seconds: float, tests: int) -> dict[str, Any]:
    """Tests per second of whole programs with `tests` tests each, and core milliseconds of a test.

    Of one cold interpreter a test, one after another; and of forks, with one worker and with one per core.
    """
    cores = len(os.sched_getaffinity(0))
    row: dict[str, Any] = {"language": language.name, "tests": tests, "cores": cores}
    patient = Limits(wall_s=60.0, cpu_s=20.0)
    for key, workers, cold in (("cold", 1, True), ("forked_1", 1, False), ("forked_all", cores, False)):
        per_s, core_ms = rate(language, workers, cold, seconds, functools.partial(_tested_job, tests), patient)
        row[f"{key}_per_s"] = round(per_s * tests, 2)
        row[f"{key}_core_ms"] = None if core_ms is None else round(core_ms / tests, 2)
    return row


def _inside(pid: int) -> list[int]:
    """Processes that descend from `pid`."""
    descendants, frontier = [], [pid]
    while frontier:
        parent = frontier.pop()
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                children = Path(f"/proc/{parent}/task/{task}/children").read_text().split()
                descendants += map(int, children)
                frontier += map(int, children)
    return descendants


def _resident_mib(pids: Sequence[int]) -> float:
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB
    return total


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """Measurements of a long run after some of its programs; the pool is idle."""

    programs: int
    per_s: float
    latency_ms: float
    parent_mib: float
    workers_mib: float
    processes: int
    descriptors: int


def soak(language: Language, programs: int, workers: int | None = None, marks: int = 10) -> Iterator[Mark]:
    """Run `programs` programs through one pool and yield `marks` measurements; the first is the warm-up's.

    Latency is the median time from submission to verdict with one program per worker in flight.
    """
    with Pool(language, workers=workers) as pool:
        index = 0
        for _ in range(marks):
            times: list[float] = []
            begin = time.monotonic()
            waiting: dict[Future[Verdict], float] = {}
            for _ in range(programs // marks):
                index += 1
                waiting[pool.submit(_identity_job(language, index))] = time.monotonic()
                if len(waiting) == pool.workers:
                    future, submitted = next(iter(waiting.items()))
                    _require_ok(language, future.result())
                    times.append(time.monotonic() - submitted)
                    del waiting[future]
            for future in waiting:
                _require_ok(language, future.result())
            spent_s = time.monotonic() - begin
            inside = _inside(os.getpid())
            yield Mark(
                programs=index,
                per_s=round(programs // marks / spent_s, 1),
                latency_ms=round(1000 * statistics.median(times or [spent_s]), 2),
                parent_mib=round(_resident_mib([os.getpid()]), 1),
                workers_mib=round(_resident_mib(inside), 1),
                processes=len(inside),
                descriptors=len(os.listdir("/proc/self/fd")),
            )


def growth(marks: Sequence[Mark]) -> list[str]:
    """What grew from the first mark to the last beyond its usual scatter, as text; empty if nothing did."""
    first, last = marks[0], marks[-1]
    grown = []
    for name, slack in (("parent_mib", 8.0), ("workers_mib", 16.0 + 0.1 * first.workers_mib)):
        if getattr(last, name) > getattr(first, name) + slack:
            grown.append(f"{name} from {getattr(first, name)} to {getattr(last, name)}")
    for name in ("processes", "descriptors"):
        if getattr(last, name) > getattr(first, name):
            grown.append(f"{name} from {getattr(first, name)} to {getattr(last, name)}")
    # The best mark of each half: load from elsewhere only ever slows.
    half = max(1, len(marks) // 2)
    early, late = (min(mark.latency_ms for mark in part) for part in (marks[:half], marks[-half:]))
    if late > 1.5 * early:
        grown.append(f"latency_ms from {early} to {late}")
    return grown


# Python, whose programs can compute for a given time; the pool is what is measured.
_COMPUTE = "import time\ndef f(s):\n    while time.process_time() < s:\n        pass\n    return {index}\n"
_BUSY = "def f(s):\n    while True:\n        pass\n"
# The wall limit as a multiple of the CPU limit, so that a busy machine ends no good program.
_PATIENCE = 2
_ASLEEP = "import time\ndef f(s):\n    time.sleep(1000)\n"


def hanging_batch(python: Language, programs: int, limit_s: float = 0.5, good_s: float = 0.03) -> dict[str, Any]:
    """The time of a batch of which 5% reach their limit, half of them computing and half asleep.

    The bound is (time of the good ones alone in the same pool x cores + limits of the busy bad ones) / cores. Good ones
    compute `good_s` seconds of CPU each. If other work takes a part of the machine, a CPU limit lasts longer in wall
    time: `stretch` is how much longer the core time of the good ones lasted, and the limits are stretched alike.
    """
    count_bad = max(2, programs // 20)
    good = [
        Job(f"good{index}", JobKind.EVALUATE, _COMPUTE.format(index=index), (str(good_s),), (str(index),))
        for index in range(programs - count_bad)
    ]
    bad = [Job(f"bad{index}", JobKind.EVALUATE, _BUSY if index % 2 else _ASLEEP, ("0",)) for index in range(count_bad)]
    mixed = [*good, *bad]
    random.Random(0).shuffle(mixed)
    with _CoreClock() as clock, Pool(python, limits=Limits(wall_s=_PATIENCE * limit_s, cpu_s=limit_s)) as pool:
        elapsed, core_s = [], []
        for jobs in (good[: 2 * pool.workers], good, mixed):
            begin, begin_core_s = time.monotonic(), clock.seconds() or 0.0
            verdicts = list(pool.run(jobs))
            elapsed.append(time.monotonic() - begin)
            core_s.append((clock.seconds() or 0.0) - begin_core_s)
            wrong = [verdict for verdict in verdicts if verdict.correct is not True and verdict.id.startswith("good")]
            if wrong:
                raise ValueError(f"a good program of the batch gives {wrong[0]}")
        busy = sum(job.source == _BUSY for job in bad)
        stretch = max(1.0, elapsed[1] * pool.workers / core_s[1]) if core_s[1] else 1.0
        bound_s = elapsed[1] + stretch * busy * limit_s / pool.workers
    return {
        "programs": programs,
        "busy": busy,
        "asleep": count_bad - busy,
        "limit_s": limit_s,
        "stretch": round(stretch, 2),
        "good_s": round(elapsed[1], 2),
        "mixed_s": round(elapsed[2], 2),
        "bound_s": round(bound_s, 2),
        "over": round(elapsed[2] / bound_s, 3),
    }
