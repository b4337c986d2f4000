"""`python -m azr_jax.monitor.status`: a run seen from its files."""

import json
import os
import subprocess
import sys
import types

import pytest
from conftest import REPOSITORY, small_config

from azr_jax.monitor import status, whereabouts

ROW = {
    "time/step_s": 60.0,
    "time/play_s": 40.0,
    "time/sampling_s": 30.0,
    "time/waiting_s": 9.5,
    "time/update_s": 19.0,
    "time/evaluate_s": 0.0,
    "time/save_s": 1.0,
    "propose/valid": 0.41,
    "solve/deduction/accuracy": 0.4,
    "ppo/entropy": 0.5,
    "ppo/loss": None,
    "host/memory_mib": 812.0,
    "host/open_files": 40.0,
    "host/processes": 5.0,
}
WRITTEN = 1_000_000.0


@pytest.fixture
def run(tmp_path):
    """A run at step 3 of 500, its last line written at WRITTEN and one half-written."""
    (tmp_path / "config.json").write_text(small_config(steps=500).to_json())
    rows = [json.dumps({"step": step, **ROW}) for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + '\n{"step": 4, "ti')
    os.utime(tmp_path / "metrics.jsonl", (WRITTEN, WRITTEN))
    for name in ("0", "2", "3.orbax-checkpoint-tmp", "00", "\u0663"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "checkpoints" / "5").write_text("a stray file")
    return tmp_path


def test_a_run_that_goes_on(run):
    lines = status.describe(str(run), WRITTEN + 42).splitlines()
    assert lines == [
        f"{run}: step 3 of 500, last step 0:42 ago",
        "saves: 0, 2",
        "azr_jax/embedded/azr-tiny, python",
        "step 3/500 left 8:17:00 valid 41% solve 40/-/-%",
        "seconds per step: play 40.0 (30.0 sampling, 9.5 waiting), update 19.0, evaluate 0.0, save 1.0",
        "memory: host 812 MiB, 40 open files, 5 processes",
        "no alerts",
    ]
    assert max(map(len, lines[1:])) <= 100


def test_a_run_in_its_seeding_shows_what_became_of_the_newest_round(run):
    (run / "metrics.jsonl").unlink()
    metrics = {
        "propose/valid": 0.05,
        "propose/outcome/valid": 0.05,
        "propose/outcome/no_answer": 0.75,
        "propose/outcome/duplicate": 0.2,
        "sample/length_capped": 0.7,
        "sample/response_tokens": 95.5,
    }
    rounds = [{"step": number, "metrics": metrics, "transcripts": []} for number in (1, 2)]
    (run / "seeding.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rounds))
    assert (
        "seeding round 2: 5% valid, 70% at the length limit, 96 tokens; no answer 75%, duplicate 20%"
        in status.describe(str(run), WRITTEN)
    )


def test_a_silent_run_and_a_finished_one(run):
    assert "silent for 10:00 (10 times a usual step): probably not running" in status.describe(str(run), WRITTEN + 600)
    assert status.main(["--finished", str(run)]) == 3
    (run / "report.html").write_text("<html>")  # of azr_jax.report, while the run goes on
    assert status.main(["--finished", str(run)]) == 3
    (run / "summary.json").write_text('{"steps": 400}')  # and then asked for more
    assert status.main(["--finished", str(run)]) == 3
    (run / "summary.json").write_text('{"steps": 500}')
    assert "step 3 of 500, finished" in status.describe(str(run), WRITTEN + 600)
    assert status.main(["--finished", str(run)]) == 0


def test_alerts_of_the_last_step_and_device_memory(run):
    row = {
        "step": 4,
        **ROW,
        "time/save_write_s": 12.34,
        "propose/valid": 0.01,
        "device/peak_gib": 14.125,
        "device/limit_gib": 15.75,
    }
    content = (run / "metrics.jsonl").read_text().rsplit("\n", 1)[0]
    (run / "metrics.jsonl").write_text(f"{content}\n{json.dumps(row)}\n")
    text = status.describe(str(run), WRITTEN)
    assert "saves: 0, 2 (the last took 12.3 s to write)" in text
    assert "alert valid_proposals: 1.0% of the proposals are valid" in text
    assert "memory: device 14.12 GiB at peak, limit 15.75; host 812 MiB" in text


def test_before_the_first_step(run):
    (run / "metrics.jsonl").unlink()
    os.utime(run / "config.json", (WRITTEN, WRITTEN))
    assert status.describe(str(run), WRITTEN + 60).splitlines() == [
        f"{run}: step 0 of 500, before its first step for 1:00",
        "saves: 0, 2",
        "azr_jax/embedded/azr-tiny, python",
    ]


def test_what_the_run_does_now_and_how_far_it_is(run, monkeypatch, caplog):
    times = iter([WRITTEN, WRITTEN + 20, WRITTEN + 22, WRITTEN + 30])
    monkeypatch.setattr(whereabouts, "time", types.SimpleNamespace(time=lambda: next(times)))
    pushed, slots = [], iter([0, 24, 24])
    where = whereabouts.Whereabouts(
        run, lambda: {"devices": "1 x cpu", "slots": next(slots)}, 5.0, lambda: pushed.append(1)
    )
    where.note("play", "")
    assert "on 1 x cpu, as many as fit slots" in status.describe(str(run), WRITTEN)
    where.note("play", "12 responses, 3 to come in 24 slots; 4 programs, 1 running")
    where.note("play", "less than five seconds later")
    lines = status.describe(str(run), WRITTEN + 27).splitlines()
    assert lines[3:6] == [
        "on 1 x cpu, 24 slots",
        "play for 0:20, said 0:07 ago",
        "12 responses, 3 to come in 24 slots; 4 programs, 1 running",
    ]
    where._push = lambda: (_ for _ in ()).throw(OSError("no bucket"))
    where.note("update", "")  # a new phase is said at once
    assert "update for 0:00" in status.describe(str(run), WRITTEN + 30) and pushed == [1, 1]
    assert "progress.json is not up to date: no bucket" in caplog.text
    (run / "progress.json").write_text("{}")
    with pytest.raises(ValueError, match=r"progress\.json: damaged"):
        status.describe(str(run), WRITTEN)


def test_errors_name_the_place(run, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ValueError, match=f"{empty}: not a run of azr_jax"):
        status.describe(str(empty))
    assert status.main([str(empty)]) == 1
    damaged = [json.dumps({"step": 1, **ROW} | more) + "\n" for more in ({"step": "1"}, {"time/step_s": None})]
    for damage in (*damaged, '{"step": 1}\n', "[1]\n", "\udcff\n", json.dumps({"step": 1, **ROW}) + "\nnot json\n"):
        (run / "metrics.jsonl").write_bytes(damage.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=r"metrics\.jsonl, line \d: damaged"):
            status.describe(str(run))
    (run / "metrics.jsonl").unlink()
    (run / "seeding.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match=r"seeding\.jsonl, line 1: damaged \(no `metrics`\)"):
        status.describe(str(run))


@pytest.mark.parametrize("text", ["3", "null", "[" * 100_000])
def test_a_configuration_of_something_else_is_named(run, text):
    (run / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: damaged .*; restore it from a copy, or write there what"):
        status.describe(str(run))
    assert status.main(["--finished", str(run)]) == 1


def test_what_a_row_lacks_is_left_out(run):
    row = {"step": 4, "time/step_s": 0.0, "device/peak_gib": None, "host/memory_mib": 1.0}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    text = status.describe(str(run))
    assert "step 4 of 500" in text and "memory" not in text
    (run / "report.html").touch()
    (run / "summary.json").write_text('{"steps": 1e999}')
    assert status.main(["--finished", str(run)]) == 3


def test_a_bucket_that_cannot_be_read_is_one_message(monkeypatch, caplog):
    def refused(folder):
        raise LookupError("no credentials were found")

    monkeypatch.setattr(status, "read_config", refused)
    assert status.main(["gs://bucket/run"]) == status.main(["--finished", "gs://bucket/run"]) == 1
    assert caplog.text.count("gs://bucket/run: can't be read (LookupError: no credentials were found)") == 2
    with pytest.raises(LookupError):
        status.main(["runs/tiny"])

    def unreachable(folder):
        raise ConnectionError("can't connect to host storage.googleapis.com:443")

    monkeypatch.setattr(status, "read_config", unreachable)
    assert status.main(["gs://bucket/run"]) == 1
    assert "gs://bucket/run: can't be read (ConnectionError: can't connect to host" in caplog.text


def test_the_command_prints_it_without_jax(run):
    code = "import sys; from azr_jax import status; status.main(sys.argv[1:]); print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert "step 3 of 500" in done.stdout and done.stdout.endswith("False\n")
