"""The hosts of a run: how they find each other, agree on what happens, and end together.

Every host runs the same command and sends the same programs to the devices, in the same order: a host that does
otherwise would leave the others waiting in a collective. What differs by nature from host to host (signals, the time
at which programs end, files of one machine) is therefore exchanged before anything depends on it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from azr_jax.hosts.channel import Channel, HostLostError, Listener, join, own_addresses

Value = TypeVar("Value")

_CARD_BYTES = 2048
# How long an error of a device program waits for its reason, a host that ended.
_REASON_S = 5.0
_NOTICE_S = 1.0
# Errors that a user can mend: one line, no traceback.
_PLAIN = (ValueError, RuntimeError, OSError)


@dataclasses.dataclass
class Hosts:
    """Host `index` of `count`; a context manager. With one host everything is local and costs nothing."""

    index: int = 0
    count: int = 1
    channel: Channel | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the host that writes what only one may write."""
        return self.index == 0

    @property
    def are_many(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def exchange(self, what: str, value: Any) -> list[Any]:
        """The JSON values of all hosts in their order; every host calls it at the same place, which `what` names.

        Raises:
          HostLostError: a host has ended.
          RuntimeError: the hosts are at different places of the program.
        """
        return [value] if self.channel is None else self.channel.exchange(what, value)

    def first(self, what: str, make: Callable[[], Value]) -> Value:
        """What `make` gives on the first host, JSON, on all of them; the others don't call it."""
        return self.exchange(what, make() if self.is_first else None)[0]

    def any(self, what: str, flag: bool) -> bool:
        """Whether it holds on any host."""
        return any(self.exchange(what, flag))

    def together(self, what: str, act: Callable[[], None]) -> None:
        """Does it on every host; a failure on one is raised on all, so that all take the same way from there.

        Raises:
          RuntimeError, OSError: it failed on some host.
        """
        if self.channel is None:
            act()
            return
        own: Exception | None = None
        try:
            act()
        except (RuntimeError, OSError) as error:
            if self.channel.lost:
                raise
            own = error
        failed = {host: text for host, text in enumerate(self.exchange(what, str(own) if own else "")) if text}
        if own is not None:
            raise own
        if failed:
            host, text = next(iter(failed.items()))
            raise RuntimeError(f"on host {host} of {self.count}: {text}")

    def check(self) -> None:
        """Raises HostLostError when a host has ended: what has just failed here failed for that."""
        if self.channel is not None and (lost := self.channel.wait_lost(_NOTICE_S)):
            raise HostLostError(lost)

    def __enter__(self) -> Hosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """At a good end waits for the others. At a bad one tells them why and ends the process.

        Ends it at once: the way out of Python would wait minutes for hosts that wait for this one.
        """
        if self.channel is None:
            return
        if error is None:
            import jax

            self.channel.close()
            jax.distributed.shutdown()
            return
        # A device program that fails because a host has ended says so less clearly than the channel.
        if not (self.channel.wait_lost(_REASON_S) if type(error).__name__ == "JaxRuntimeError" else self.channel.lost):
            self.channel.fail(f"{type(error).__name__}: {error}")
            if isinstance(error, _PLAIN):
                sys.stderr.write(f"error: {error}\n")
            else:
                traceback.print_exception(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def connect(
    coordinator_address: str = "", num_processes: int = 0, process_id: int = -1, exchange_port: int = 0
) -> Hosts:
    """Finds this process among those of the run, found from the flags or, on a TPU, from its environment.

    Call it before anything touches a device. Without flags and without a TPU there is one host.

    Raises:
      ValueError: flags that do not fit together; a TPU environment that does not say which hosts there are.
      RuntimeError: the coordinator could not be reached.
      TimeoutError: the hosts do not reach each other.
    """
    _check_flags(coordinator_address, num_processes, process_id)
    if num_processes == 1 or (not coordinator_address and not is_tpu_machine()):
        return Hosts()
    import jax

    # Its handler of SIGTERM would swallow one that comes before the run's own is there.
    jax.config.update("jax_enable_preemption_service", False)
    if coordinator_address:
        # The flags say all: without "deactivate" JAX would ask Slurm or a TPU too.
        jax.distributed.initialize(
            coordinator_address, num_processes, process_id, cluster_detection_method="deactivate"
        )
    else:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise ValueError(
                f"the TPU environment does not say which hosts there are ({error}); --num_processes=1 if this is the"
                " only one, otherwise give --coordinator_address, --num_processes and --process_id"
            ) from error
    index, count = jax.process_index(), jax.process_count()
    if count == 1:
        return Hosts()
    return Hosts(index, count, _open_channel(coordinator_address, index, count, exchange_port))


def is_tpu_machine(devices: Path = Path("/dev")) -> bool:
    """Whether JAX will use TPU chips of this machine: it has some, and libtpu, and no other platform is asked for."""
    import importlib.util

    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and "tpu" not in platforms.split(","):
        return False
    has_chips = any(devices.glob("accel[0-9]*")) or any((devices / "vfio").glob("[0-9]*"))
    return has_chips and importlib.util.find_spec("libtpu") is not None


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


def _open_channel(coordinator_address: str, index: int, count: int, port: int) -> Channel:
    """Host 0 listens and tells where through the devices, which are connected already."""
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import multihost_utils

    def told(card: str) -> str:
        padded = np.frombuffer(card.encode("ascii").ljust(_CARD_BYTES), np.uint8)
        return bytes(np.asarray(multihost_utils.broadcast_one_to_all(jnp.asarray(padded)))).decode("ascii").strip()

    if index == 0:
        with Listener(port) as listener:
            addresses = own_addresses(coordinator_address.rpartition(":")[0])
            told(" ".join([str(listener.port), listener.token, *addresses[:16]]))
            return listener.accept(count)
    port_text, token, *addresses = told("").split(" ")
    return join(addresses, int(port_text), token, index, count)
