"""What the hosts of a run say to each other: small values as JSON, and that one of them has ended. No jax.

Host 0 listens and every other host has one TCP connection to it. A device program in which a host waits for another
can't be interrupted; so the connections have threads of their own, which notice that a host is gone (its kernel closes
the connection at once, a machine without power falls silent) and end the process if nothing else does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import json
import os
import queue
import secrets
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CONNECT_S = 60.0
_HEAD = struct.Struct(">I")
_GREETING_BYTES = 1024
_GREETING_S = 5.0
_MOST_BYTES = 1 << 31


class HostLostError(RuntimeError):
    """Another host has ended: this one can't go on without it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: between two signs of life, of silence until a host counts as lost, and until an end is forced then."""

    beat_s: float = 2.0
    silent_s: float = 30.0
    grace_s: float = 15.0


def _end_process() -> None:
    os._exit(1)


class Channel:
    """Host `index`'s connections, by the other host's number; made by `Listener.accept` or `join`.

    `end` ends the process, `grace_s` after a host was lost, if it still lives then.
    """

    def __init__(
        self,
        index: int,
        count: int,
        sockets: Mapping[int, socket.socket],
        patience: Patience | None = None,
        end: Callable[[], None] = _end_process,
    ) -> None:
        self.index, self.count = index, count
        self.lost = ""
        self._patience = patience or Patience()
        self._end = end
        self._exchanges = 0
        self._closing = threading.Event()
        self._found = threading.Event()
        self._losing = threading.Lock()
        self._peers = {number: _Peer(number, sockets[number]) for number in sorted(sockets)}
        for peer in self._peers.values():
            threading.Thread(target=self._read, args=(peer,), name=f"host-{peer.number}", daemon=True).start()
        threading.Thread(target=self._beat, name="hosts-beat", daemon=True).start()

    def exchange(self, what: str, value: Any) -> list[Any]:
        """Every host's JSON value, in the order of the hosts; all hosts must call it with the same `what`.

        Raises:
          HostLostError: another host has ended, with which one and why.
          RuntimeError: the hosts are not at the same place of the program.
        """
        number = self._exchanges
        self._exchanges += 1
        frame = {"kind": "value", "number": number, "what": what, "value": value}
        if self.index:
            (first,) = self._peers.values()
            first.send(frame)
            return self._receive(first, number, what)
        values = [value, *(self._receive(peer, number, what) for peer in self._peers.values())]
        encoded = json.dumps(frame | {"value": values}).encode("ascii")
        for peer in self._peers.values():
            peer.send_bytes(encoded)
        # As the others read them: JSON makes lists of tuples.
        return json.loads(encoded)["value"]

    def fail(self, error: str) -> None:
        """Tells the others that this host ends, and why."""
        self._closing.set()
        for peer in self._peers.values():
            peer.send({"kind": "end", "error": error or "no message"})

    def close(self) -> None:
        """Waits for the others to come to their end too.

        Raises:
          HostLostError: as `exchange`.
        """
        self.exchange("the end", None)
        self._closing.set()
        for peer in self._peers.values():
            peer.send({"kind": "end", "error": ""})

    def wait_lost(self, timeout_s: float) -> str:
        """What is known of a lost host within this time; "" when all seem well."""
        self._found.wait(timeout_s)
        return self.lost

    def _receive(self, peer: _Peer, number: int, what: str) -> Any:
        frame = None if self.lost else peer.inbox.get()
        if frame is None:
            raise HostLostError(self.lost)
        if (frame["number"], frame["what"]) != (number, what):
            raise RuntimeError(
                f"hosts: host {peer.number} is at {frame['what']!r} ({frame['number']}) where host {self.index} is at"
                f" {what!r} ({number}): they ran apart; every host needs the same code, configuration and command"
            )
        return frame["value"]

    def _lose(self, message: str) -> None:
        with self._losing:
            if self.lost or self._closing.is_set():
                return
            self.lost = message
        # At once and not by the main thread: it may wait in a device program that never ends.
        sys.stderr.write(f"error: {message}\n")
        sys.stderr.flush()
        self._found.set()
        timer = threading.Timer(self._patience.grace_s, self._end)
        timer.daemon = True
        timer.start()
        for peer in self._peers.values():
            peer.inbox.put(None)
        for peer in self._peers.values():
            peer.send({"kind": "lost", "error": message})

    def _lose_peer(self, peer: _Peer, what: str) -> None:
        self._lose(
            f"host {peer.number} of {self.count} {what}; no host can go on without it: start the same command on every"
            " host again, it resumes from the newest save"
        )

    def _read(self, peer: _Peer) -> None:
        """A connection's thread."""
        heard = time.monotonic()
        buffer = bytearray()
        poll = select.poll()
        poll.register(peer.socket, select.POLLIN)
        while True:
            if not poll.poll(1000 * self._patience.beat_s):
                if (silent_s := time.monotonic() - heard) > self._patience.silent_s:
                    self._lose_peer(peer, f"has been silent for {silent_s:.0f} s: its machine or network is gone")
                    return
                continue
            try:
                received = peer.socket.recv(1 << 16)
            except OSError:
                received = b""
            if not received:
                self._lose_peer(peer, "has ended: its process was killed or crashed")
                return
            heard = time.monotonic()
            buffer += received
            for frame in _frames(buffer):
                if frame["kind"] == "value":
                    peer.inbox.put(frame)
                elif frame["kind"] == "lost":
                    self._lose(frame["error"])
                elif frame["kind"] == "end":
                    if frame["error"]:
                        self._lose_peer(peer, f"ended with an error ({frame['error']})")
                    return

    def _beat(self) -> None:
        while not self._closing.wait(self._patience.beat_s):
            for peer in self._peers.values():
                peer.send({"kind": "alive"})


class _Peer:
    """The connection to another host. `inbox` has its values, and None once a host is lost."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number, self.socket = number, connection
        self.inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._sending = threading.Lock()
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, frame: Mapping[str, Any]) -> None:
        self.send_bytes(json.dumps(frame).encode("ascii"))

    def send_bytes(self, encoded: bytes) -> None:
        # What can't be sent is noticed, and said, by the thread that reads.
        with self._sending, contextlib.suppress(OSError):
            self.socket.sendall(_HEAD.pack(len(encoded)) + encoded)


def _frames(buffer: bytearray) -> list[dict[str, Any]]:
    """The whole frames at the start of the buffer, which are taken out of it."""
    found = []
    while len(buffer) >= _HEAD.size:
        (length,) = _HEAD.unpack_from(buffer)
        if length > _MOST_BYTES:
            raise RuntimeError(f"hosts: a frame of {length} bytes, more than {_MOST_BYTES}: not from this program")
        if len(buffer) < _HEAD.size + length:
            break
        found.append(json.loads(bytes(buffer[_HEAD.size : _HEAD.size + length])))
        del buffer[: _HEAD.size + length]
    return found


class Listener:
    """Host 0's side of the making of a channel; a context manager. `port` 0 is any free one.

    `token` is what a host has to say to be let in: the port is open to whoever reaches it.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server(("", port), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self.token = secrets.token_hex(16)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def accept(
        self, count: int, timeout_s: float = CONNECT_S, patience: Patience | None = None, **options: Any
    ) -> Channel:
        """The channel of host 0, when all others have joined; `options` are Channel's.

        Raises:
          TimeoutError: some did not join, with their numbers.
        """
        found: dict[int, socket.socket] = {}
        end = time.monotonic() + timeout_s
        while len(found) < count - 1:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                connection, _ = self._socket.accept()
            except TimeoutError as error:
                missing = sorted(set(range(1, count)) - set(found))
                raise TimeoutError(
                    f"hosts {missing} of {count} did not connect to port {self.port} of host 0 within {timeout_s:.0f}"
                    " s; let the hosts reach each other there (--exchange_port chooses the port)"
                ) from error
            number = self._greeted(connection)
            if number is None or not 0 < number < count or number in found:
                connection.close()
            else:
                found[number] = connection
        return Channel(0, count, found, patience, **options)

    def _greeted(self, connection: socket.socket) -> int | None:
        """The number of the host that connected; None of one that does not know the token."""
        try:
            connection.settimeout(_GREETING_S)
            received = bytearray()
            while not received.endswith(b"\n") and len(received) < _GREETING_BYTES:
                more = connection.recv(_GREETING_BYTES)
                if not more:
                    return None
                received += more
            token, _, number = received.decode("ascii").strip().partition(" ")
            if not hmac.compare_digest(token, self.token):
                return None
            connection.sendall(b"joined\n")
            return int(number)
        except (OSError, ValueError):
            return None


def join(
    addresses: Sequence[str],
    port: int,
    token: str,
    index: int,
    count: int,
    timeout_s: float = CONNECT_S,
    patience: Patience | None = None,
    **options: Any,
) -> Channel:
    """The channel of another host; tries host 0's `addresses` in turn.

    Raises:
      TimeoutError: none of them answered as host 0.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        for address in addresses:
            with contextlib.suppress(OSError):
                connection = socket.create_connection((address, port), timeout=_GREETING_S)
                try:
                    connection.sendall(f"{token} {index}\n".encode("ascii"))
                    if connection.recv(len(b"joined\n"), socket.MSG_WAITALL) == b"joined\n":
                        return Channel(index, count, {0: connection}, patience, **options)
                except OSError:
                    pass
                connection.close()
        time.sleep(0.2)
    raise TimeoutError(
        f"host {index} of {count} can't reach host 0 at port {port} of any of {', '.join(addresses)} within"
        f" {timeout_s:.0f} s; let the hosts reach each other there (--exchange_port chooses the port)"
    )


def own_addresses(known: str = "") -> list[str]:
    """IPv4 addresses under which other hosts may reach this one, the likeliest first; `known` is one that they use."""
    found = [known] if known else []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which interface the way out is
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += socket.gethostbyname_ex(socket.gethostname())[2]
    return list(dict.fromkeys([*found, "127.0.0.1"]))
