"""The main job, as a person starts it: what a run leaves, and that a run cut short and resumed is the same run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import transformers
from conftest import BY_NAME, REPOSITORY, rows
from test_docs import undocumented

from azr_jax.checkpoint import Manager
from azr_jax.model import sharding, weights
from azr_jax.workdir.metrics import METRICS_FILE
from azr_jax.workdir.saved import saved_host
from executors import LANGUAGES
from tests.executors.processes import descendants

STEPS = 3
SETTINGS = {
    "steps": STEPS,
    "evaluation__heldout": "azr_jax/embedded/heldout_python.jsonl",
    "evaluation__heldout_limit": 6,
}
# What depends on the clock and the machine, not on the run.
TIMED = re.compile(r"(time|host|device)/.*|.*_per_s|exec/waiting_share")


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory) -> tuple[Path, str]:
    """(workdir, output) of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    return workdir, output


def test_every_metric_of_a_run_is_on_its_page(finished):
    assert not undocumented({key for row in rows(finished[0] / METRICS_FILE) for key in row})


def saved(workdir: Path, step: int) -> tuple[dict, dict]:
    """(arrays by name, host) of a save, whatever devices it was made on."""
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with Manager(workdir, keep=3) as saves:
        metadata: Any = saves._checkpointer.metadata(saves.directory / str(step))
        wanted = {
            item: ocp.args.StandardRestore(
                {
                    name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
                    for name, leaf in metadata.item_metadata[item].items()
                }
            )
            for item in ("params", "training")
        }
        content = saves._checkpointer.restore(saves.directory / str(step), ocp.args.Composite(**wanted))
    items = ((f"{item}/{name}", leaf) for item in wanted for name, leaf in content[item].items())
    return {name: np.asarray(leaf) for name, leaf in items}, saved_host(workdir, step)


def untimed(metrics: dict) -> dict:
    return {key: value for key, value in metrics.items() if not TIMED.fullmatch(key)}


def assert_same_run(workdir: Path, other: Path, step: int) -> None:
    """Equal metrics, transcripts, parameters, optimizer and buffers, to the last bit."""
    for left, right in zip(rows(workdir / METRICS_FILE), rows(other / METRICS_FILE), strict=True):
        assert untimed(left) == untimed(right)
    assert (workdir / "transcripts.jsonl").read_bytes() == (other / "transcripts.jsonl").read_bytes()
    for left, right in zip(rows(workdir / "seeding.jsonl"), rows(other / "seeding.jsonl"), strict=True):
        assert left["step"] == right["step"] and left["transcripts"] == right["transcripts"]
    (left, left_host), (right, right_host) = saved(workdir, step), saved(other, step)
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.tobytes() == right[name].tobytes(), name
    for host in (left_host, right_host):
        del host["seconds"]
    assert left_host == right_host


def test_a_run_leaves_what_it_promises(finished):
    workdir, output = finished
    assert json.loads((workdir / "config.json").read_text())["steps"] == STEPS
    metrics = rows(workdir / METRICS_FILE)
    assert [row["step"] for row in metrics] == [1, 2, 3]
    for row in metrics:
        assert {"propose/valid", "solve/accuracy", "solve/deduction/accuracy", "ppo/loss", "exec/programs"} <= set(row)
        assert {"propose/reward", "sample/tokens_per_s", "exec/programs_per_s", "time/step_s"} <= set(row)
        assert {"propose/invalid_rate", "sample/length_capped", "ppo/mismatch_mean"} <= set(row)
        assert row["time/play_s"] + row["time/update_s"] == pytest.approx(row["time/step_s"], rel=0.1)
        assert (row["time/save_s"] > 0) == (row["step"] != 2)  # of the save before the step
        assert row["host/processes"] > 0
    rounds = rows(workdir / "seeding.jsonl")
    assert [row["step"] for row in rounds] == list(range(1, len(rounds) + 1))
    for row in rounds:
        assert 0 <= row["metrics"]["propose/valid"] <= 1 and "sample/length_capped" in row["metrics"]
        assert row["transcripts"] and all(transcript["response"] for transcript in row["transcripts"])
    assert sorted(int(path.name) for path in (workdir / "checkpoints").iterdir()) == [0, 2, 3]
    summary = json.loads((workdir / "summary.json").read_text())
    for name in ("heldout_before", "heldout_after"):
        assert set(summary[name]) == {"deduction", "abduction", "induction"}
        assert all(entry["n"] == 2 and 0 <= entry["correct"] <= 2 for entry in summary[name].values())
    assert summary["steps"] == STEPS
    assert summary["seconds"] > 0
    assert {"python", "jax", "flax"} <= set(summary["versions"])
    assert "<html" in (workdir / "report.html").read_text()
    # A step's line, the table and the places are on the screen, and no library's chatter.
    for expected in ("step 3/3", "valid ", "before", "after", str(workdir / "export"), str(workdir / "report.html")):
        assert expected in output
    assert "orbax" not in output


def test_the_export_is_the_last_state_and_loads_in_transformers(finished):
    workdir, _ = finished
    model = transformers.AutoModelForCausalLM.from_pretrained(workdir / "export")
    tokenizer = transformers.AutoTokenizer.from_pretrained(workdir / "export")
    inputs = tokenizer("# Task: ", return_tensors="pt")
    assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] > inputs["input_ids"].shape[1]
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    _, exported = weights.load(workdir / "export", mesh)
    _, started = weights.load(REPOSITORY / "azr_jax/embedded/azr-tiny", mesh)
    arrays, _ = saved(workdir, STEPS)
    last = sorted(array.tobytes() for name, array in arrays.items() if name.startswith("params/"))
    assert sorted(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(exported)) == last
    assert sorted(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(started)) != last


def test_the_same_command_on_a_finished_run_does_nothing(finished, command):
    workdir, first = finished

    def contents() -> dict[Path, tuple[int, bytes]]:
        files = (path for path in workdir.rglob("*") if path.is_file() and path.name != "config.json")
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = contents()
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    assert contents() == before
    assert f"has all its {STEPS} steps" in output
    table = first[first.index("Solver accuracy") :]
    assert table in output


def wait_for(condition, process, timeout_s: float = 300) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.ci
def test_interrupted_equals_uninterrupted(finished, command, tmp_path):
    """Ctrl-C reaches the whole process group, the executors' workers too; the run saves and the command goes on."""
    workdir = tmp_path / "cut"
    process = command.start(workdir, **SETTINGS)
    wait_for(lambda: lines(workdir / METRICS_FILE) >= 1, process)
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    done = lines(workdir / METRICS_FILE)
    assert 1 <= done < STEPS
    assert f"saved at step {done}; the same command resumes {workdir}" in output
    assert not (workdir / "summary.json").exists()
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    assert f"resumed {workdir} at step {done}" in output
    assert_same_run(finished[0], workdir, STEPS)


@pytest.mark.slow
def test_a_state_that_rests_on_the_host_while_sampling_changes_nothing(finished, command, tmp_path):
    status, output = command.run(tmp_path / "rests", **SETTINGS, mesh__resting_state="host")
    assert status == 0, output
    assert_same_run(finished[0], tmp_path / "rests", STEPS)


@pytest.mark.slow
def test_a_stop_during_seeding_is_resumed_too(finished, command, tmp_path):
    workdir = tmp_path / "cut"
    process = command.start(workdir, **SETTINGS)
    said: list[str] = []
    while not said or not said[-1].startswith("seed "):
        said.append(process.stdout.readline())
        assert said[-1], said
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert f"saved at step 0; the same command resumes {workdir}" in output
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    assert_same_run(finished[0], workdir, STEPS)


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_newest_save(finished, command, tmp_path):
    """SIGKILL in step 3: the metrics written after the save of step 2 are forgotten, and the steps done again."""
    workdir = tmp_path / "killed"
    process = command.start(workdir, **{**SETTINGS, "steps": 9})
    wait_for(lambda: (workdir / "checkpoints" / "2").exists() and lines(workdir / METRICS_FILE) >= 3, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    status, output = command.run(workdir, **SETTINGS)
    assert status == 0, output
    assert_same_run(finished[0], workdir, STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["racket", "julia", "javascript"])
def test_a_run_in_every_language(command, tmp_path, language):
    if LANGUAGES[language].find() is None:
        pytest.skip(f"{language} is not installed: {LANGUAGES[language].install_hint}")
    heldout = f"azr_jax/embedded/heldout_{language}.jsonl"
    settings = {**SETTINGS, "steps": 1, "languages": (language,), "evaluation__heldout": heldout}
    status, output = command.run(tmp_path / "run", **settings)
    assert status == 0, output
    (metrics,) = rows(tmp_path / "run" / METRICS_FILE)
    assert metrics["exec/infrastructure"] == 0
    assert metrics[f"buffer/{language}/triplets_size"] >= 5


@pytest.mark.ci
@pytest.mark.parametrize("language", BY_NAME)
def test_a_run_in_a_language_that_is_installed_by_name(command, tmp_path, language):
    """The model has never seen it, and learns it from the identity program."""
    if LANGUAGES[language].find() is None:
        pytest.skip(f"{language} is not installed: {LANGUAGES[language].install_hint}")
    settings = {"steps": 1, "languages": language, "selfplay__program_tags": "any"}
    settings |= {"selfplay__seed_triplets": 1, "selfplay__seed_problems": 0, "selfplay__batch_per_task": 8}
    status, output = command.run(tmp_path / "run", **settings)
    assert status == 0, output
    (metrics,) = rows(tmp_path / "run" / METRICS_FILE)
    assert metrics["exec/programs"] > 0 and metrics["exec/infrastructure"] == 0
    assert metrics[f"buffer/{language}/triplets_size"] >= 1


@pytest.mark.slow
def test_the_permuted_control_plays_alike_and_learns_otherwise(finished, command, tmp_path):
    workdir = tmp_path / "permuted"
    status, output = command.run(workdir, **{**SETTINGS, "steps": 1, "reward__permute": True, "checkpoint__every": 1})
    assert status == 0, output
    (permuted,), first = rows(workdir / METRICS_FILE), rows(finished[0] / METRICS_FILE)[0]
    played = [key for key in untimed(first) if not key.startswith("ppo/")]
    assert {key: permuted[key] for key in played} == {key: first[key] for key in played}
    assert permuted["ppo/policy_loss"] != first["ppo/policy_loss"]


@pytest.mark.ci
def test_a_run_whose_programs_no_longer_end_says_so_saves_and_ends(command, tmp_path):
    """Every interpreter is stopped (SIGSTOP), as by a machine that swaps; what had been trained is there afterwards."""
    changes = {"steps": 50, "checkpoint__every": 1000, "executor__wall_s": 4.0, "monitoring__stall_s": 25.0}
    with command.start(tmp_path / "run", **changes) as process:
        wait_for(lambda: lines(tmp_path / "run" / METRICS_FILE) >= 2, process)
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout))
        reader.start()
        stopped = set()
        while process.poll() is None and not any("saved at step" in line for line in said):
            new = set(descendants(process.pid)) - stopped
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= new
            time.sleep(0.05)
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        process.wait(timeout=120)
        reader.join()
    assert process.returncode == 1, "".join(said)
    told = (
        r"saved at step (\d+)[^$]*error: nothing was sampled .*stall_s=25 seconds; waiting for .* programs? in python"
    )
    step = int(re.search(told, "".join(said))[1])
    assert step >= 2
    status, output = command.run(tmp_path / "run", **changes | {"steps": step + 1})
    assert status == 0, output
    assert [row["step"] for row in rows(tmp_path / "run" / METRICS_FILE)] == list(range(1, step + 2))
