"""From jobs to verdicts: asks a worker, reads its claims back in a clean process, and compares."""

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
from executors.worker import FIRST_SEED, SECOND_SEED, Reply, Request, Worker

_CACHED_VALUES = 16384
# Total time of a job, its inputs' evaluation and all calls, as a multiple of one call's limit. No further call starts
# after that. Starting an interpreter does not count.
_CALLS = 2
# How the evaluation of an input may end, or a call of f: the message says that it was the input's.
_OF_EITHER = frozenset(
    (Status.TIMEOUT, Status.MEMORY, Status.OUTPUT_LIMIT, Status.UNSERIALISABLE, Status.EXIT, Status.CRASH)
)
# Statuses that another reading of the same text would give again.
_LASTING = frozenset((Status.OK, Status.FORBIDDEN, Status.UNSERIALISABLE, Status.OUTPUT_LIMIT))
# A time-out may be the machine's fault: it is cached only this long.
_TIMEOUT_KEPT_S = 60.0


class ValueCache:
    """A cache of replies to requests that read a text: thread-safe, at most `capacity` entries.

    A text has an entry for each kind of request that reads it: as a value or as arguments.
    """

    def __init__(self, capacity: int = _CACHED_VALUES) -> None:
        self._capacity = capacity
        self._entries: collections.OrderedDict[tuple[Request, str], tuple[Reply, float]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, kind: Request, text: str) -> Reply | None:
        """The reply for `text`, with one canonical text if its status is ok; None if it isn't known."""
        with self._lock:
            reply, until = self._entries.get((kind, text), (None, 0.0))
            if reply is None or time.monotonic() > until:
                return None
            self._entries.move_to_end((kind, text))
            return reply

    def put(self, kind: Request, text: str, reply: Reply) -> None:
        """Keep `reply` if it is permanent; keep a time-out for a minute."""
        if reply.status in _LASTING:
            until = math.inf
        elif reply.status is Status.TIMEOUT:
            until = time.monotonic() + _TIMEOUT_KEPT_S
        else:
            return
        with self._lock:
            self._entries[kind, text] = (reply, until)
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
        self._spent_s = 0.0

    def judge(self, job: Job) -> Verdict:
        """The verdict of `job`."""
        self._spent_s = 0.0
        match job.kind:
            case JobKind.PROGRAM:
                if job.stdin:
                    return self._run_tests(job)
                return self._worker.run_program(job.id, _encode(job.source), limits=job.limits)
            case JobKind.VALUE:
                return self._judge_values(job)
            case JobKind.EVALUATE:
                return self._judge_calls(job)

    def _run_tests(self, job: Job) -> Verdict:
        """The verdict on a whole program that runs once for each of its tests."""
        source, passed, seconds = _encode(job.source), [], 0.0
        failed, usual = None, job.limits or self._limits
        for number, text in enumerate(job.stdin):
            expected = job.expect_stdout[number] if job.expect_stdout is not None else ""
            limits = dataclasses.replace(usual, output_bytes=usual.output_bytes + len(_encode(expected)))
            verdict = self._worker.run_program(job.id, source, _encode(text), fork=True, limits=limits)
            seconds += verdict.seconds
            if verdict.status is Status.INFRASTRUCTURE:
                return dataclasses.replace(verdict, passed=tuple(passed), seconds=seconds)
            passed.append(verdict.ok)
            if verdict.ok and job.expect_stdout is not None:
                passed[-1] = outputs.same(verdict.stdout, expected, job.compare)
            if not passed[-1]:
                failed = failed or dataclasses.replace(
                    verdict, message=verdict.message or _wrong(number, verdict.stdout)
                )
                if not job.all_tests:
                    break
            elif seconds > job.total_s:
                text = f"{number + 1} of {len(job.stdin)} tests take {seconds:.1f} s, and {job.total_s:g} s are allowed"
                failed = dataclasses.replace(verdict, status=Status.TIMEOUT, error_kind="wall", message=text)
                passed[-1] = False
                break
        correct = all(passed) if job.expect_stdout is not None else None
        return dataclasses.replace(failed or verdict, correct=correct, passed=tuple(passed), seconds=seconds)

    def _judge_values(self, job: Job) -> Verdict:
        reply = self._read(job.inputs)
        if job.expect is None or reply.status is Status.INFRASTRUCTURE:
            return _verdict(job, reply)
        expected = self._read(job.expect)
        if expected.status is not Status.OK:
            return _verdict(job, _unreadable(expected))
        return _verdict(job, reply, correct=reply.values == expected.values)

    def _judge_calls(self, job: Job) -> Verdict:
        """The verdict of f on each input; the inputs are evaluated first, without the program."""
        for word in self._language.forbidden:
            if word in job.source:
                return _verdict(job, Reply(Status.FORBIDDEN, "", f"the program holds {word!r}"), correct=False)
        arguments = self._read_arguments(job.inputs, job.determinism)
        if arguments.status is not Status.OK:
            return _verdict(job, arguments, correct=False)
        source, expected, values, seconds, reply = _encode(job.source), None, [], 0.0, arguments
        for group in [arguments.values] if job.together else [(text,) for text in arguments.values]:
            reply = self._late() or self._call(source, group, job.determinism)
            seconds += reply.seconds
            if reply.status is not Status.OK:
                break
            values += reply.values
            if expected is None and job.expect is not None:
                expected = self._read(job.expect)
                if expected.status is not Status.OK:
                    return _verdict(job, _unreadable(expected))
            if expected is not None and tuple(values) != expected.values[: len(values)]:
                break
        reply = dataclasses.replace(reply, seconds=seconds, values=tuple(values) if reply.status is Status.OK else ())
        # What was expected has been read already.
        claimed = [text for text in reply.values if expected is None or text not in expected.values]
        reply = self._read_back(reply, Request.VALUE, claimed, "the value's text does not read back as itself")
        correct = reply.status is Status.OK and expected is not None and reply.values == expected.values
        return _verdict(job, reply, correct=correct, inputs=arguments.values)

    def _read_arguments(self, texts: Sequence[str], determinism: bool) -> Reply:
        """The canonical form of each argument list; the first failure if one has none.

        Literals are read in a clean process. Any other text is evaluated in a separate process, and its claim is read
        back in a clean one: with `determinism` a second process with another hash seed has to claim the same.
        """
        read = self._read_each(Request.ARGUMENTS, texts)
        claimed = []
        for text, reply in read.items():
            if reply.status is Status.FORBIDDEN:
                read[text] = self._late() or _of_input(self._evaluate_arguments(text, determinism))
                claimed += read[text].values
            if read[text].status is not Status.OK:
                return read[text] if reply.status is Status.FORBIDDEN else _of_input(reply)
        reply = Reply(Status.OK, values=tuple(read[text].values[0] for text in texts))
        return self._read_back(reply, Request.ARGUMENTS, claimed, "the input's value does not read back as itself")

    def _evaluate_arguments(self, text: str, determinism: bool) -> Reply:
        reply = self._ask(Request.EXPRESSIONS, b"", [_encode(text)])
        if determinism and reply.status is Status.OK:
            again = self._ask(Request.EXPRESSIONS, b"", [_encode(text)], SECOND_SEED)
            return _agreed(reply, again, "the input: a second process gives")
        return reply

    def _call(self, source: bytes, arguments: Sequence[str], determinism: bool) -> Reply:
        """The values of f in a fresh process, or in two with different hash seeds that have to agree."""
        inputs = [_encode(text) for text in arguments]
        reply = self._ask(Request.EVALUATE, source, inputs)
        if determinism and reply.status is Status.OK:
            return _agreed(reply, self._ask(Request.EVALUATE, source, inputs, SECOND_SEED), "a second process gives")
        return reply

    def _ask(self, kind: Request, source: bytes, inputs: Sequence[bytes], seed: int = FIRST_SEED) -> Reply:
        reply = self._worker.ask(kind, source, inputs, seed)
        self._spent_s += reply.seconds
        return reply

    def _late(self) -> Reply | None:
        """A time-out if the job has used up its time."""
        most_s = _CALLS * self._limits.wall_s
        if self._spent_s <= most_s:
            return None
        return Reply(Status.TIMEOUT, "wall", f"the inputs and the calls of f take over {most_s:g} s")

    def _read_back(self, reply: Reply, kind: Request, claimed: Sequence[str], refusal: str) -> Reply:
        """`reply` if a clean process reads every claimed text as itself; `unserialisable` with `refusal` otherwise."""
        for text, read in self._read_each(kind, claimed).items():
            if read.status in (Status.INFRASTRUCTURE, Status.TIMEOUT):
                return read
            if read.values != (text,):
                return dataclasses.replace(reply, status=Status.UNSERIALISABLE, values=(), message=refusal)
        return reply

    def _is_plain(self, text: str) -> bool:
        return self._plain is not None and len(text) <= self._limits.value_chars and bool(self._plain.fullmatch(text))

    def _read(self, texts: Sequence[str]) -> Reply:
        """The canonical form of each value text, read in a clean process; the first failure if one has none."""
        read = self._read_each(Request.VALUE, texts)
        for text in texts:
            if read[text].status is not Status.OK:
                return read[text]
        return Reply(Status.OK, values=tuple(read[text].values[0] for text in texts))

    def _read_each(self, kind: Request, texts: Sequence[str]) -> dict[str, Reply]:
        """Reads each text in a clean process, as a value or as arguments.

        Stops at the first that fails, which decides (arguments that are no literals can still be evaluated).
        Nothing is read again after a time-out: reading all the texts of a job takes no longer than twice its limit.
        """
        read = {text: Reply(Status.OK, values=(text,)) for text in texts if self._is_plain(text)}
        unread = []
        for text in dict.fromkeys(texts):
            if text not in read:
                reply = self._cache.get(kind, text)
                if reply is None:
                    unread.append(text)
                else:
                    read[text] = reply
        if not unread:
            return read
        # One process for all, and one for each if that fails.
        together = self._worker.ask(kind, b"", [_encode(text) for text in unread])
        if together.status is Status.OK:
            for text, value in zip(unread, together.values, strict=True):
                self._keep(kind, text, dataclasses.replace(together, values=(value,)), read)
        elif together.status is Status.TIMEOUT or len(unread) == 1:
            for text in unread:
                self._keep(kind, text, together, read)
        else:
            for text in unread:
                reply = self._worker.ask(kind, b"", [_encode(text)])
                self._keep(kind, text, reply, read)
                if reply.status is not Status.OK and not (
                    kind is Request.ARGUMENTS and reply.status is Status.FORBIDDEN
                ):
                    break
        return read

    def _keep(self, kind: Request, text: str, reply: Reply, read: dict[str, Reply]) -> None:
        read[text] = reply
        self._cache.put(kind, text, reply)


def _verdict(job: Job, reply: Reply, correct: bool = False, inputs: tuple[str, ...] = ()) -> Verdict:
    """`correct` counts if the job has `expect` and the pool did not fail."""
    judged = job.expect is not None and reply.status is not Status.INFRASTRUCTURE
    return Verdict(
        id=job.id,
        status=reply.status,
        values=reply.values,
        inputs=inputs,
        correct=correct if judged else None,
        error_kind=reply.error_kind,
        message=reply.message,
        seconds=reply.seconds,
        memory_mib=reply.memory_mib,
    )


def _agreed(reply: Reply, again: Reply, words: str) -> Reply:
    """`reply` if a second process gave the same values, `nondeterministic` otherwise; a time-out stays one."""
    if again.status in (Status.INFRASTRUCTURE, Status.TIMEOUT):
        return again
    if again.values == reply.values:
        return reply
    how = "another value" if again.status is Status.OK else f"the status {again.status}"
    return dataclasses.replace(reply, status=Status.NONDETERMINISTIC, values=(), message=f"{words} {how}")


def _of_input(reply: Reply) -> Reply:
    """The reply about an input; what a call of f could end with too is said to be the input's."""
    return dataclasses.replace(reply, message=f"the input: {reply.message}") if reply.status in _OF_EITHER else reply


def _wrong(number: int, stdout: str) -> str:
    return f"test {number}: it prints something else" + (", not in UTF-8" if "\ufffd" in stdout else "")


def _unreadable(expected: Reply) -> Reply:
    """The outcome if the caller's `expect` is not a value: never the program's fault."""
    if expected.status is Status.INFRASTRUCTURE:
        return expected
    message = f"the expected value can't be read: {expected.status} {expected.message}".strip()
    return Reply(Status.INFRASTRUCTURE, "Expect", message)


def _encode(text: str) -> bytes:
    # Lone surrogates come from bytes that were not UTF-8 (surrogateescape); others stand for no bytes, and must not
    # become another text's.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
