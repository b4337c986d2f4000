"""Hosts as threads of the tests' own process: what they tell each other meets at a barrier, not in a device program."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from azr_jax.hosts.hosts import Hosts

_MEET_S = 60.0


def open_hosts(count: int) -> list[Hosts]:
    barrier = threading.Barrier(count, timeout=_MEET_S)
    frames = [b""] * count

    def gather(index: int, frame: bytes) -> list[bytes]:
        frames[index] = frame
        barrier.wait()
        told = list(frames)
        barrier.wait()  # nobody writes the next before all have read
        return told

    return [Hosts(index, count, functools.partial(gather, index)) for index in range(count)]


def on_all(hosts: Sequence[Hosts], act: Callable[[Hosts], Any]) -> list[Any]:
    """What `act(host)` gives or raises on every host, which are threads here."""
    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as threads:
        futures = [threads.submit(act, host) for host in hosts]
        return [future.exception() or future.result() for future in futures]
