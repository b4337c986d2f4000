"""A started contained process: frames to it and from it, its limits on the way, and its end."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from executors.inside import protocol
from executors.sandbox.cgroup import Group
from executors.sandbox.guardian import Guardian

# A program that hasn't answered by the first look is observed repeatedly. It counts as asleep (or awake) after _LOOKS
# equal observations in a row.
_FIRST_LOOK_S, _LOOK_S, _LOOKS = 0.03, 0.01, 3
_LOWEST_PRIORITY = 19
_FOLDER_LOOK_S = 0.05
_CORES = os.cpu_count() or 1
_CPU_LOOK_S = 0.02


class StreamClosedError(Exception):
    """The contained process closed its reply stream before a frame was complete."""


class DeadlineExceededError(Exception):
    """The deadline passed before a frame was complete."""


class Contained:
    """A started contained process; not safe across threads.

    pid: the process inside, 0 if unknown. folder and group: deleted when the process is killed. listed: the guardian's
    entries to remove then. harness_depth: how far below `pid` the harness is. folder_bytes: the size limit of `folder`.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pid: int,
        folder: Path | None = None,
        group: Group | None = None,
        guardian: Guardian | None = None,
        listed: Sequence[str] = (),
        harness_depth: int = 0,
        folder_bytes: int = 0,
    ) -> None:
        self.process = process
        self.pid = pid
        self.peak_memory_mib = 0.0
        self._folder = folder
        self._group = group
        self._guardian = guardian
        self._listed = listed
        self._harness_depth = harness_depth
        self._folder_bytes = folder_bytes
        self.folder_look_s = math.inf if folder is None else _FOLDER_LOOK_S
        self._memory_kills = self._shortages = 0
        self.starved = False
        self._received = bytearray()
        self._killed = False
        self._next_look_s = 0.0
        assert process.stdout is not None
        self._output = process.stdout.fileno()
        os.set_blocking(self._output, False)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)

    def send(self, fields: Sequence[bytes], deadline: float) -> None:
        """Write a frame. Raises StreamClosedError (the process has gone) or DeadlineExceededError (it doesn't read)."""
        assert self.process.stdin is not None
        descriptor = self.process.stdin.fileno()
        data = memoryview(protocol.encode(fields))
        while data:
            try:
                written = os.write(descriptor, data)
                data = data[written:]
            except BlockingIOError:
                _wait(descriptor, select.POLLOUT, deadline)
            except BrokenPipeError:
                raise StreamClosedError from None

    def receive(
        self, deadline: float, max_bytes: int, cpu_s: float = 0.0, on_sleep: Callable[[bool], bool] | None = None
    ) -> list[bytes]:
        """The next frame. Raises StreamClosedError, DeadlineExceededError (for the CPU limit too) and FrameError.

        `on_sleep` is called with True when nothing inside has been running for a while, and with False when something
        runs again; it returns whether the threads inside keep their priority. If not they get the lowest, and
        `on_sleep` is called again until they may: then they get their priority back, if this user may give it.
        """
        if on_sleep is not None:
            self._watch_sleep(deadline, on_sleep)
        while True:
            frame = protocol.decode(self._received, max_bytes)
            if frame is not None:
                fields, length = frame
                del self._received[:length]
                return fields
            self._wait_output(deadline, cpu_s)
            try:
                chunk = os.read(self._output, 1 << 16)
            except BlockingIOError:
                continue
            if not chunk:
                raise StreamClosedError
            self._received += chunk

    def _watch_sleep(self, deadline: float, on_sleep: Callable[[bool], bool]) -> None:
        """Wait until there is output or the deadline is near; call `on_sleep` when the inside falls asleep or wakes."""
        lies_asleep, yields, other_looks, pause_s = False, False, 0, _FIRST_LOOK_S
        while time.monotonic() + pause_s < deadline:
            with contextlib.suppress(DeadlineExceededError):
                _wait(self._output, select.POLLIN, time.monotonic() + pause_s)
                return
            other_looks = other_looks + 1 if self.is_asleep() is not lies_asleep else 0
            if other_looks == _LOOKS:
                lies_asleep, other_looks = not lies_asleep, 0
                if lies_asleep:
                    on_sleep(True)
                elif not on_sleep(False):
                    yields = True
                    self._set_priority(_LOWEST_PRIORITY, _LOWEST_PRIORITY)
            elif yields and not lies_asleep and on_sleep(False):
                yields = False
                self._set_priority(os.getpriority(os.PRIO_PROCESS, 0), 0)
            pause_s = _LOOK_S

    def is_asleep(self) -> bool:
        """Whether no thread inside runs or waits for a core or a disk; False if that is unknown."""
        states = [state for _, _, state in self._threads()]
        return bool(states) and not any(state in (b"R", b"D", b"") for state in states)

    def _threads(self) -> Iterator[tuple[int, int, bytes]]:
        """Depth below `pid`, number and state of every thread inside; the state is empty if it can't be read."""
        frontier = [(0, self.pid)] if self.pid else []
        while frontier:
            depth, pid = frontier.pop()
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/stat", "rb") as file:
                        yield depth, int(task), file.read().rpartition(b")")[2].split()[0]
                    with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                        frontier += ((depth + 1, int(child)) for child in file.read().split())
            except OSError:
                yield depth, pid, b""

    def _set_priority(self, of_threads: int, of_session: int) -> None:
        """Give every thread of the harness's children a priority; with the lowest they run if nothing else does.

        If the scheduler shares the cores between sessions (autogroup), a thread's priority counts only within its own:
        the session, which each child has to itself, gets one too, if this user may give it.
        """
        for depth, thread, _ in list(self._threads()):
            if depth > self._harness_depth:
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, thread, of_threads)
                with contextlib.suppress(OSError):
                    Path(f"/proc/{thread}/autogroup").write_text(str(of_session))

    def _wait_output(self, deadline: float, cpu_s: float) -> None:
        if not cpu_s or not self.pid:
            _wait(self._output, select.POLLIN, deadline)
            return
        while True:
            left_s = cpu_s - self.cpu_seconds()
            if left_s <= 0:
                raise DeadlineExceededError
            try:
                _wait(self._output, select.POLLIN, min(deadline, time.monotonic() + cpu_pause_s(left_s)))
                return
            except DeadlineExceededError:
                if time.monotonic() >= deadline:
                    raise

    def cpu_seconds(self) -> float:
        """As the function `cpu_seconds`, of the process inside."""
        return cpu_seconds(self.pid)

    @property
    def outputs(self) -> tuple[IO[bytes], IO[bytes]]:
        """Standard output and error of a PROGRAM."""
        assert self.process.stdout is not None and self.process.stderr is not None
        return self.process.stdout, self.process.stderr

    def pause(self, seconds: float) -> None:
        """Wait a moment for the end, at most `seconds`."""
        time.sleep(min(seconds, 0.002))

    def ended(self, wait: bool = False) -> bool:
        """Whether the started process has ended; with `wait`, waits until it has."""
        if self.process.returncode is None:
            # Not Popen.wait, which discards the peak of memory.
            pid, status, usage = os.wait4(self.process.pid, 0 if wait else os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                # A child's peak begins with that of the process that forked it, which may be a large trainer.
                if usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
                    self.peak_memory_mib = max(self.peak_memory_mib, usage.ru_maxrss / 1024)
        return self.process.returncode is not None

    def exit_code(self, timeout_s: float) -> int | None:
        """The exit code (128 + signal for a death by signal); None if it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self.ended():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.001)
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def look_at_memory(self) -> None:
        """Update `peak_memory_mib` while the process inside still runs."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = Path(f"/proc/{self.pid}/status").read_text() if self.pid else ""
            self.peak_memory_mib = max(self.peak_memory_mib, int(text.split("VmHWM:")[1].split()[0]) / 1024)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed something inside for its own memory since the last call.

        `starved` then says whether the group was within its limit: the machine itself was out of memory. Without a
        control group both are False.
        """
        if self._group is None:
            return False
        kills, shortages = self._group.memory_kills(), self._group.own_shortages()
        killed, was_short = kills > self._memory_kills, shortages > self._shortages
        self._memory_kills, self._shortages = kills, shortages
        self.starved = killed and not was_short
        return killed and was_short

    def folder_is_full(self) -> bool:
        """Whether the folder of a whole program holds more than its size limit in the tier namespaces.

        Checked at most every 50 ms, for the tiers in which nothing else limits it.
        """
        now = time.monotonic()
        if self._folder is None or now < self._next_look_s:
            return False
        self._next_look_s = now + _FOLDER_LOOK_S
        with contextlib.suppress(OSError):
            return sum(path.lstat().st_blocks for path in self._folder.rglob("*")) * 512 > self._folder_bytes
        return False

    def kill(self) -> None:
        """Kill everything inside and close the descriptors. Safe to call twice."""
        if self._killed:
            return
        self._killed = True
        # The process group: while bubblewrap sets up its child, that child has no death signal yet.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.ended(wait=True)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._group is not None:
            self.peak_memory_mib = self._group.peak_mib() or self.peak_memory_mib
            self._group.remove()
        if self._guardian is not None:
            for entry in self._listed:
                self._guardian.remove(entry)


def cpu_seconds(pid: int) -> float:
    """CPU time used so far by a process; 0 if it can't be read (it has ended) or `pid` is 0."""
    try:
        return time.clock_gettime((~pid << 3) | 2) if pid else 0.0
    except OSError:
        return 0.0


def cpu_pause_s(left_s: float) -> float:
    """How long to wait before looking again at a process with `left_s` of CPU time left: threads may use all cores."""
    return max(left_s / _CORES, _CPU_LOOK_S)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    poll = select.poll()
    poll.register(descriptor, event)
    # Rounded up: a wait of zero would spin.
    if left_s <= 0 or not poll.poll(int(left_s * 1000) + 1):
        raise DeadlineExceededError
