"""From jobs to verdicts: what is asked of a worker, what is read back in a clean process, what is compared here."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
import threading
import time
from collections.abc import Sequence

from executors import outputs
from executors.jobs import Job, JobKind, Limits, Status, Verdict
from executors.language import Language
from executors.worker import FIRST_SEED, SECOND_SEED, Reply, Worker

_CACHED_VALUES = 16384
# Verdicts on a value text that another reading would give again.
_LASTING = frozenset((Status.OK, Status.FORBIDDEN, Status.UNSERIALISABLE, Status.OUTPUT_LIMIT))
# A time-out may be the machine's fault: it is believed for so long.
_TIMEOUT_KEPT_S = 60.0


class ValueCache:
    """What reading a value text gave, for the texts met last: thread-safe, at most `capacity` entries."""

    def __init__(self, capacity: int = _CACHED_VALUES) -> None:
        self._capacity = capacity
        self._entries: collections.OrderedDict[str, tuple[Reply, float]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> Reply | None:
        """The reply for `text`, with one canonical text when its status is ok; None when it isn't known."""
        with self._lock:
            reply, until = self._entries.get(text, (None, 0.0))
            if reply is None or time.monotonic() > until:
                return None
            self._entries.move_to_end(text)
            return reply

    def put(self, text: str, reply: Reply) -> None:
        """Keep `reply` when it is one that lasts, a time-out for a minute."""
        if reply.status in _LASTING:
            until = math.inf
        elif reply.status is Status.TIMEOUT:
            until = time.monotonic() + _TIMEOUT_KEPT_S
        else:
            return
        with self._lock:
            self._entries[text] = (reply, until)
            if len(self._entries) > self._capacity:
                self._entries.popitem(last=False)


class Judge:
    """Turns jobs into verdicts with one worker and the pool's cache of values."""

    def __init__(self, language: Language, worker: Worker, cache: ValueCache, limits: Limits) -> None:
        self._language = language
        self._worker = worker
        self._cache = cache
        self._limits = limits
        self._plain = re.compile(language.plain_value) if language.plain_value else None

    def judge(self, job: Job) -> Verdict:
        """The verdict of `job`."""
        match job.kind:
            case JobKind.PROGRAM:
                return self._run_tests(job) if job.stdin else self._worker.run_program(job.id, _encode(job.source))
            case JobKind.VALUE:
                reply = self._read(job.inputs)
            case JobKind.EVALUATE:
                reply = self._evaluate(job)
        correct = None
        if job.expect is not None and reply.status is not Status.INFRASTRUCTURE:
            correct = False
            if reply.status is Status.OK:
                expected = self._read(job.expect)
                if expected.status is Status.OK:
                    correct = expected.values == reply.values
                else:
                    reply, correct = _unreadable(expected), None
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

    def _run_tests(self, job: Job) -> Verdict:
        """The verdict on a whole program that runs once for each of its tests."""
        source, passed, seconds = _encode(job.source), [], 0.0
        failed = None
        for number, text in enumerate(job.stdin):
            verdict = self._worker.run_program(job.id, source, _encode(text))
            seconds += verdict.seconds
            if verdict.status is Status.INFRASTRUCTURE:
                return dataclasses.replace(verdict, passed=tuple(passed), seconds=seconds)
            passed.append(verdict.ok)
            if verdict.ok and job.expect_stdout is not None:
                passed[-1] = outputs.same(verdict.stdout, job.expect_stdout[number], job.compare)
            if not passed[-1]:
                failed = failed or dataclasses.replace(verdict, message=verdict.message or _wrong(number))
                if not job.all_tests:
                    break
        correct = all(passed) if job.expect_stdout is not None else None
        return dataclasses.replace(failed or verdict, correct=correct, passed=tuple(passed), seconds=seconds)

    def _evaluate(self, job: Job) -> Reply:
        for word in self._language.forbidden:
            if word in job.source:
                return Reply(Status.FORBIDDEN, "", f"the program holds {word!r}")
        source, inputs = _encode(job.source), [_encode(text) for text in job.inputs]
        reply = self._worker.ask(JobKind.EVALUATE, source, inputs, FIRST_SEED)
        if reply.status is not Status.OK:
            return reply
        if job.determinism:
            # In the other order: what an earlier call left behind is no part of an input.
            again = self._worker.ask(JobKind.EVALUATE, source, inputs[::-1], SECOND_SEED)
            if again.status is Status.INFRASTRUCTURE:
                return again
            if again.values[::-1] != reply.values:
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
        """Fill `known` with the replies for `texts`: one process for all, and one for each when that fails.

        Up to the first that fails, which is what counts. Nothing is read again after a time-out: reading all the texts
        of a job takes no longer than twice its limit.
        """
        if not texts:
            return 0.0
        together = self._worker.ask(JobKind.VALUE, b"", [_encode(text) for text in texts])
        if together.status is Status.OK:
            for text, value in zip(texts, together.values, strict=True):
                self._keep(text, dataclasses.replace(together, values=(value,)), known)
        elif together.status is Status.TIMEOUT or len(texts) == 1:
            for text in texts:
                self._keep(text, together, known)
        else:
            for text in texts:
                reply = self._worker.ask(JobKind.VALUE, b"", [_encode(text)])
                self._keep(text, reply, known)
                if reply.status is not Status.OK:
                    break
        return together.seconds

    def _keep(self, text: str, reply: Reply, known: dict[str, Reply]) -> None:
        known[text] = reply
        self._cache.put(text, reply)


def _wrong(number: int) -> str:
    return f"test {number}: it prints something else"


def _unreadable(expected: Reply) -> Reply:
    """The outcome when what the caller expects is no value: never the program's fault."""
    if expected.status is Status.INFRASTRUCTURE:
        return expected
    message = f"the expected value can't be read: {expected.status} {expected.message}".strip()
    return Reply(Status.INFRASTRUCTURE, "Expect", message)


def _encode(text: str) -> bytes:
    # Lone surrogates come from bytes that were no UTF-8 (surrogateescape); others have no bytes of their own, and must
    # not become those of another text.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
