"""One worker: the warm processes (or cold starts) that a pool's thread asks. Never raises for what a program does."""

from __future__ import annotations

import dataclasses
import enum
import math
import os
import re
import select
import signal
import time
from collections.abc import Callable, Sequence

from executors.inside import protocol
from executors.jobs import Limits, Status, Verdict
from executors.language import Forking, Interpreter, Language
from executors.sandbox.contained import Contained, DeadlineExceededError, StreamClosedError, cpu_pause_s
from executors.sandbox.fork_server import Forked, Forks, ForkServerError
from executors.sandbox.guardian import Guardian
from executors.sandbox.launch import Launch, Mode, Tier
from executors.sandbox.start import start, start_error

# Julia compiles for 5 s of one core before it serves; at a load of ten per core that takes about a minute.
START_TIMEOUT_S = 180.0
# Delay after the harness' own limit until the host ends a served request.
BACKUP_S = 0.5
FIRST_SEED, SECOND_SEED = 0, 20050303
# Added to the limits of a worker's control group: memory of its warm interpreter, with shared pages; bubblewrap's and
# the harness' tasks.
_RESIDENT_MIB, _OWN_TASKS = 256, 16
_NEVER_CLAIMED = frozenset((Status.INFRASTRUCTURE, Status.NONDETERMINISTIC))
_STATUSES = frozenset(Status)
_CANCELLED = "the pool is closed"
# Of a compiler: its executable is what it prints.
_COMPILING = Limits(wall_s=60.0, cpu_s=30.0, memory_mib=2048, output_bytes=16 << 20, file_mib=16)


class Request(enum.StrEnum):
    """The kinds of requests to a harness; language.py describes their replies."""

    EVALUATE = "evaluate"
    VALUE = "value"
    ARGUMENTS = "arguments"
    EXPRESSIONS = "expressions"


class StartError(Exception):
    """A contained process does not start; the text says why."""


class InvalidReplyError(Exception):
    """A reply that breaks the protocol."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one request to a contained process; fields as in Verdict."""

    status: Status
    error_kind: str = ""
    message: str = ""
    seconds: float = 0.0
    memory_mib: float = 0.0
    values: tuple[str, ...] = ()


def parse_reply(fields: Sequence[bytes], inputs: int, limits: Limits) -> Reply:
    """A harness' reply. Raises InvalidReplyError if it breaks the protocol."""
    if len(fields) < 5:
        raise InvalidReplyError(f"a reply of {len(fields)} fields")
    try:
        word, error_kind, message, seconds, memory_mib, *values = [field.decode() for field in fields]
        reply = Reply(Status(word), error_kind, message, float(seconds), float(memory_mib), tuple(values))
    except (UnicodeDecodeError, ValueError) as error:
        raise InvalidReplyError(f"a field that can't be read: {type(error).__name__}") from None
    if not all(math.isfinite(number) and number >= 0 for number in (reply.seconds, reply.memory_mib)):
        raise InvalidReplyError(f"{reply.seconds} seconds, {reply.memory_mib} MiB")
    if reply.status in _NEVER_CLAIMED:
        raise InvalidReplyError(f"the status {word}")
    if len(values) != (inputs if reply.status is Status.OK else 0):
        raise InvalidReplyError(f"{len(values)} values for {inputs} inputs")
    if any(len(value) > limits.value_chars for value in values):
        return dataclasses.replace(reply, status=Status.OUTPUT_LIMIT, values=(), message="a value is too long")
    cut = limits.message_chars
    return dataclasses.replace(reply, error_kind=error_kind[:cut], message=message[:cut])


class Worker:
    """The contained processes of one thread; only that thread may make, use and close it."""

    def __init__(
        self,
        language: Language,
        interpreter: Interpreter,
        tier: Tier,
        limits: Limits,
        cold: bool = False,
        guardian: Guardian | None = None,
        on_sleep: Callable[[bool], bool] | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._language = language
        self._interpreter = interpreter
        self._tier = tier
        self._limits = limits
        self._cold = cold or not language.serves
        self._forks = Forks(language, interpreter, guardian, tier is Tier.NAMESPACES and not cold)
        self._guardian = guardian
        self._on_sleep = on_sleep
        self._is_cancelled = is_cancelled
        self._serving: dict[int, Contained] = {}
        self._compiled: tuple[bytes, bytes] | None = None
        # A reply holds one value per input (at most 4 bytes per character), a message and a few short fields.
        self._value_bytes = 4 * limits.value_chars + 8
        self._fixed_bytes = 8 * limits.message_chars + 4096

    def close(self) -> None:
        """Kill the processes."""
        for process in self._serving.values():
            process.kill()
        self._serving.clear()
        self._forks.close()

    def ask(self, kind: Request, source: bytes, inputs: Sequence[bytes], seed: int = FIRST_SEED) -> Reply:
        """Evaluate in a fresh process. If it is killed from outside, try once more, then answer `infrastructure`."""
        reply = self._ask_twice(kind, source, inputs, seed)
        output = f"{self._limits.value_chars} characters a value"
        limit = self._limits.reached(reply.status, reply.seconds, output)
        return dataclasses.replace(reply, message=limit or reply.message)

    def _ask_twice(self, kind: Request, source: bytes, inputs: Sequence[bytes], seed: int) -> Reply:
        message = ""
        for _ in range(2):
            if self._is_cancelled():
                message = _CANCELLED
                break
            try:
                once = self._cold and self._language.once
                return (self._ask_once if once else self._ask)(kind, source, inputs, seed)
            except StreamClosedError:
                message = "the contained process was killed from outside, twice"
                self._forget(seed)
            except (StartError, OSError, ValueError) as error:
                message = f"the contained process does not start: {error}"
                self._forget(seed)
            finally:
                if self._cold:
                    self._forget(seed)
        return Reply(Status.INFRASTRUCTURE, "", message)

    def _ask(self, kind: Request, source: bytes, inputs: Sequence[bytes], seed: int) -> Reply:
        process = self._serving.get(seed)
        if process is None:
            process = self._serving[seed] = self._start(Mode.SERVE, seed)
        begin = time.monotonic()
        deadline = begin + self._limits.wall_s + BACKUP_S
        try:
            process.send(self._request(kind, source, inputs, seed), deadline)
            max_bytes = self._fixed_bytes + len(inputs) * self._value_bytes
            fields = process.receive(deadline, max_bytes, on_sleep=self._on_sleep)
            reply = parse_reply(fields, len(inputs), self._limits)
            if reply.status is Status.CRASH and process.ran_out_of_memory():
                return dataclasses.replace(reply, status=Status.MEMORY, error_kind="", message="")
            if process.starved:
                raise StreamClosedError
            return reply
        except StreamClosedError:
            # Not `infrastructure`: a program must not be able to blame the pool for its own end.
            if not process.ran_out_of_memory():
                raise
            self._forget(seed)
            return Reply(Status.MEMORY, seconds=time.monotonic() - begin)
        except DeadlineExceededError:
            self._forget(seed)
            return Reply(Status.TIMEOUT, seconds=time.monotonic() - begin)
        except InvalidReplyError as error:
            # The frame was complete, so the harness is still in step; keep it, since a restart costs seconds.
            return Reply(Status.CRASH, "InvalidReply", str(error), time.monotonic() - begin)
        except protocol.FrameError as error:
            self._forget(seed)
            return Reply(Status.CRASH, "InvalidReply", str(error), time.monotonic() - begin)

    def _ask_once(self, kind: Request, source: bytes, inputs: Sequence[bytes], seed: int) -> Reply:
        process = self._start(Mode.ONCE, seed)
        try:
            reply = self._answer_once(process, self._request(kind, source, inputs, seed), len(inputs))
            process.look_at_memory()
        finally:
            process.kill()
        return dataclasses.replace(reply, memory_mib=process.peak_memory_mib)

    def _answer_once(self, process: Contained, request: Sequence[bytes], inputs: int) -> Reply:
        # The process that runs the program also writes the reply: its own measurement of time is not trusted.
        begin = time.monotonic()
        deadline = begin + self._limits.wall_s
        try:
            cpu_s = process.cpu_seconds() + self._limits.cpu_s
            process.send(request, deadline)
            fields = process.receive(deadline, self._fixed_bytes + inputs * self._value_bytes, cpu_s)
            seconds = time.monotonic() - begin
            return dataclasses.replace(parse_reply(fields, inputs, self._limits), seconds=seconds)
        except DeadlineExceededError:
            return Reply(Status.TIMEOUT, seconds=time.monotonic() - begin)
        except (InvalidReplyError, protocol.FrameError) as error:
            return Reply(Status.CRASH, "InvalidReply", str(error), time.monotonic() - begin)
        except StreamClosedError:
            code = process.exit_code(BACKUP_S)
            seconds = time.monotonic() - begin
            if process.ran_out_of_memory():
                return Reply(Status.MEMORY, seconds=seconds)
            if code == 128 + signal.SIGKILL:
                raise
            return _judge_exit(code, seconds)

    def _request(self, kind: Request, source: bytes, inputs: Sequence[bytes], seed: int) -> list[bytes]:
        limits = self._limits
        text = f"{limits.wall_s} {limits.cpu_s} {limits.memory_mib} {limits.value_chars} {limits.message_chars}"
        return [kind.encode(), text.encode(), b"%d" % seed, source, *inputs]

    def _launch(self, mode: Mode, seed: int) -> Launch:
        harness = self._language.harness
        if harness is None:
            raise StartError(f"{self._language.name} has whole programs alone: send it jobs of the kind program")
        launch = Launch(
            mode=mode,
            argv=lambda folder: self._language.harness_argv(self._interpreter, f"{folder}/{harness.name}", mode.value),
            interpreter=self._interpreter,
            tier=self._tier,
            hash_seed=seed,
            harness_dir=harness.parent,
            file_mib=self._limits.file_mib,
        )
        return self._bounded(launch, self._limits)

    def _bounded(self, launch: Launch, limits: Limits) -> Launch:
        """`launch` with the limits of the worker's control group, and whether its programs may start threads."""
        return dataclasses.replace(
            launch,
            bound_mib=limits.memory_mib + self._language.memory_overhead_mib + _RESIDENT_MIB,
            tasks=limits.processes + _OWN_TASKS,
            threads=self._language.threads,
            hardens=self._language.hardens,
        )

    def _start(self, mode: Mode, seed: int) -> Contained:
        launch = self._launch(mode, seed)
        process = start(launch, self._guardian)
        try:
            ready = process.receive(time.monotonic() + START_TIMEOUT_S, 64)
        except (StreamClosedError, DeadlineExceededError, protocol.FrameError):
            process.kill()
            raise StartError(start_error(launch)) from None
        if ready != [b"ready"]:
            process.kill()
            raise StartError(f"its first frame is {ready!r}, not [b'ready']")
        return process

    def _forget(self, seed: int) -> None:
        process = self._serving.pop(seed, None)
        if process is not None:
            process.kill()

    def run_program(
        self, job_id: str, source: bytes, stdin: bytes = b"", fork: bool = False, limits: Limits | None = None
    ) -> Verdict:
        """Run a whole program in a fresh process with the real interpreter, `stdin` on its standard input.

        With `fork` the process is a fork of a started interpreter, where the language and the tier allow it. `limits`:
        instead of the worker's.
        """
        language, name = self._language, f"program{self._language.extension}"
        forking = language.forking if fork else None
        if forking is not None and not re.match(forking.programs.encode(), source):
            forking = None
        if language.compile_argv is not None:
            executable = self._compile(job_id, name, source)
            if isinstance(executable, Verdict):
                return executable
            name, source = "program", executable
        return self._run_file(job_id, self._program(name, source, stdin), limits or self._limits, forking)[0]

    def _program(self, name: str, source: bytes, stdin: bytes) -> Launch:
        return Launch(
            mode=Mode.PROGRAM,
            argv=lambda folder: self._language.program_argv(self._interpreter, f"{folder}/{name}"),
            interpreter=self._interpreter,
            tier=self._tier,
            hash_seed=FIRST_SEED,
            file_mib=self._limits.file_mib,
            source_name=name,
            source=source,
            stdin=stdin,
        )

    def _compile(self, job_id: str, name: str, source: bytes) -> bytes | Verdict:
        """The executable of a program's text, kept for the next test of the same program; or why there is none."""
        if self._compiled is None or self._compiled[0] != source:
            compile_argv = self._language.compile_argv
            assert compile_argv is not None
            launch = dataclasses.replace(
                self._program(name, source, b""),
                argv=lambda folder: compile_argv(self._interpreter, f"{folder}/{name}"),
                children=True,
                file_mib=_COMPILING.file_mib,
            )
            verdict, executable = self._run_file(job_id, launch, _COMPILING)
            if not verdict.ok:
                failed = Status.SYNTAX_ERROR if verdict.status is Status.RUNTIME_ERROR else verdict.status
                return dataclasses.replace(verdict, status=failed, stdout="")
            self._compiled = source, executable
        return self._compiled[1]

    def _run_file(
        self, job_id: str, launch: Launch, limits: Limits, forking: Forking | None = None
    ) -> tuple[Verdict, bytes]:
        """The verdict of a PROGRAM within `limits`, and what it printed."""
        launch = dataclasses.replace(
            self._bounded(launch, limits),
            memory_mib=limits.memory_mib + self._language.memory_overhead_mib,
            cpu_s=limits.cpu_s,
            output_bytes=limits.output_bytes,
        )
        for _ in range(2):
            if self._is_cancelled():
                return Verdict(job_id, Status.INFRASTRUCTURE, message=_CANCELLED), b""
            begin = time.monotonic()
            try:
                if server := self._forks.server(launch, forking) if forking else None:
                    begin = time.monotonic()
                process = server.begin(launch) if server else start(launch, self._guardian)
            except ForkServerError:
                continue
            except (OSError, ValueError) as error:
                return Verdict(job_id, Status.INFRASTRUCTURE, message=f"the sandbox does not start: {error}"), b""
            try:
                status, outputs = _drain(process, limits, begin)
                code = None if status else process.exit_code(BACKUP_S)
                if code == 128 + signal.SIGKILL and process.ran_out_of_memory():
                    status = Status.MEMORY
            finally:
                seconds = time.monotonic() - begin
                process.kill()
            if status is not None or code != 128 + signal.SIGKILL:
                verdict = self._judge_program(job_id, status, code, outputs)
                limit = limits.reached(verdict.status, seconds, f"{limits.output_bytes} bytes, or the folder is full")
                verdict = dataclasses.replace(
                    verdict, message=limit or verdict.message, seconds=seconds, memory_mib=process.peak_memory_mib
                )
                return verdict, outputs[0]
        return Verdict(job_id, Status.INFRASTRUCTURE, message="the program was killed from outside, twice"), b""

    def _judge_program(
        self, job_id: str, status: Status | None, code: int | None, outputs: tuple[bytes, bytes]
    ) -> Verdict:
        stdout, stderr = (output.decode("utf-8", "replace") for output in outputs)
        if status is None:
            if code == 0:
                status = Status.OK
            elif code == 128 + signal.SIGXCPU:
                status = Status.TIMEOUT
            elif any(mark in stderr for mark in self._language.memory_errors):
                status = Status.MEMORY
            elif code is None or _signal_of(code):
                status = Status.CRASH
            elif any(mark in stderr for mark in self._language.syntax_errors):
                status = Status.SYNTAX_ERROR
            else:
                status = Status.RUNTIME_ERROR
        lines = stderr.strip().splitlines()
        message = lines[-1][: self._limits.message_chars] if lines and status is not Status.OK else ""
        return Verdict(job_id, status, message=message, exit_code=code, stdout=stdout, stderr=stderr)


def _signal_of(code: int) -> signal.Signals | None:
    """The signal for which an exit code stands; None for a code that the program chose, such as -1 or 255."""
    try:
        return signal.Signals(code - 128) if code > 128 else None
    except ValueError:
        return None


def _judge_exit(code: int | None, seconds: float) -> Reply:
    """The status of a process that ended without a reply."""
    if code is None:
        return Reply(Status.CRASH, "ReplyClosed", "the program closed the reply stream", seconds)
    if code == 128 + signal.SIGXCPU:
        return Reply(Status.TIMEOUT, seconds=seconds)
    if number := _signal_of(code):
        return Reply(Status.CRASH, number.name, "", seconds)
    return Reply(Status.EXIT, "", f"the process ended with exit code {code}", seconds)


def _drain(process: Contained | Forked, limits: Limits, begin: float) -> tuple[Status | None, tuple[bytes, bytes]]:
    """Read both outputs until the program ends or reaches a limit, which the status then names."""
    outputs = {stream.fileno(): bytearray() for stream in process.outputs}
    streams = tuple(outputs)
    poll = select.poll()
    for descriptor in streams:
        os.set_blocking(descriptor, False)
        poll.register(descriptor, select.POLLIN)
    open_streams = set(streams)
    status = None
    while open_streams or not process.ended():
        wall_left_s, cpu_left_s = begin + limits.wall_s - time.monotonic(), limits.cpu_s - process.cpu_seconds()
        if wall_left_s <= 0 or cpu_left_s <= 0:
            status = Status.TIMEOUT
            break
        left_s = min(wall_left_s, cpu_pause_s(cpu_left_s), process.folder_look_s)
        if not open_streams:
            # The outputs are closed but the process runs on.
            process.pause(left_s)
            continue
        for descriptor, _ in poll.poll(int(left_s * 1000) + 1):
            chunk = os.read(descriptor, 1 << 16)
            outputs[descriptor] += chunk
            if not chunk:
                poll.unregister(descriptor)
                open_streams.discard(descriptor)
        if any(len(output) > limits.output_bytes for output in outputs.values()) or process.folder_is_full():
            status = Status.OUTPUT_LIMIT
            break
    process.look_at_memory()
    stdout, stderr = (bytes(outputs[descriptor][: limits.output_bytes]) for descriptor in streams)
    return status, (stdout, stderr)
