"""Workdirs on gs://, with the real clients of Cloud Storage against tests/fake_bucket.py."""

from __future__ import annotations

import gc
import os
import signal

import pytest
from conftest import SMALL, rows
from etils import epath
from fake_bucket import serving
from test_checkpoint import HOST, assert_same, changed, config, learner_and_state, restored
from test_main import assert_same_run, wait_for

from azr_jax.checkpoint import Manager, open_workdir, read_config
from azr_jax.loop.record import StepRecord
from azr_jax.monitor import status
from azr_jax.run.seeding import write_round
from azr_jax.workdir.mirror import Mirror

RUN = "gs://bucket/folder/run"


@pytest.fixture(scope="module")
def storage():
    """The clients read their environment once in a process: no other module of tests may use gs://."""
    with pytest.MonkeyPatch.context() as patch, serving() as served:
        for name, value in served.environment().items():
            patch.setenv(name, value)
        yield served


@pytest.fixture
def bucket(storage):
    storage.objects.clear()
    yield storage
    storage.refuse = lambda verb, name: 0


@pytest.mark.slow
def test_saves_of_a_bucket_are_whole_or_not_there(bucket):
    _, state = learner_and_state()
    with Manager(RUN, keep=1) as saves:
        saves.save(1, state, HOST)
        saves.settle()
        saves.save(2, changed(state, 2), HOST)
        saves.settle()
        assert saves.steps() == [2]
    assert bucket.names("bucket/folder/run/checkpoints/1/") == []
    # As a save that was killed before its last object, the mark of its end.
    (epath.Path(RUN) / "checkpoints/2/commit_success.txt").unlink()
    with Manager(RUN, keep=1) as saves:
        assert saves.steps() == [] and restored(saves) is None
        saves.save(2, state, HOST)
        step, back, host = restored(saves)
    assert (step, host) == (2, HOST)
    assert_same(back, state)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
def test_a_bucket_that_refuses_fails_the_save_and_leaves_the_earlier_ones(bucket):
    _, state = learner_and_state()
    with Manager(RUN, keep=1) as saves:
        saves.save(1, state, HOST)
        saves.settle()
        bucket.refuse = lambda verb, name: 400 if verb == "POST" and "/checkpoints/2/" in name else 0
        with pytest.raises(RuntimeError, match=r"checkpoints/2: the save failed .*saved steps: 1\)"):
            saves.save(2, changed(state, 2), HOST)
            saves.settle()
        assert saves.steps() == [1]
        bucket.refuse = lambda verb, name: 400
        with pytest.raises(RuntimeError, match=r"checkpoints/3: the save failed"):
            saves.save(3, state, HOST)
            saves.settle()
        bucket.refuse = lambda verb, name: 0
        saves.save(3, changed(state, 3), HOST)
        assert restored(saves)[0] == 3
    gc.collect()


def test_settings_metrics_and_status_of_a_bucket(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    open_workdir(RUN, config(steps=7), allow_config_change=False)
    assert read_config(RUN).steps == 7
    mirror = Mirror(RUN)
    mirror.fetch()
    (mirror.local / "metrics.jsonl").write_text('{"step": 3, "time/step_s": 2.0}\n')
    mirror.push(("metrics.jsonl",))
    # A seeding round is there as soon as it is over: a failed seeding saves nothing.
    write_round(mirror, StepRecord(1, {"propose/valid": 0.0}, [{"response": "hm"}]))
    assert b'"response": "hm"' in bucket.objects["bucket", "folder/run/seeding.jsonl"][0]
    (epath.Path(RUN) / "report.html").write_text("of the run's first 5 steps")
    for _ in range(2):
        mirror.forget("report.html")
    assert bucket.names("bucket/folder/run/report.html") == []
    for name in ("16/commit_success.txt", "16/params/d", "32/params/d"):
        bucket.objects["bucket", f"folder/run/checkpoints/{name}"] = (b"x", 1)
    text = status.describe(RUN)
    assert f"{RUN}: step 3 of 7" in text and "saves: 16\n" in text
    bucket.refuse = lambda verb, name: 400
    with pytest.raises(OSError, match=r"gs://bucket/folder/run/metrics\.jsonl: HttpError: refused"):
        mirror.push(("metrics.jsonl",))
    with pytest.raises(OSError, match=r"--workdir=gs://bucket/folder/run: can't be written"):
        open_workdir(RUN, config(), allow_config_change=False)
    with pytest.raises(ValueError, match=r"s3://bucket/run: choose a local folder or gs://"):
        open_workdir("s3://bucket/run", config(), allow_config_change=False)


@pytest.mark.slow
def test_a_run_in_a_bucket_goes_on_on_another_machine(bucket, command, tmp_path, monkeypatch):
    """Killed with half a save there, and then told that the bucket refuses its metrics for a step."""
    settings = {**SMALL, "steps": 4, "checkpoint.every": 1, "executor.wall_s": 40.0, "executor.cpu_s": 30.0}
    settings = {key.replace(".", "__"): value for key, value in settings.items()}
    local = tmp_path / "local"
    code, output = command.run(local, **settings)
    assert code == 0, output
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    with command.start(RUN, **settings) as process:
        wait_for(lambda: bucket.names("bucket/folder/run/checkpoints/2/"), process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    refused = []

    def refuse_metrics_once(verb: str, name: str) -> int:
        if verb == "POST" and name.endswith("/metrics.jsonl") and not refused:
            refused.append(name)
            return 400
        return 0

    bucket.refuse = refuse_metrics_once
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    code, output = command.run(RUN, **settings)
    assert code == 0, output
    assert refused and "metrics.jsonl: HttpError: refused" in output
    back = tmp_path / "back"
    for name in bucket.names("bucket/folder/run/"):
        target = back / name.removeprefix("bucket/folder/run/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bucket.objects[tuple(name.split("/", 1))][0])
    assert [row["step"] for row in rows(back / "metrics.jsonl")] == [1, 2, 3, 4]
    assert_same_run(local, back, 4)
    assert (back / "report.html").exists() and (back / "export" / "model.safetensors").exists()
