"""The connections between hosts: values reach all, and an end of whatever kind is noticed by all. Hosts are threads."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import REPOSITORY
from thread_hosts import QUICK, on_all, open_channels

from azr_jax.hosts.channel import Channel, HostLostError, Listener, join, own_addresses

RESUMES = "start the same command on every host again"


@pytest.mark.parametrize("count", [2, 4])
def test_every_host_gets_the_values_of_all_in_their_order(count):
    channels, _ = open_channels(count)
    texts = [f"host {number}: \ud800 \n" * 10_000 for number in range(count)]
    for _ in range(3):
        got = on_all(channels, lambda one: one.exchange("texts", (one.index, texts[one.index])))
        assert got == [[[number, text] for number, text in enumerate(texts)]] * count
    assert on_all(channels, Channel.close) == [None] * count
    time.sleep(3 * QUICK.beat_s)
    assert [one.lost for one in channels] == [""] * count


def test_hosts_at_different_places_are_told_so():
    channels, _ = open_channels(2)

    def act(channel: Channel) -> str:
        try:
            return str(channel.exchange("update" if channel.index else "play", 1))
        except RuntimeError as error:
            channel.fail(str(error))  # as the end of a run does
            return str(error)

    apart = "host 1 is at 'update' (0) where host 0 is at 'play' (0): they ran apart"
    assert all(apart in text for text in on_all(channels, act))


@pytest.mark.parametrize("dying", [0, 1, 2])
def test_a_connection_that_closes_is_the_end_of_all(dying, capfd):
    channels, ends = open_channels(3)
    others = [one for one in channels if one.index != dying]
    # First: the thread of a host that is dead says nothing of its connections.
    channels[dying]._closing.set()
    for peer in channels[dying]._peers.values():
        peer.socket.shutdown(socket.SHUT_RDWR)
    for one, error in zip(others, on_all(others, lambda one: one.exchange("x", 1)), strict=True):
        assert isinstance(error, HostLostError)
        assert f"host {dying} of 3 has ended: its process was killed or crashed" in str(error)
        assert RESUMES in str(error)
        # Whatever its main thread does, the process ends.
        assert ends.forced[one.index].wait(5)
    assert capfd.readouterr().err.count("error: host") == 2


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_host_is_told_by_all(failing):
    channels, _ = open_channels(3)
    channels[failing].fail("ValueError: no Racket here")
    others = [one for one in channels if one.index != failing]
    for error in on_all(others, lambda one: one.exchange("x", 1)):
        assert isinstance(error, HostLostError)
        assert f"host {failing} of 3 ended with an error (ValueError: no Racket here)" in str(error)


def test_a_silent_host_is_lost():
    """As one whose machine has no power: the connection stays and nothing comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = socket.create_connection(server.getsockname())
        connection, _ = server.accept()
        forced, impatient = threading.Event(), dataclasses.replace(QUICK, silent_s=0.5)
        channel = Channel(0, 2, {1: connection}, impatient, forced.set)
        started = time.monotonic()
        assert "host 1 of 2 has been silent for" in channel.wait_lost(10)
        assert impatient.silent_s <= time.monotonic() - started + 0.1
        assert forced.wait(10)
        silent.close()


def test_who_does_not_know_the_token_is_not_let_in():
    with Listener() as listener, concurrent.futures.ThreadPoolExecutor(2) as threads:
        accepting = threads.submit(listener.accept, 2, 20.0, QUICK)
        for greeting in (
            b"wrong 1\n",
            b"\xff\xfe\n",
            f"{listener.token} 7\n".encode(),
            f"{listener.token} x\n".encode(),
        ):
            with socket.create_connection(("127.0.0.1", listener.port)) as stranger:
                stranger.sendall(greeting)
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(64) in (b"", b"joined\n")
        assert not accepting.done()
        joined = join(["127.0.0.1"], listener.port, listener.token, 1, 2, patience=QUICK)
        channels = [accepting.result(), joined]
        assert on_all(channels, lambda one: one.exchange("x", one.index)) == [[0, 1]] * 2
        on_all(channels, Channel.close)


def test_hosts_that_do_not_find_each_other_say_which_and_where():
    with Listener() as listener:
        with pytest.raises(TimeoutError, match=r"hosts \[1, 2\] of 3 did not connect to port \d+ of host 0"):
            listener.accept(3, 0.1)
        port = listener.port
    with pytest.raises(TimeoutError, match=r"host 2 of 3 can't reach host 0 at port \d+ of any of 127\.0\.0\.1"):
        join(["127.0.0.1"], port, "token", 2, 3, timeout_s=0.3)
    assert own_addresses("10.0.0.7")[0] == "10.0.0.7"
    assert own_addresses()[-1] == "127.0.0.1"


STUCK = """
import sys, time
from azr_jax.hosts.channel import Patience, join
port, token = sys.argv[1:]
channel = join(["127.0.0.1"], int(port), token, 1, 2, patience=Patience(0.1, 60.0, 0.5))
channel.exchange("ready", None)
time.sleep(600)  # as in a device program that waits for the other host
"""


def test_a_process_that_waits_in_a_program_ends_when_the_other_is_killed():
    """The survivor is a real process here: it can do nothing but be ended by the channel's thread."""
    with Listener() as listener:
        survivor = subprocess.Popen(
            [sys.executable, "-c", STUCK, str(listener.port), listener.token],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )
        channel = listener.accept(2, 60.0, QUICK)
    channel.exchange("ready", None)
    assert survivor.poll() is None
    channel._closing.set()
    for peer in channel._peers.values():
        peer.socket.shutdown(socket.SHUT_RDWR)
    try:
        error = survivor.communicate(timeout=60)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(survivor.pid, signal.SIGKILL)
    assert survivor.returncode == 1
    assert "error: host 0 of 2 has ended" in error and RESUMES in error
