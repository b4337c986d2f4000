"""Hosts as threads of the tests' own process, with the real connections between them."""

from __future__ import annotations

import concurrent.futures
import threading

from azr_jax.hosts.channel import Channel, Listener, Patience, join

# A busy machine may let a thread wait for seconds: nothing but silence itself is to be taken for silence.
QUICK = Patience(beat_s=0.05, silent_s=60.0, grace_s=0.2)


class Ends:
    """Stands for the ends of processes, which would end the tests."""

    def __init__(self, count: int) -> None:
        self.forced = [threading.Event() for _ in range(count)]


def open_channels(count: int, patience: Patience = QUICK) -> tuple[list[Channel], Ends]:
    ends = Ends(count)
    with Listener() as listener, concurrent.futures.ThreadPoolExecutor(count) as threads:
        joining = [
            threads.submit(
                join,
                ["127.0.0.1"],
                listener.port,
                listener.token,
                number,
                count,
                patience=patience,
                end=ends.forced[number].set,
            )
            for number in range(1, count)
        ]
        first = listener.accept(count, patience=patience, end=ends.forced[0].set)
        return [first, *(each.result() for each in joining)], ends


def on_all(channels, act) -> list:
    """What `act(channel)` gives or raises on each, each in a thread as if on its host."""
    with concurrent.futures.ThreadPoolExecutor(len(channels)) as threads:
        futures = [threads.submit(act, channel) for channel in channels]
        return [future.exception() or future.result() for future in futures]
