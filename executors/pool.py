"""`Pool`: jobs in, verdicts out, from any number of contained workers of one language.

One thread a worker. A job's time-out holds up no other job, and a worker that dies is replaced. What a program claims
as its value is read back in a clean process before it counts, and compared on the host with the expected value.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import queue
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from executors.jobs import Job, JobKind, Limits, Status, Verdict
from executors.language import Language
from executors.probe import require_tier
from executors.worker import FIRST_SEED, SECOND_SEED, Reply, Worker

_CACHED_VALUES = 16384
# Verdicts on a value text that another reading would give again.
_LASTING = frozenset((Status.OK, Status.FORBIDDEN, Status.UNSERIALISABLE, Status.OUTPUT_LIMIT))


class ValueCache:
    """What reading a value text gave, for the texts met last: thread-safe, at most `capacity` entries."""

    def __init__(self, capacity: int = _CACHED_VALUES) -> None:
        self._capacity = capacity
        self._entries: collections.OrderedDict[str, Reply] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> Reply | None:
        """The reply for `text`, with one canonical text when its status is ok; None when it isn't known."""
        with self._lock:
            reply = self._entries.get(text)
            if reply is not None:
                self._entries.move_to_end(text)
            return reply

    def put(self, text: str, reply: Reply) -> None:
        """Keep `reply` when it is one that lasts."""
        if reply.status not in _LASTING:
            return
        with self._lock:
            self._entries[text] = reply
            if len(self._entries) > self._capacity:
                self._entries.popitem(last=False)


class _Judge:
    """Turns jobs into verdicts with one worker and the pool's cache of values."""

    def __init__(self, language: Language, worker: Worker, cache: ValueCache, limits: Limits) -> None:
        self._language = language
        self._worker = worker
        self._cache = cache
        self._limits = limits
        self._plain = re.compile(language.plain_value) if language.plain_value else None

    def judge(self, job: Job) -> Verdict:
        match job.kind:
            case JobKind.PROGRAM:
                return self._worker.run_program(job.id, _encode(job.source))
            case JobKind.VALUE:
                reply = self._read(job.inputs)
            case JobKind.EVALUATE:
                reply = self._evaluate(job)
        correct = None
        if job.expect is not None and reply.status is not Status.INFRASTRUCTURE:
            correct = False
            if reply.status is Status.OK:
                expected = self._read(job.expect)
                if expected.status is Status.INFRASTRUCTURE:
                    reply, correct = expected, None
                else:
                    correct = expected.status is Status.OK and expected.values == reply.values
        return Verdict(
            id=job.id,
            status=reply.status,
            values=reply.values,
            correct=correct,
            error_kind=reply.error_kind,
            message=reply.message,
            seconds=reply.seconds,
            memory_mib=reply.memory_mib,
        )

    def _evaluate(self, job: Job) -> Reply:
        for word in self._language.forbidden:
            if word in job.source:
                return Reply(Status.FORBIDDEN, "", f"the program holds {word!r}")
        source, inputs = _encode(job.source), [_encode(text) for text in job.inputs]
        reply = self._worker.ask(JobKind.EVALUATE, source, inputs, FIRST_SEED)
        if reply.status is not Status.OK:
            return reply
        if job.determinism:
            again = self._worker.ask(JobKind.EVALUATE, source, inputs, SECOND_SEED)
            if again.status is Status.INFRASTRUCTURE:
                return again
            if again.values != reply.values:
                how = "another value" if again.status is Status.OK else f"the status {again.status}"
                return dataclasses.replace(
                    reply, status=Status.NONDETERMINISTIC, values=(), message=f"a second process gives {how}"
                )
        read = self._read(reply.values)
        if read.status in (Status.INFRASTRUCTURE, Status.TIMEOUT):
            return read
        if read.values != reply.values:
            return dataclasses.replace(
                reply, status=Status.UNSERIALISABLE, values=(), message="the value's text does not read back as itself"
            )
        return reply

    def _is_plain(self, text: str) -> bool:
        return self._plain is not None and len(text) <= self._limits.value_chars and bool(self._plain.fullmatch(text))

    def _read(self, texts: Sequence[str]) -> Reply:
        """The canonical form of each of `texts`, read in a clean process; the first failure when one has none."""
        known = {text: Reply(Status.OK, values=(text,)) for text in texts if self._is_plain(text)}
        unknown = []
        for text in dict.fromkeys(texts):
            if text not in known:
                reply = self._cache.get(text)
                if reply is None:
                    unknown.append(text)
                else:
                    known[text] = reply
        seconds = self._ask_values(unknown, known)
        for text in texts:
            if known[text].status is not Status.OK:
                return known[text]
        values = tuple(known[text].values[0] for text in texts)
        return Reply(Status.OK, values=values, seconds=seconds)

    def _ask_values(self, texts: Sequence[str], known: dict[str, Reply]) -> float:
        """Fill `known` with the replies for `texts`: one process for all, and one for each when that fails."""
        if not texts:
            return 0.0
        together = self._worker.ask(JobKind.VALUE, b"", [_encode(text) for text in texts])
        if together.status is Status.OK:
            replies = [dataclasses.replace(together, values=(value,)) for value in together.values]
        elif len(texts) == 1:
            replies = [together]
        else:
            replies = [self._worker.ask(JobKind.VALUE, b"", [_encode(text)]) for text in texts]
        for text, reply in zip(texts, replies, strict=True):
            known[text] = reply
            self._cache.put(text, reply)
        return together.seconds


def _encode(text: str) -> bytes:
    # Lone surrogates come from bytes that were no UTF-8 (surrogateescape); others have no bytes of their own.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


class Pool:
    """Contained workers of one language. A context manager; thread-safe.

    language: a Language or the name of one in LANGUAGES. workers: how many (default: one a core). limits: of each job.
    cold: a fresh interpreter for every job, the reference that warm workers agree with. allow_tier: the least
    containment to go on with ("namespaces", "landlock" or "limits").
    Raises ValueError at entry when the language isn't known or installed, the machine contains less than `allow_tier`,
    or the language's identity program doesn't give its value.
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
            # Here, because the package's languages are found when the package is complete.
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
        self._allow_tier = allow_tier
        self._queue: queue.SimpleQueue[tuple[Job, concurrent.futures.Future[Verdict]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._cache = ValueCache()
        self._closed = False

    def __enter__(self) -> Pool:
        interpreter = self.language.find()
        if interpreter is None:
            raise ValueError(f"{self.language.full_name} is not installed: {self.language.install_hint}")
        self.tier = require_tier(self._allow_tier)
        self.interpreter = interpreter
        for index in range(self.workers):
            name = f"{self.language.name}-{index}"
            # Daemons: a program that forgets to close the pool still ends, and its workers with it.
            thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._check_identity()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close(cancel=kind is not None)

    def _check_identity(self) -> None:
        language = self.language
        job = Job("identity", JobKind.EVALUATE, language.identity, (language.identity_input,))
        verdict = self.submit(job).result()
        if verdict.status is not Status.OK or verdict.values != (language.identity_output,):
            self.close(cancel=True)
            raise ValueError(
                f"{language.full_name} ({' '.join(self.interpreter.argv)}) fails on its identity program: status "
                f"{verdict.status} {verdict.error_kind} {verdict.values} {verdict.message}; see python -m executors doctor"
            )

    def close(self, cancel: bool = False) -> None:
        """Finish what is queued (with `cancel`: only what is running), then kill the workers. Safe to call twice."""
        self._closed = True
        if cancel:
            while True:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is not None:
                    item[1].cancel()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def submit(self, job: Job) -> concurrent.futures.Future[Verdict]:
        """Queue `job`; its verdict is the future's result."""
        if self._closed or not self._threads:
            raise ValueError("the pool is not open: use it as a context manager")
        future: concurrent.futures.Future[Verdict] = concurrent.futures.Future()
        self._queue.put((job, future))
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

    def _serve(self) -> None:
        worker = Worker(self.language, self.interpreter, self.tier, self.limits, self._cold)
        judge = _Judge(self.language, worker, self._cache, self.limits)
        try:
            while (item := self._queue.get()) is not None:
                job, future = item
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(judge.judge(job))
                except Exception as error:  # noqa: BLE001 - a fault of the pool belongs to whoever waits for the job
                    future.set_exception(error)
        finally:
            worker.close()
