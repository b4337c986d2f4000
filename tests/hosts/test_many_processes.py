"""The real command on several hosts, which are processes of this machine with CPU collectives.

Equal partitions give equal bits: two processes of one device are one process of two devices. Against one device what is
text or a count is equal; floats differ by rounding, since the rows of a microbatch and their gradient are summed in
another order (within `ROUNDING`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY, rows
from test_main import assert_same_run, untimed

from azr_jax.workdir.metrics import METRICS_FILE

STEPS = 2
ROUNDING = 1e-5
SETTINGS = {
    "steps": STEPS,
    "checkpoint__every": 1,
    "executor__workers": 1,
    "metrics__transcripts_per_step": 1000,
    "learner__rows_per_microbatch": 4,
}
END_S = 60


@dataclasses.dataclass(frozen=True)
class Host:
    """A started process; its output is in a file, since gloo writes into it too."""

    process: subprocess.Popen
    log: Path

    def wait(self, timeout_s: float = 900) -> int:
        return self.process.wait(timeout=timeout_s)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, timeout_s: float = 900) -> None:
        end = time.monotonic() + timeout_s
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)


@contextlib.contextmanager
def started(command, workdir: Path, count: int, *arguments: str, devices: int = 1, **changes):
    """`count` processes of the command, each with `devices` devices; what still runs at the end is killed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    flags = f"{command.environment()['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    hosts = []
    for number in range(count):
        joining = [f"--coordinator_address=127.0.0.1:{port}", f"--num_processes={count}", f"--process_id={number}"]
        log = workdir.with_name(f"{workdir.name}.{time.monotonic_ns()}.{number}.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command.argv(workdir, *(joining if count > 1 else []), *arguments, **{**SETTINGS, **changes}),
                cwd=REPOSITORY,
                env=command.environment() | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        hosts.append(Host(process, log))
    try:
        yield hosts
    finally:
        for host in hosts:
            if host.process.poll() is None:
                os.killpg(host.process.pid, signal.SIGKILL)
                host.process.wait()


def finish(command, workdir: Path, count: int, *arguments: str, **changes) -> list[Host]:
    """The command on `count` hosts to its end."""
    with started(command, workdir, count, *arguments, **changes) as hosts:
        for host in hosts:
            assert host.wait() == 0, host.said()
    return hosts


@pytest.fixture(scope="module")
def two_devices(command, tmp_path_factory) -> Path:
    """One process with two devices."""
    workdir = tmp_path_factory.mktemp("two_devices") / "run"
    finish(command, workdir, 1, devices=2)
    return workdir


def assert_same_up_to_rounding(expected: Path, actual: Path) -> None:
    """Equal texts and counts; floats within ROUNDING."""
    assert (expected / "transcripts.jsonl").read_bytes() == (actual / "transcripts.jsonl").read_bytes()
    for left, right in zip(rows(expected / METRICS_FILE), rows(actual / METRICS_FILE), strict=True):
        left, right = untimed(left), untimed(right)
        assert left.keys() == right.keys()
        for key, value in left.items():
            # All but the update's numbers is counted from texts.
            limit = ROUNDING if key.startswith("ppo/") else 0.0
            assert right[key] == pytest.approx(value, rel=limit, abs=limit), key


@pytest.mark.ci
def test_two_processes_are_one_process_with_two_devices(command, two_devices, tmp_path):
    workdir = tmp_path / "run"
    first, second = finish(command, workdir, 2)
    assert_same_run(two_devices, workdir, STEPS)
    # Only the first writes and speaks.
    assert "step 2/2" in first.said() and str(workdir / "report.html") in first.said()
    assert [line for line in second.said().splitlines() if line and not line.startswith("[Gloo]")] == []
    assert {path.name for path in workdir.iterdir()} == {path.name for path in two_devices.iterdir()}
    assert (workdir / "export" / "model.safetensors").read_bytes() == (
        two_devices / "export" / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_two_devices_are_one_up_to_rounding(command, two_devices, tmp_path):
    finish(command, tmp_path / "run", 1)
    assert_same_up_to_rounding(two_devices, tmp_path / "run")


@pytest.mark.slow
def test_four_processes_are_one_up_to_rounding(command, two_devices, tmp_path):
    workdir = tmp_path / "run"
    finish(command, workdir, 4)
    assert_same_up_to_rounding(two_devices, workdir)


@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.slow
def test_a_killed_host_ends_the_others_and_the_same_commands_resume(command, two_devices, tmp_path, killed):
    workdir = tmp_path / "run"
    with started(command, workdir, 2) as hosts:
        hosts[0].wait_for("step 1/2")
        os.killpg(hosts[killed].process.pid, signal.SIGKILL)
        other = hosts[1 - killed]
        assert other.wait(END_S) != 0
        named = "leader task" if killed == 0 else "unhealthy (stopped sending heartbeats):\n1\n"
        assert named in other.said(), other.said()
    finish(command, workdir, 2)
    assert_same_run(two_devices, workdir, STEPS)


@pytest.mark.slow
def test_a_notice_to_one_host_saves_on_all_and_another_mesh_goes_on(command, two_devices, tmp_path):
    """Two hosts stop in their first step; one process with two devices in another mesh does what is left."""
    workdir = tmp_path / "run"
    with started(command, workdir, 2) as hosts:
        hosts[0].wait_for("\nplay")
        hosts[1].process.send_signal(signal.SIGTERM)
        for host in hosts:
            assert host.wait(300) == 0, host.said()
        stopped = re.search(rf"saved at step (\d); the same command resumes {workdir}", hosts[0].said())
    assert stopped is not None, hosts[0].said()
    written = rows(workdir / METRICS_FILE) if (workdir / METRICS_FILE).exists() else []
    assert [row["step"] for row in written] == list(range(1, 1 + int(stopped[1])))
    (last,) = finish(command, workdir, 1, devices=2, mesh__fsdp=1, mesh__tensor=2)
    assert f"resumed {workdir} at step {stopped[1]}" in last.said()
    assert_same_up_to_rounding(two_devices, workdir)


@pytest.mark.slow
def test_a_save_of_two_hosts_goes_on_with_four(command, two_devices, tmp_path):
    workdir = tmp_path / "run"
    finish(command, workdir, 2, steps=1)
    first, *_ = finish(command, workdir, 4)
    assert f"resumed {workdir} at step 1" in first.said()
    assert_same_up_to_rounding(two_devices, workdir)


@pytest.mark.slow
def test_a_mesh_that_does_not_divide_is_an_error_on_every_host(command, tmp_path):
    workdir = tmp_path / "run"
    with started(command, workdir, 2, mesh__data=3) as hosts:
        for host in hosts:
            assert host.wait(300) == 1
            assert "mesh axis 'data' is 3, which does not divide 2 devices; choose one of [1, 2]" in host.said()
