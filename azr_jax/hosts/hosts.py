"""The hosts of a run, on JAX's own runtime: how they find each other, agree on what happens, and end together.

Every host runs the same command and sends the same programs to the devices, in the same order: a host that does
otherwise would leave the others waiting in a collective. What differs from host to host (signals, the time at which
programs end, files of one machine) is therefore exchanged before anything depends on it: `Hosts.exchange` gathers small
JSON values by a small device program. No port but JAX's coordinator's is open between the hosts.

A host that is killed, or whose machine or network is gone, stops sending heartbeats to JAX's coordinator on host 0.
Within HEARTBEAT_S and a few seconds JAX's runtime then ends every process, also one that waits in a device program, and
names the lost host by its --process_id ("The following tasks are unhealthy"; "leader task" is host 0). One thing the
runtime has no public call for: why a host ended. `tell_end` and `_watch_ends` put that into the key-value store of the
same coordinator, whose client is private to JAX; without it an error of one host would reach the others half a minute
later, and as a number alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from azr_jax.devices import has_tpu

Value = TypeVar("Value")
# Every host's bytes, in any order, given this host's.
Gather = Callable[[bytes], list[bytes]]

# Seconds without a heartbeat until JAX's runtime declares a host lost.
HEARTBEAT_S = 30
# How long hosts wait at the end for the first one, which writes report and export and may copy them to a bucket.
_SHUTDOWN_S = 1800
# Bytes that one device program exchanges from each host; a longer value takes a second program.
_FRAME_BYTES = 4096
_HEAD_BYTES = 4
_END_KEY = "azr_jax/end"
_END_POLL_S = 600
# How long the first host, whose process is the coordinator, waits until the others have read why it ends.
_TOLD_S = 2.0
_WATCHER_S = 10.0  # until a watcher is left behind that JAX's shutdown should have woken
# Errors that a user can fix: one line, no traceback.
_PLAIN = (ValueError, RuntimeError, OSError)
_RESUMES = "no host can go on without it: start the same command on every host again, it resumes from the newest save"


class HostLostError(RuntimeError):
    """Another host has ended; this one cannot continue."""


@dataclasses.dataclass
class Hosts:
    """Host `index` of `count`; a context manager. With one host everything is local and costs nothing.

    `gather` carries the bytes of each host to all, and `watcher` waits for other hosts' ends; None with one host.
    """

    index: int = 0
    count: int = 1
    gather: Gather | None = None
    watcher: threading.Thread | None = None
    _exchanges: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the host that writes what only one may write."""
        return self.index == 0

    @property
    def are_many(self) -> bool:
        """Whether there are other hosts."""
        return self.count > 1

    def exchange(self, what: str, value: Any) -> list[Any]:
        """The JSON values of all hosts in their order; every host calls it at the same place, which `what` names.

        Raises:
          HostLostError: a host has ended.
          RuntimeError: the hosts are at different places of the program.
        """
        if self.gather is None:
            return [value]
        number = self._exchanges
        self._exchanges += 1
        frames = self.gather(json.dumps([self.index, number, what, value]).encode("ascii"))
        ordered = sorted(map(json.loads, frames), key=lambda frame: frame[0])
        first = ordered[0]
        for host, frame in enumerate(ordered):
            if frame[1:3] != first[1:3]:
                raise RuntimeError(
                    f"hosts: host {host} is at {frame[2]!r} ({frame[1]}) where host 0 is at {first[2]!r} ({first[1]}):"
                    " they diverged; every host needs the same code, configuration and command"
                )
        return [frame[3] for frame in ordered]

    def first(self, what: str, make: Callable[[], Value]) -> Value:
        """Calls `make` only on the first host; every host returns its result, which is JSON."""
        return self.exchange(what, make() if self.is_first else None)[0]

    def any(self, what: str, flag: bool) -> bool:
        """Whether `flag` is true on any host."""
        return any(self.exchange(what, flag))

    def together(self, what: str, act: Callable[[], None]) -> None:
        """Calls `act` on every host; if it fails on one, every host raises, so that all go on alike.

        Raises:
          RuntimeError, OSError: it failed on some host.
        """
        if self.gather is None:
            act()
            return
        own: Exception | None = None
        try:
            act()
        except (RuntimeError, OSError) as error:
            own = error
        failed = {host: text for host, text in enumerate(self.exchange(what, str(own) if own else "")) if text}
        if own is not None:
            raise own
        if failed:
            host, text = next(iter(failed.items()))
            raise RuntimeError(f"on host {host} of {self.count}: {text}")

    def __enter__(self) -> Hosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the other hosts; after an error, tells them why and ends the process.

        It ends at once: Python's own exit would wait minutes for hosts that wait for this one.
        """
        if self.gather is None:
            return
        if error is None:
            import jax

            jax.distributed.shutdown()
            if self.watcher is not None:
                self.watcher.join(_WATCHER_S)
        elif is_loss(error):
            _end_with_the_lost(self.count, error)
        else:
            tell_end(f"host {self.index} of {self.count} ended with an error ({type(error).__name__}: {error})")
            if isinstance(error, _PLAIN):
                sys.stderr.write(f"error: {error}\n")
            else:
                traceback.print_exception(kind, error, trace)
            if self.is_first:
                time.sleep(_TOLD_S)
            _exit()


def is_loss(error: BaseException) -> bool:
    """Whether a device program or an exchange fails with this error if another host has ended."""
    # gloo's failures reach Python as ValueError, those of other transports as JaxRuntimeError.
    failed = type(error).__name__ == "JaxRuntimeError" and "RESOURCE_EXHAUSTED" not in str(error)
    return isinstance(error, HostLostError) or failed or "Gloo" in str(error)


def _end_with_the_lost(count: int, error: BaseException) -> NoReturn:
    """Reports that a host is lost, then waits until JAX or the lost host's message names it and ends this process."""
    line = str(error).strip().splitlines()[0]
    sys.stderr.write(
        f"error: a device program of {count} hosts failed ({line}). If another host has ended, JAX names it here within"
        f" {HEARTBEAT_S} s, by its --process_id; {_RESUMES}\n"
    )
    sys.stderr.flush()
    time.sleep(2 * HEARTBEAT_S)
    sys.stderr.write("error: no host is lost, so the error above is this program's own\n")
    traceback.print_exception(error)
    _exit()


def _exit() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def tell_end(text: str) -> None:
    """Tells the other hosts why this one ends; only the first message counts."""
    from jax._src import distributed

    with contextlib.suppress(Exception):  # the coordinator may have ended before
        assert distributed.global_state.client is not None
        distributed.global_state.client.key_value_set(_END_KEY, text)


def _watch_ends(index: int) -> threading.Thread:
    """Ends this process when another host has reported its end: the main thread may hang in a device program.

    The thread ends when JAX's client is shut down. Wait for it: one that is still in JAX's C++ while Python ends aborts
    the process.
    """
    from jax._src import distributed

    def watch() -> None:
        while (client := distributed.global_state.client) is not None:
            try:
                text = client.blocking_key_value_get(_END_KEY, 1000 * _END_POLL_S)
            except Exception as error:  # noqa: BLE001 - no host has ended yet, or the coordinator has
                if "DEADLINE_EXCEEDED" not in str(error):
                    return
                continue
            if not text.startswith(f"host {index} "):
                sys.stderr.write(f"error: {text}; {_RESUMES}\n")
                sys.stderr.flush()
                if index == 0:  # has the coordinator, without which JAX aborts hosts that are about to end
                    time.sleep(_TOLD_S)
                _exit()
            return

    watcher = threading.Thread(target=watch, name="hosts-ends", daemon=True)
    watcher.start()
    return watcher


def gather_bytes(frame: bytes) -> list[bytes]:
    """Every host's bytes, by one device program, or two if any host's are more than fit in the first.

    Waits for the programs that the devices were sent before.

    Raises:
      HostLostError: a host has ended.
    """
    import numpy as np
    from jax.experimental import multihost_utils

    def gathered(part: bytes, size: int) -> list[bytes]:
        padded = np.frombuffer(part.ljust(size, b"\0"), np.uint8)
        try:
            return [row.tobytes() for row in multihost_utils.process_allgather(padded)]
        except (ValueError, RuntimeError) as error:
            raise HostLostError(str(error)) from error

    room = _FRAME_BYTES - _HEAD_BYTES
    starts = gathered(len(frame).to_bytes(_HEAD_BYTES, "big") + frame[:room], _FRAME_BYTES)
    lengths = [int.from_bytes(start[:_HEAD_BYTES], "big") for start in starts]
    if (rest := max(lengths) - room) > 0:
        # Few sizes: each is a program to compile.
        ends = gathered(frame[room:], 1 << (rest - 1).bit_length())
        starts = [start + end for start, end in zip(starts, ends, strict=True)]
    return [start[_HEAD_BYTES : _HEAD_BYTES + length] for start, length in zip(starts, lengths, strict=True)]


def connect(coordinator_address: str = "", num_processes: int = 0, process_id: int = -1) -> Hosts:
    """The hosts of the run and this one's number, from the flags or, on a TPU, from its environment.

    Call it before anything touches a device. Without flags and without a TPU there is one host.

    Raises:
      ValueError: flags that do not fit together; a TPU environment that does not say which hosts there are.
      RuntimeError: the coordinator could not be reached.
    """
    _check_flags(coordinator_address, num_processes, process_id)
    if num_processes == 1 or (not coordinator_address and not is_tpu_machine()):
        return Hosts()
    import jax

    # Its SIGTERM handler would swallow a signal that comes before the run installs its own.
    jax.config.update("jax_enable_preemption_service", False)
    if coordinator_address:
        # The flags suffice: without "deactivate" JAX would query Slurm or a TPU too.
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            cluster_detection_method="deactivate",
            heartbeat_timeout_seconds=HEARTBEAT_S,
            shutdown_timeout_seconds=_SHUTDOWN_S,
        )
    else:
        try:
            jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_S, shutdown_timeout_seconds=_SHUTDOWN_S)
        except ValueError as error:
            raise ValueError(
                f"the TPU environment does not say which hosts there are ({error}); --num_processes=1 if this is the"
                " only one, otherwise give --coordinator_address, --num_processes and --process_id"
            ) from error
    index, count = jax.process_index(), jax.process_count()
    if count == 1:
        return Hosts()
    return Hosts(index, count, gather_bytes, _watch_ends(index))


def is_tpu_machine(devices: Path = Path("/dev")) -> bool:
    """Whether JAX will use TPU chips of this machine: it has some, and libtpu, and no other platform is asked for."""
    import importlib.util

    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and "tpu" not in platforms.split(","):
        return False
    return has_tpu(devices) and importlib.util.find_spec("libtpu") is not None


def _check_flags(coordinator_address: str, num_processes: int, process_id: int) -> None:
    given = {
        "--coordinator_address": bool(coordinator_address),
        "--num_processes": num_processes != 0,
        "--process_id": process_id != -1,
    }
    if num_processes == 1 and not coordinator_address and process_id in (-1, 0):
        return
    if any(given.values()) and not all(given.values()):
        missing = ", ".join(name for name, there in given.items() if not there)
        raise ValueError(
            f"{missing} is missing: --coordinator_address=HOST:PORT, --num_processes and --process_id belong together,"
            " unless a TPU's environment gives all of them"
        )
    if not any(given.values()):
        return
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(
            f"--coordinator_address={coordinator_address!r}: must be HOST:PORT, of the host with --process_id=0"
        )
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise ValueError(
            f"--process_id={process_id} --num_processes={num_processes}: the hosts are numbered from 0 to"
            " --num_processes - 1"
        )
