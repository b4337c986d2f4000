"""The executor pools of all hosts as one: each host runs its share of the programs, and all see the same verdicts.

Programs finish at different times on different hosts, so hosts would see verdicts at different points in their loops.
Therefore verdicts are handed out only when all hosts exchange those that have arrived, in one order: between two
exchanges every host's loop does the same, and makes the same requests of the sampler.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import queue
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from azr_jax.hosts.hosts import Hosts
from azr_jax.loop.interruption import Preempted
from executors import Job, Pool, Status, Verdict

# How long a host with nothing to sample waits for one of its own programs before it asks the other hosts for verdicts.
_WAIT_S = 0.01
_Finished = tuple[int, concurrent.futures.Future[Verdict]]


class SharedPools:
    """The pools of several hosts. Every host calls `submit` for every job, in the same order, on its event loop.

    An exchange is a collective of all devices (see hosts.py): it waits for the decode chunk that they were sent before.

    `must_cut` says whether this host must stop at once; if any host must, `exchange` raises Preempted on all.
    """

    def __init__(self, pools: Mapping[str, Pool], hosts: Hosts, must_cut: Callable[[], bool]) -> None:
        self._pools, self._hosts, self._must_cut = pools, hosts, must_cut
        self._begin()

    def _begin(self) -> None:
        self._submitted = 0
        self._fingerprint = 0
        self._waiting: dict[int, asyncio.Future[Verdict]] = {}
        self._running: dict[int, concurrent.futures.Future[Verdict]] = {}
        self._finished: queue.SimpleQueue[_Finished] = queue.SimpleQueue()

    @property
    def waiting(self) -> int:
        """Jobs without a verdict yet, of all hosts together."""
        return len(self._waiting)

    def note(self, text: str) -> None:
        """Adds what the loop did to the fingerprint that the hosts compare at each exchange."""
        self._fingerprint = zlib.crc32(text.encode("utf-8", "surrogatepass"), self._fingerprint)

    def submit(self, language: str, job: Job) -> asyncio.Future[Verdict]:
        """The job's verdict, at a later exchange; the hosts take the jobs in turn."""
        number = self._submitted
        self._submitted += 1
        self.note(f"{language} {job.id}")
        self._waiting[number] = waiting = asyncio.get_running_loop().create_future()
        if number % self._hosts.count == self._hosts.index:
            finished = self._finished
            self._running[number] = running = self._pools[language].submit(job)
            running.add_done_callback(lambda future: finished.put((number, future)))  # on a thread of the pool
        return waiting

    def exchange(self, wait: bool) -> None:
        """Hands out the new verdicts of all hosts; with `wait` it first waits briefly for one of this host.

        Raises:
          Preempted: a host must stop at once.
          RuntimeError: the hosts' loops have diverged, or a pool failed on some host.
          HostLostError: a host has ended.
        """
        own = [self._fingerprint, self._must_cut(), self._take(_WAIT_S if wait and self._running else 0.0)]
        received = self._hosts.exchange("verdicts", own)
        fingerprints = [fingerprint for fingerprint, _, _ in received]
        if len(set(fingerprints)) > 1:
            raise RuntimeError(
                f"hosts: their loops diverged (fingerprints {fingerprints}); every host needs the same"
                " code, configuration and command. If they have, it is a bug: keep the logs"
            )
        if any(cut for _, cut, _ in received):
            raise Preempted
        for number, fields in sorted((number, fields) for _, _, verdicts in received for number, fields in verdicts):
            if isinstance(fields, str):
                raise RuntimeError(f"executors on host {number % self._hosts.count} of {self._hosts.count}: {fields}")
            waiting = self._waiting.pop(number)
            if not waiting.done():
                waiting.set_result(_verdict(fields))

    def end(self) -> None:
        """Drops the jobs without a verdict; the next play starts anew."""
        for running in self._running.values():
            running.cancel()
        self._begin()

    def _take(self, wait_s: float) -> list[tuple[int, Any]]:
        """New verdicts of this host as JSON, or the error of the pool as text."""
        taken: list[tuple[int, Any]] = []
        end = time.monotonic() + wait_s
        while True:
            try:
                number, future = self._finished.get(timeout=0 if taken else max(0.0, end - time.monotonic()))
            except queue.Empty:
                return taken
            del self._running[number]
            error = future.exception()
            taken.append((number, _fields(future.result()) if error is None else f"{type(error).__name__}: {error}"))


def _fields(verdict: Verdict) -> dict[str, Any]:
    return dataclasses.asdict(verdict)


def _verdict(fields: Mapping[str, Any]) -> Verdict:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Verdict(**{**given, "status": Status(fields["status"])})
