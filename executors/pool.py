"""`Pool`: jobs in, verdicts out, from any number of contained workers of one language.

One thread per worker. A job's time-out delays no other job, and a worker that dies is replaced. While a program sleeps,
another uses its slot. When it wakes it waits for the next free slot, ahead of queued jobs, and until then runs at the
lowest priority (to its end, if this user can't raise priorities), so that it takes no time from programs with a slot.
"""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import logging
import os
import queue
import signal
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from executors import trial
from executors.jobs import Job, JobKind, Limits, Status, Verdict
from executors.judge import Judge, ValueCache
from executors.language import Interpreter, Language
from executors.sandbox.guardian import Guardian
from executors.sandbox.launch import TIER_MEANING, Tier
from executors.sandbox.probe import require_tier
from executors.sandbox.start import close_memory
from executors.worker import Worker

# Extra workers per requested worker: started only while programs sleep.
_LENT = 4
# Retries of the identity program after time-outs.
_PATIENCE = 4

_LOG = logging.getLogger(__name__)
_Item = tuple[Job, concurrent.futures.Future[Verdict]]


class Pool:
    """Contained workers of one language. A context manager; thread-safe.

    language: a Language or the name of one in LANGUAGES. workers: how many programs run at once, not counting sleeping
    ones (default: one per core). limits: of each job.
    cold: a fresh interpreter for every job, the reference for warm workers. allow_tier: the least containment to accept
    ("namespaces", "landlock" or "limits").
    cold_because: why an open pool switched to cold starts.
    Raises ValueError at entry if the language isn't known or installed, the machine contains less than `allow_tier`,
    this process ignores SIGCHLD, or the language's identity program doesn't return its value.
    """

    def __init__(
        self,
        language: str | Language,
        *,
        workers: int | None = None,
        limits: Limits | None = None,
        cold: bool = False,
        allow_tier: str = "namespaces",
    ) -> None:
        if isinstance(language, str):
            # Imported here, because LANGUAGES is complete only when the package is loaded.
            from executors import LANGUAGES

            if language not in LANGUAGES:
                raise ValueError(f"language is {language!r}: use one of {', '.join(sorted(LANGUAGES))}")
            language = LANGUAGES[language]
        self.language = language
        self.workers = workers if workers is not None else os.cpu_count() or 1
        if self.workers < 1:
            raise ValueError(f"workers is {workers}: use at least 1")
        self.limits = limits or Limits()
        self._cold = cold
        # Why the warm server is not used although requested; empty if it is.
        self.cold_because = ""
        self._allow_tier = allow_tier
        self._pending: collections.deque[_Item] = collections.deque()
        self._idle: list[_Seat] = []
        self._seats: list[_Seat] = []
        # Seats whose programs woke after their slots were taken; the first gets the next free slot.
        self._woken: collections.deque[_Seat] = collections.deque()
        self._free = self.workers
        self._changed = threading.Condition()
        self._cache = ValueCache()
        self._guardian: Guardian | None = None
        self._is_open = self._is_cancelled = False

    def __enter__(self) -> Pool:
        interpreter = self.language.find()
        if interpreter is None:
            raise ValueError(f"{self.language.full_name} is not installed: {self.language.install_hint}")
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            # Inherited from a shell's `trap '' CHLD` or a supervisor: the kernel then keeps no exit status.
            raise ValueError(
                "SIGCHLD is ignored in this process, so how a program ended can't be told: "
                "call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first"
            )
        self.tier = require_tier(self._allow_tier)
        level = logging.INFO if self.tier is max(Tier) else logging.WARNING
        _LOG.log(
            level,
            "%s programs run in the tier %s: %s",
            self.language.full_name,
            self.tier.name.lower(),
            TIER_MEANING[self.tier],
        )
        if self.tier is Tier.LIMITS:
            # Programs run as this user and see its processes; this process' memory holds the expected values.
            close_memory()
        self.interpreter = interpreter
        self._guardian, self._is_open = Guardian(), True
        if not self._cold and trial.has_both_ways(self.language):
            self._try_warm_server(interpreter)
        self._check_identity()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close(cancel=kind is not None)

    def _try_warm_server(self, interpreter: Interpreter) -> None:
        """Switch to cold starts, with a warning, if the warm server fails its trial."""
        self.cold_because = trial.fault(self.language, interpreter, self.tier, self._guardian)
        if self.cold_because:
            self._cold = True
            _LOG.warning(
                "%s %s: every program starts a fresh interpreter, which is correct but slower: %s. Tested versions: %s",
                self.language.full_name,
                interpreter.version,
                self.cold_because,
                ", ".join(self.language.tested),
            )

    def _check_identity(self) -> None:
        language = self.language
        job = Job("identity", JobKind.EVALUATE, language.identity, (language.identity_input,))
        wanted: tuple[str, ...] = (language.identity_output,)
        if language.harness is None:
            # The language has whole programs only.
            job, wanted = Job("identity", JobKind.PROGRAM, language.identity), ()
        verdict = self.submit(job).result()
        for _ in range(_PATIENCE):
            if verdict.status is not Status.TIMEOUT:
                break
            # The machine may be busy, or the limits short. This trial only checks that programs run at all.
            verdict = self.submit(job).result()
        if verdict.status is not Status.OK or verdict.values != wanted:
            self.close(cancel=True)
            raise ValueError(
                f"{language.full_name} ({' '.join(self.interpreter.argv)}) fails on its identity program: "
                f"{verdict.status} {verdict.error_kind} {verdict.values} {verdict.message}"
            )

    def close(self, cancel: bool = False) -> None:
        """Finish what is queued, then kill the workers; with `cancel` at once. Safe to call twice."""
        with self._changed:
            self._is_cancelled = cancel
            was_open, self._is_open = self._is_open, False
            dropped = list(self._pending) if cancel else []
            if cancel:
                self._pending.clear()
        for _, future in dropped:
            future.cancel()
        if not was_open or self._guardian is None:
            return
        if cancel:
            self._guardian.close()  # which ends whatever is running
        with self._changed:
            self._changed.wait_for(lambda: not self._pending and len(self._idle) == len(self._seats))
        for seat in self._seats:
            seat.inbox.put(None)
        for seat in self._seats:
            seat.thread.join()
        self._seats.clear()
        self._idle.clear()
        self._guardian.close()

    def submit(self, job: Job) -> concurrent.futures.Future[Verdict]:
        """Queue `job`; its verdict is the future's result."""
        future: concurrent.futures.Future[Verdict] = concurrent.futures.Future()
        with self._changed:
            if not self._is_open:
                raise ValueError("the pool is not open: use it as a context manager")
            self._pending.append((job, future))
            self._dispatch()
        return future

    def run(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        """Verdicts of `jobs` as they finish; takes from `jobs` as workers become free."""
        source = iter(jobs)
        pending = {self.submit(job) for job in itertools.islice(source, 8 * self.workers + 64)}
        while pending:
            done, pending = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
            pending |= {self.submit(job) for job in itertools.islice(source, len(done))}
            for future in done:
                yield future.result()

    def run_all(self, jobs: Iterable[Job]) -> list[Verdict]:
        """Verdicts of `jobs`, in their order."""
        return [future.result() for future in [self.submit(job) for job in jobs]]

    def _dispatch(self) -> None:
        """Give pending jobs to seats while slots are free; called with the lock held.

        The most recently idle seat works first, so that no unneeded workers start.
        """
        while self._woken and self._free > 0:
            self._woken.popleft().lent = False
            self._free -= 1
        while self._pending and self._free > 0:
            if self._idle:
                seat = self._idle.pop()
            elif len(self._seats) < self.workers * (1 + _LENT):
                try:
                    seat = _Seat(self, len(self._seats))
                except RuntimeError as error:  # the machine gives no more threads
                    if self._seats:
                        return  # the next idle seat takes the job
                    _, future = self._pending.popleft()
                    if future.set_running_or_notify_cancel():
                        future.set_exception(error)
                    continue
                self._seats.append(seat)
            else:
                return
            self._free -= 1
            seat.inbox.put(self._pending.popleft())

    def _lend(self, seat: _Seat, asleep: bool) -> bool:
        """Note that the program of `seat` sleeps, which frees its slot, or is awake; returns whether it may run on."""
        with self._changed:
            if asleep:
                if seat in self._woken:
                    self._woken.remove(seat)
                self._free += not seat.lent
                seat.lent = True
            elif seat.lent and seat not in self._woken:
                self._woken.append(seat)
            self._dispatch()
            return asleep or not seat.lent

    def _rest(self, seat: _Seat) -> None:
        """Note that the seat is idle."""
        with self._changed:
            if seat in self._woken:
                self._woken.remove(seat)
            self._free += not seat.lent
            seat.lent = False
            self._idle.append(seat)
            self._dispatch()
            self._changed.notify_all()


class _Seat:
    """A thread with its worker. The thread lives as long as the pool: its processes die with it."""

    def __init__(self, pool: Pool, index: int) -> None:
        self._pool = pool
        self.lent = False
        self.inbox: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        # Daemons: a program that forgets to close the pool still ends, and its workers with it.
        self.thread = threading.Thread(target=self._work, name=f"{pool.language.name}-{index}", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        pool, worker, judge = self._pool, None, None
        try:
            while (item := self.inbox.get()) is not None:
                job, future = item
                if future.set_running_or_notify_cancel():
                    try:
                        if judge is None:
                            worker = self._worker()
                            judge = Judge(pool.language, worker, pool._cache, pool.limits)
                        future.set_result(judge.judge(job))
                    except Exception as error:  # noqa: BLE001 - a fault of the pool belongs to whoever waits for the job
                        future.set_exception(error)
                pool._rest(self)
        finally:
            if worker is not None:
                worker.close()

    def _worker(self) -> Worker:
        pool = self._pool
        assert pool._guardian is not None
        return Worker(
            pool.language,
            pool.interpreter,
            pool.tier,
            pool.limits,
            pool._cold,
            pool._guardian,
            lambda asleep: pool._lend(self, asleep),
            lambda: pool._is_cancelled,
        )
