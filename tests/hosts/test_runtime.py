"""What hosts tell each other through JAX's runtime, and how they end. Hosts are real processes of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from azr_jax.hosts.hosts import HEARTBEAT_S

PROGRAM = """
import json, os, signal, sys, time
from azr_jax.hosts import hosts

address, count, index, act, directory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
with hosts.connect(address, count, index) as joined:
    told = [joined.exchange("small", (joined.index, None))]
    for size in (4_000, 4_080, 4_096, 70_000):  # around what one device program carries, and more
        text = f"host {index}: \\ud800 \\n" + "x" * (size if index == 1 else 3)
        told += [joined.exchange(f"text of {size}", text)]
    told += [joined.first("first", lambda: index + 7), joined.any("any", index == 1)]
    with open(f"{directory}/{index}.json", "w") as file:
        json.dump([told, index], file)
    open(f"{directory}/{index}.ready", "w").close()
    while not all(os.path.exists(f"{directory}/{other}.ready") for other in range(count)):
        time.sleep(0.01)  # one that fails ends the others at once
    if act == "apart":
        joined.exchange("update" if index else "play", 1)
    if act == "fail" and index == count - 1:
        raise ValueError("no Racket here")
    if act in ("fail", "exchange"):
        joined.exchange("more", None)
        time.sleep(0 if act == "fail" else 600)
    if act == "fail-first" and index == 0:
        raise ValueError("no Racket here")
    if act in ("stuck", "fail-first"):
        time.sleep(600)  # as in a device program that never ends
    if act == "last" and index == 0:
        time.sleep(3)
"""


@dataclasses.dataclass
class Process:
    """A host; its output is in a file, since gloo writes into it too."""

    popen: subprocess.Popen
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def running(folder: Path, count: int, act: str):
    """The program on `count` hosts, from the moment when all have exchanged values."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = []
    for index in range(count):
        log = folder / f"{index}.log"
        with log.open("wb") as output:
            arguments = [address, str(count), str(index), act, str(folder)]
            popen = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments],
                cwd=REPOSITORY,
                env=os.environ | {"JAX_PLATFORMS": "cpu"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append(Process(popen, log))
    try:
        end = time.monotonic() + 120
        while not all((folder / f"{index}.ready").exists() for index in range(count)):
            assert time.monotonic() < end, [process.said() for process in processes]
            time.sleep(0.05)
        yield processes
    finally:
        for process in processes:
            process.popen.kill()
            process.popen.wait()


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.ci)])
def test_every_host_gets_the_values_of_all_in_their_order(tmp_path, count):
    with running(tmp_path, count, "last") as processes:
        for process in processes:
            assert process.popen.wait(60) == 0, process.said()
            assert "error" not in process.said().lower(), process.said()
    for index in range(count):
        told, own = json.loads((tmp_path / f"{index}.json").read_text())
        assert own == index
        small, *texts, first, some = told
        assert small == [[host, None] for host in range(count)]
        for size, values in zip((4_000, 4_080, 4_096, 70_000), texts, strict=True):
            lengths = [size if host == 1 else 3 for host in range(count)]
            assert values == [f"host {host}: \ud800 \n" + "x" * length for host, length in enumerate(lengths)]
        assert (first, some) == (7, True)


@pytest.mark.ci
def test_hosts_that_are_at_different_exchanges_are_an_error(tmp_path):
    with running(tmp_path, 2, "apart") as processes:
        for process in processes:
            assert process.popen.wait(60) == 1
            assert "host 1 is at 'update' (7) where host 0 is at 'play' (7): they diverged" in process.said()


@pytest.mark.parametrize(("act", "failing"), [("fail", 1), pytest.param("fail-first", 0, marks=pytest.mark.ci)])
def test_an_error_of_one_host_is_told_by_all(tmp_path, act, failing):
    """Also by one that waits in a device program, before JAX notices that a heartbeat is missing."""
    with running(tmp_path, 2, act) as processes:
        started = time.monotonic()
        for index, process in enumerate(processes):
            assert process.popen.wait(60) == 1
            words = "error: no Racket here"
            if index != failing:
                words = (
                    f"error: host {failing} of 2 ended with an error (ValueError: no Racket here); no host can go on"
                )
            assert words in process.said()
        assert time.monotonic() - started < HEARTBEAT_S / 2


@pytest.mark.ci
@pytest.mark.parametrize(
    ("count", "lost", "stop", "act"),
    [
        (2, 1, signal.SIGKILL, "stuck"),
        (2, 1, signal.SIGSTOP, "exchange"),
        (4, 2, signal.SIGKILL, "exchange"),
        (4, 0, signal.SIGKILL, "stuck"),
    ],
)
def test_a_lost_host_ends_the_others_within_a_minute(tmp_path, count, lost, stop, act):
    """Killed, or as one whose machine has no power: its connections stay and nothing comes."""
    with running(tmp_path, count, act) as processes:
        processes[lost].popen.send_signal(stop)
        end = time.monotonic() + 60
        others = [process for index, process in enumerate(processes) if index != lost]
        for process in others:
            assert process.popen.wait(end - time.monotonic()) != 0
            said = process.said()
            named = "leader task" if lost == 0 else f"unhealthy (stopped sending heartbeats):\n{lost}\n"
            assert named in said, said
