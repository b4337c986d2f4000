"""Runs that are killed, preempted, or find the disk full, as a person's machine does it; the same command goes on."""

from __future__ import annotations

import collections
import random
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, rows
from killed_run import KINDS
from test_main import assert_same_run, wait_for

from azr_jax.workdir.metrics import METRICS_FILE

STEPS = 7
KILLS = 20
SETTINGS = {
    "steps": STEPS,
    "checkpoint__every": 1,
    "evaluation__every": 1,
    "evaluation__heldout": "azr_jax/embedded/heldout_python.jsonl",
    "evaluation__heldout_limit": 6,
    # Whether a program ends in time must not depend on what else the machine does.
    "executor__wall_s": 40.0,
    "executor__cpu_s": 30.0,
}
# Later than the first time in a start: a whole step is done before, of which there are not many.
LATER_KILLS = 3


def start_noted(
    command, workdir: Path, notes: Path, at: str = "none 0 0 SIGKILL", **changes: object
) -> subprocess.Popen:
    """The command as tests/run/killed_run.py starts it."""
    argv = command.argv(workdir, **SETTINGS | changes)
    argv[1:3] = [str(REPOSITORY / "tests" / "run" / "killed_run.py")]
    return subprocess.Popen(
        argv,
        cwd=REPOSITORY,
        env=command.environment()
        | {"KILLED_RUN_NOTES": str(notes), "KILLED_RUN_AT": at, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def durations(notes: Path) -> dict[str, float]:
    """Seconds that each kind of work takes, the median of the times that it was done."""
    begun: dict[str, float] = {}
    taken = collections.defaultdict(list)
    for line in notes.read_text().splitlines():
        kind, moment = line[1:].split()
        if line[0] == "+":
            begun[kind] = float(moment)
        else:
            taken[kind].append(float(moment) - begun[kind])
    return {kind: statistics.median(values) for kind, values in taken.items()}


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory) -> Path:
    """The workdir of a run that nothing disturbed; its notes lie beside it."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    with start_noted(command, workdir, workdir.with_name("notes")) as process:
        output = process.communicate(timeout=1200)[0]
    assert process.returncode == 0, output
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


def kill_plan(seed: int, taken: dict[str, float]) -> list[tuple[str, int, float]]:
    """KILLS times (kind of work, how often it begins before, seconds after that).

    Every kind has its turn, the first time at its very beginning, so that it is met however slow the machine is; those
    that come once in a run (seeding, and what precedes it) come first.
    """
    rng = random.Random(seed)
    kinds = ["seeding"] * 3 + ["evaluation"] + [KINDS[1 + number % 6] for number in range(KILLS - 4)]
    later = set(rng.sample(range(4, KILLS), LATER_KILLS))
    plan = []
    for number, kind in enumerate(kinds):
        share = rng.random() if kind in kinds[:number] else 0.0
        plan.append((kind, 2 if number in later else 1, share * taken[kind]))
    return plan


@pytest.mark.slow
def test_killed_at_20_random_moments_it_is_the_same_run(undisturbed, command, tmp_path, record_property):
    workdir, met = tmp_path / "run", []
    half_saves = 0
    settings = SETTINGS | {"checkpoint__keep": 1}
    for number, (kind, times, delay_s) in enumerate(kill_plan(1, durations(undisturbed.with_name("notes")))):
        notes = tmp_path / f"notes{number}"
        at = f"{kind} {times} {delay_s} SIGKILL"
        with start_noted(command, workdir, notes, at, checkpoint__keep=1) as process:
            output = process.communicate(timeout=1200)[0]
        assert process.returncode == -signal.SIGKILL, output
        during = notes.read_text().split()[-1].split(",")
        met.append({"meant": kind, "seconds": round(delay_s, 3), "fell_in": during, "saved": saved_steps(workdir)})
        half_saves += len(list(workdir.glob("checkpoints/*.orbax-checkpoint-tmp*")))
    record_property("kills", met)
    sys.stdout.write("".join(f"{row}\n" for row in met) + f"{half_saves} half saves\n")
    counts = collections.Counter(kind for row in met for kind in row["fell_in"])
    assert set(KINDS) <= set(counts), counts
    assert half_saves > 0
    status, output = command.run(workdir, **settings)
    assert status == 0, output
    assert_same_run(undisturbed, workdir, STEPS)


@pytest.mark.ci
def test_a_run_with_a_lag_is_the_same_when_it_is_killed(command, tmp_path):
    """Of a step that began in the one before: the save has that part, which the weights of the save can't repeat."""
    settings = {"steps": 4, "pipeline__lag": 1, "evaluation__every": 0, "evaluation__heldout": ""}
    kills = ("propose 2 0.1 SIGKILL", "update 1 0 SIGKILL", "solve 2 0.5 SIGKILL", "none 0 0 SIGKILL")
    for workdir, times in (("whole", kills[-1:]), ("killed", kills)):
        for at in times:
            with start_noted(command, tmp_path / workdir, tmp_path / "notes", at, **settings) as process:
                output = process.communicate(timeout=1200)[0]
            assert process.returncode == (0 if at == kills[-1] else -signal.SIGKILL), output
    metrics = rows(tmp_path / "whole" / METRICS_FILE)
    assert [row["sample/lag_tokens"] > 0 for row in metrics] == [False, True, True, True]
    assert_same_run(tmp_path / "whole", tmp_path / "killed", 4)


@pytest.mark.ci
def test_a_run_with_a_critic_resumes(command, tmp_path):
    settings = SETTINGS | {"learner__estimator": "gae", "evaluation__every": 0}
    for workdir, ends in (("whole", (3,)), ("parts", (2, 3))):
        for steps in ends:
            status, output = command.run(tmp_path / workdir, **settings | {"steps": steps})
            assert status == 0, output
    assert_same_run(tmp_path / "whole", tmp_path / "parts", 3)


@pytest.mark.parametrize(
    ("kind", "times", "saved"),
    [
        pytest.param("evaluation", 1, None, marks=pytest.mark.slow),
        pytest.param("seeding", 2, 0, marks=pytest.mark.slow),
        pytest.param("solve", 2, 1, marks=pytest.mark.ci),
        pytest.param("update", 2, 2, marks=pytest.mark.slow),
        pytest.param("evaluation", 3, 2, marks=pytest.mark.slow),
    ],
)
def test_a_preemption_notice_saves_at_once_and_ends_with_0(undisturbed, command, tmp_path, kind, times, saved):
    """What is played or evaluated is cut; an update ends first. The evaluation of step 2 is then done after it."""
    workdir, notes = tmp_path / "run", tmp_path / "notes"
    # So that only the notice saves.
    with start_noted(command, workdir, notes, f"{kind} {times} 0 SIGTERM", checkpoint__every=100) as process:
        output = process.communicate(timeout=1200)[0]
    assert process.returncode == 0, output
    times_of = [line.split()[:2] for line in notes.read_text().splitlines()]
    noticed = next(number for number, (word, _) in enumerate(times_of) if word == "SIGTERM")
    after = dict(times_of[noticed + 1 :])
    # Nothing is begun any more but the save, which is whole before a machine would be taken away.
    assert [word for word in after if word.startswith("+")] == ([] if saved is None else ["+save"])
    if saved:
        assert float(after["-save"]) - float(times_of[noticed][1]) < 30
    if saved is None:
        assert f"stopped before the first save; the same command begins {workdir} anew" in output
    else:
        assert f"saved at step {saved}; the same command resumes {workdir}" in output
        assert saved_steps(workdir) == sorted({0, saved})
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    assert_same_run(undisturbed, workdir, STEPS)


@pytest.mark.ci
def test_a_second_signal_ends_at_once(command, tmp_path):
    with command.start(tmp_path / "run", **SETTINGS, checkpoint__cut_steps=False) as process:
        read_until(process, "play")
        process.send_signal(signal.SIGTERM)
        read_until(process, "stopping after this step")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM


@pytest.mark.slow
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
