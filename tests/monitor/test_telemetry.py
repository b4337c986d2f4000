"""Times by phase, what the process holds, traces."""

import dataclasses
import mmap
import os
import subprocess
import time

import jax
import jax.numpy as jnp

from azr_jax.monitor.telemetry import StepClock, device_metrics, host_metrics, profiled


def test_a_step_has_its_phases_and_the_save_before_it():
    clock = StepClock()

    def spend(*phases: str) -> None:
        for phase in phases:
            with clock.phase(phase):
                time.sleep(0.02)

    spend("seed", "evaluate", "save")
    with clock.step():
        spend("play", "update", "play")
    taken = clock.take()
    assert set(taken) == {f"time/{name}_s" for name in ("step", "cpu", "play", "update", "evaluate", "save")}
    assert 0.04 <= taken["time/play_s"] < 0.3 and 0.02 <= taken["time/update_s"] < 0.2
    assert taken["time/evaluate_s"] == 0 and 0.02 <= taken["time/save_s"] < 0.2
    assert taken["time/step_s"] >= taken["time/play_s"] + taken["time/update_s"]
    with clock.step():
        spend("update")
    assert clock.take()["time/play_s"] == 0


@dataclasses.dataclass
class Device:
    stats: dict | None

    def memory_stats(self):
        return self.stats


def test_the_fullest_device_counts():
    gib = 2**30
    devices = [
        Device({"bytes_in_use": gib, "peak_bytes_in_use": 3 * gib, "bytes_limit": 16 * gib}),
        Device({"bytes_in_use": 2 * gib, "peak_bytes_in_use": 2 * gib, "bytes_limit": 16 * gib}),
    ]
    assert device_metrics(devices) == {"device/in_use_gib": 2.0, "device/peak_gib": 3.0, "device/limit_gib": 16.0}
    assert device_metrics([Device(None)]) == {}
    assert device_metrics([Device({"bytes_in_use": gib})]) == {"device/in_use_gib": 1.0}


def test_the_process_sees_its_own_growth(tmp_path):
    before = host_metrics()
    held = mmap.mmap(-1, 64 * 2**20)  # new pages, which an allocator could have left from earlier
    held[::4096] = bytes(len(held) // 4096)
    files = [open(tmp_path / str(number), "w") for number in range(5)]
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE, process_group=0) as process:
        process.stdout.readline()
        during = host_metrics()
        os.killpg(process.pid, 9)
    for file in (*files, held):
        file.close()
    assert during["host/memory_mib"] - before["host/memory_mib"] > 50
    assert during["host/open_files"] - before["host/open_files"] >= 5
    assert during["host/processes"] - before["host/processes"] == 2
    assert host_metrics()["host/processes"] == before["host/processes"]


def test_only_the_chosen_steps_are_traced(tmp_path):
    for step in (1, 2):
        with profiled(step, (2,), tmp_path):
            jax.block_until_ready(jnp.ones(8) + step)
    assert [path.name for path in (tmp_path / "profile").iterdir()] == ["2"]
    assert list((tmp_path / "profile" / "2").rglob("*.xplane.pb"))


def test_a_trace_that_cannot_be_written_does_not_end_the_step(tmp_path, caplog):
    (tmp_path / "profile").write_text("in the way")
    done = []
    with profiled(1, (1,), tmp_path):
        done.append(1)
    assert done == [1]
    assert "trace can't be written" in caplog.text
