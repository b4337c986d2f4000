"""Runs that are killed, preempted, or find the disk full, as a person's machine does it; the same command goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from conftest import rows
from test_main import assert_same_run, wait_for

from azr_jax.metrics import METRICS_FILE

pytestmark = pytest.mark.slow

STEPS = 6
KILLS = 20
SETTINGS = {
    "steps": STEPS,
    "checkpoint__every": 1,
    "evaluation__every": 2,
    "evaluation__heldout": "azr_jax/embedded/heldout_python.jsonl",
    "evaluation__heldout_limit": 6,
}
# What a start says, in this order as far as it gets.
PHASES = ("evaluate", "seed ", "save", "play", "update", "step ")


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory) -> Path:
    """The workdir of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    return workdir


def read_until(process, wanted: str) -> str:
    """The output up to a line that begins with `wanted`, or to its end."""
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith(wanted):
            break
    return said


def saved_steps(workdir: Path) -> list[int]:
    place = workdir / "checkpoints"
    return sorted(int(entry.name) for entry in place.iterdir() if entry.name.isdecimal()) if place.exists() else []


def killed_at_random(command, workdir: Path, kills: int, seed: int) -> int:
    """Starts the run again and again and kills all of it, so often or until it has finished; the number of kills."""
    rng = random.Random(seed)
    for number in range(kills):
        with command.start(workdir, **SETTINGS) as process:
            # Early kinds of work come once in a run; the others at each start.
            wanted = PHASES[number] if number < 2 else rng.choice(PHASES[2:])
            said = read_until(process, wanted)
            time.sleep(rng.random() * 0.8)
            if process.poll() is not None:
                assert process.returncode == 0, said
                return number
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return kills


def test_killed_at_20_random_moments_it_is_the_same_run(undisturbed, command, tmp_path):
    workdir = tmp_path / "run"
    assert killed_at_random(command, workdir, KILLS, seed=1) >= KILLS // 3
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    assert_same_run(undisturbed, workdir, STEPS)


@pytest.mark.parametrize("phase", ["seed ", "play"])
def test_a_preemption_notice_saves_at_once_and_ends_with_0(undisturbed, command, tmp_path, phase):
    workdir = tmp_path / "run"
    settings = SETTINGS | {"checkpoint__every": 100}  # so that only the notice saves
    with command.start(workdir, **settings) as process:
        read_until(process, phase)
        if phase == "play":
            wait_for(lambda: (workdir / METRICS_FILE).exists() and len(rows(workdir / METRICS_FILE)) >= 2, process)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert time.monotonic() - started < 30
    (step,) = [step for step in saved_steps(workdir) if step > 0] or [0]
    assert f"saved at step {step}; the same command resumes {workdir}" in output
    assert step >= (2 if phase == "play" else 0)
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    assert_same_run(undisturbed, workdir, STEPS)


def test_a_second_signal_ends_at_once(command, tmp_path):
    with command.start(tmp_path / "run", **SETTINGS, checkpoint__cut_steps=False) as process:
        read_until(process, "play")
        process.send_signal(signal.SIGTERM)
        read_until(process, "stopping after this step")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM


def test_a_disk_that_refuses_for_a_while_costs_nothing(undisturbed, command, tmp_path):
    """Checkpoints can't be written from step 1 to step 3: a file is where their folder should be."""
    workdir = tmp_path / "run"
    with command.start(workdir, **SETTINGS) as process:
        wait_for(lambda: 0 in saved_steps(workdir), process)
        (workdir / "checkpoints").rename(workdir / "away")
        (workdir / "checkpoints").write_text("in the way")
        wait_for(lambda: (workdir / METRICS_FILE).exists() and len(rows(workdir / METRICS_FILE)) >= 3, process)
        (workdir / "checkpoints").unlink()
        (workdir / "away").rename(workdir / "checkpoints")
        output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    assert "NOT SAVED for 0 minutes; training goes on" in output and "saved again, at step" in output
    assert_same_run(undisturbed, workdir, STEPS)
