"""What a run keeps when the disk is full, on another machine, and when it is told to end."""

from __future__ import annotations

import contextlib
import json
import logging as python_logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import small_config
from etils import epath

from azr_jax.checkpoint.retention import SCORES_FILE, Retention, read_scores, write_scores
from azr_jax.config import MetricsSettings
from azr_jax.hosts.hosts import Hosts
from azr_jax.loop.interruption import Preempted, Signals
from azr_jax.loop.record import StepRecord
from azr_jax.run.opened import OpenRun
from azr_jax.run.saving import Saving
from azr_jax.workdir.metrics import Writers
from azr_jax.workdir.mirror import Mirror

SETTINGS = MetricsSettings(tensorboard=False, wandb=False, wandb_project="", transcripts_per_step=1)
STEPS = list(range(0, 100, 10))


@pytest.mark.parametrize(
    ("retention", "scores", "kept"),
    [
        (Retention(1), {}, [90]),
        (Retention(3), {}, [70, 80, 90]),
        (Retention(99), {}, STEPS),
        (Retention(1, every=40), {}, [40, 80, 90]),
        (Retention(1), {20: 0.5, 60: 0.7, 80: 0.6}, [60, 90]),
        (Retention(1), {20: 0.7, 60: 0.7}, [60, 90]),
        (Retention(2, every=30), {10: 0.1, 999: 5.0}, [10, 30, 60, 80, 90]),
    ],
)
def test_which_saves_stay(retention, scores, kept):
    dropped = retention.dropped(STEPS, scores)
    assert [step for step in STEPS if step not in dropped] == kept


def test_scores_are_read_back_and_damage_only_forgets_them(tmp_path, caplog):
    folder = epath.Path(tmp_path)
    assert read_scores(folder) == {}
    write_scores(folder, {3: 0.25, 16: 1.0})
    assert read_scores(folder) == {3: 0.25, 16: 1.0}
    for damage in ("[1, 2]", '{"x": 1}', "{"):
        (folder / SCORES_FILE).write_text(damage)
        assert read_scores(folder) == {}
    assert caplog.text.count("damaged") == 3
    with pytest.raises(ValueError, match=r"checkpoint\.keep=0"):
        Retention(0)


class Disk:
    """Stands for the saves; full while `full`. With `slow` a save ends, well or badly, only when it is waited for."""

    def __init__(self) -> None:
        self.full, self.slow, self.saved, self._writing, self.renewed = False, False, [], None, []

    def renew(self, step, host) -> None:
        self.renewed.append((step, host))

    def save(self, step, state, host, score) -> None:
        self._writing = (step, host, score)

    def settle(self) -> float | None:
        writing, self._writing = self._writing, None
        if writing is None:
            return None
        if self.full:
            raise RuntimeError("checkpoints/4: the save failed (No space left on device)")
        self.saved.append(writing)
        return 1.5

    def poll(self) -> float | None:
        return None if self.slow else self.settle()


class FlakyWriters(Writers):
    full = False

    def write(self, step, metrics):
        if self.full:
            raise OSError("metrics.jsonl: can't be written")
        super().write(step, metrics)

    def transcripts(self, step, rows):
        if self.full == "transcripts":
            raise OSError("transcripts.jsonl: can't be written")
        super().transcripts(step, rows)


def record(step: int, **values: float) -> StepRecord:
    return StepRecord(step, {"x": step / 2, **values}, [{"response": str(step)}])


@pytest.fixture
def parts(tmp_path):
    said: list[str] = []
    disk, writers = Disk(), FlakyWriters(tmp_path, SETTINGS, "{}")
    return disk, writers, Saving(disk, writers, Mirror(str(tmp_path)), said.append, "eval/score"), said


def steps_of(file: Path) -> list[int]:
    return [json.loads(line)["step"] for line in file.read_text().splitlines()] if file.exists() else []


def test_a_failed_save_is_told_and_tried_again_until_it_succeeds(parts, caplog):
    disk, _, saving, said = parts
    disk.full = True
    for number in (1, 2):
        saving.save(number, None, {}, {}, must_succeed=False)
        saving.check()
        assert saving.is_failing
    assert caplog.text.count("NOT SAVED for") == 2 and "No space left" in caplog.text
    assert [text.split(":")[0] for text in said] == ["NOT SAVED at step 1", "NOT SAVED at step 2"]
    assert all(entry.levelno == python_logging.ERROR for entry in caplog.records)
    disk.full = False
    saving.save(3, None, {"b": 1}, {"eval/score": 0.5}, must_succeed=False)
    assert saving.is_failing  # until it is known to be whole
    saving.check()
    assert not saving.is_failing and said[-1] == "saved again, at step 3" and saving.write_seconds == 1.5
    assert disk.saved == [(3, {"b": 1}, 0.5)]


def test_the_next_save_waits_for_the_one_before_and_tells_of_its_failure(parts, caplog):
    disk, _, saving, said = parts
    disk.slow = disk.full = True
    saving.save(1, None, {}, {}, must_succeed=False)
    saving.check()
    assert not saving.is_failing and said == []
    saving.save(2, None, {}, {}, must_succeed=False)
    assert saving.is_failing and said == ["NOT SAVED at step 1: training goes on and tries again after each step"]
    disk.full = False
    saving.save(3, None, {}, {}, must_succeed=True)
    assert [step for step, _, _ in disk.saved] == [2, 3]
    assert not saving.is_failing and said[1:] == ["saved again, at step 2"]


def test_seeds_grow_from_one_signal_to_the_next(parts):
    """Every save of seeding is one of step 0; the second was taken for the first, and its seeds were lost."""
    disk, _, saving, _ = parts
    for number in (1, 2):
        saving.save(0, None, {"seeds": number}, {}, must_succeed=True)
    saving.save(1, None, {"seeds": 3}, {}, must_succeed=True)
    assert disk.renewed == [(0, {"seeds": 1}), (0, {"seeds": 2})]


def test_the_last_save_of_a_run_must_succeed(parts):
    disk, _, saving, _ = parts
    disk.full = True
    with pytest.raises(RuntimeError, match="No space left"):
        saving.save(9, None, {}, {}, must_succeed=True)


@pytest.mark.parametrize("full", [True, "transcripts"])
def test_metrics_of_a_full_disk_are_written_later_in_order_and_once(parts, tmp_path, caplog, full):
    disk, writers, saving, _ = parts
    saving.write(record(1))
    writers.full = full
    saving.write(record(2))
    saving.write(record(3))
    assert "the metrics of 2 steps are kept in memory" in caplog.text
    saving.save(3, None, {}, {}, must_succeed=False)
    assert disk.saved == [] and saving.is_failing  # a save without its metrics would lose them
    writers.full = False
    saving.write(record(4))
    saving.save(4, None, {}, {}, must_succeed=False)
    saving.check()
    assert steps_of(tmp_path / "metrics.jsonl") == steps_of(tmp_path / "transcripts.jsonl") == [1, 2, 3, 4]
    assert [step for step, _, _ in disk.saved] == [4]


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A remote workdir that is a folder here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


def test_a_remote_workdir_goes_on_on_another_machine(remote, tmp_path, monkeypatch):
    first = Mirror(str(remote), remote=True)
    first.fetch()
    assert first.local != remote and list(first.local.iterdir()) == []
    (first.local / "metrics.jsonl").write_text("1\n")
    (first.local / "export" / "deep").mkdir(parents=True)
    (first.local / "export" / "deep" / "weights").write_bytes(b"\0\xff")
    first.push(("metrics.jsonl", "transcripts.jsonl", "export"))
    assert (remote / "metrics.jsonl").read_text() == "1\n" and not (remote / "transcripts.jsonl").exists()
    assert (remote / "export" / "deep" / "weights").read_bytes() == b"\0\xff"
    first.forget("metrics.jsonl")
    first.forget("metrics.jsonl")
    assert not (remote / "metrics.jsonl").exists() and (first.local / "metrics.jsonl").exists()
    first.push(("metrics.jsonl",))
    # What a machine wrote and did not copy up is no part of the run.
    (first.local / "metrics.jsonl").write_text("1\n2\n")
    for cache in ("cache", "another"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        second = Mirror(str(remote), remote=True)
        second.fetch()
        assert (second.local / "metrics.jsonl").read_text() == "1\n"


def test_a_local_workdir_is_its_own_mirror(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("1\n")
    mirror = Mirror(str(tmp_path))
    mirror.fetch()
    mirror.push(("metrics.jsonl",))
    assert mirror.local == tmp_path and (tmp_path / "metrics.jsonl").read_text() == "1\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number):
    said: list[str] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda *_: said.append("previous")) for number in numbers]
    try:
        with Signals(said.append) as signals:
            os.kill(os.getpid(), number)
            assert signals.received and said == ["stopping after this step; once more to stop at once"]
            os.kill(os.getpid(), number)
            assert said[-1] == "previous"
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def test_a_notice_cuts_only_what_may_be_cut():
    hosts = Hosts()
    with Signals(lambda text: None) as signals:
        with signals.interruptible(hosts):
            os.kill(os.getpid(), signal.SIGINT)
        assert signals.received
        with pytest.raises(Preempted), signals.interruptible(hosts):
            pytest.fail("the work began although a signal had come")
    with Signals(lambda text: None) as signals:
        with pytest.raises(Preempted), signals.interruptible(hosts):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received and not signals.must_cut
    for allowed in (False, True):
        with Signals(lambda text: None) as signals:
            with signals.interruptible(hosts, allowed=False) if not allowed else contextlib.nullcontext():
                os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received and not signals.must_cut


@pytest.mark.parametrize(
    ("run", "status", "said"),
    [("", 0, "stopped before the run began"), ("s = preemption.Signals(print); s.__enter__(); s._restore()", -15, "")],
)
def test_a_notice_before_there_is_anything_to_save_ends_with_0(run, status, said):
    code = f"import signal\nfrom azr_jax.loop import interruption as preemption\npreemption.nothing_to_save()\n{run}\n"
    code += "signal.raise_signal(signal.SIGTERM)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status and done.stderr.startswith(said)


def test_a_notice_amid_a_write_to_the_terminal_does_not_end_the_run():
    def say(text: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")

    with Signals(say) as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received


def test_a_best_metric_that_a_scored_save_lacks_is_said_once(parts):
    _, _, saving, said = parts
    for step, metrics in enumerate([{"x": 1.0}, {"eval/scores": 1.0}, {"eval/scores": 1.0}, {"eval/score": 1.0}], 1):
        saving.save(step, None, {}, metrics, must_succeed=True)
    assert said == ["checkpoint.best_metric='eval/score': step 2 has no such metric; did you mean eval/scores?"]


def test_the_steps_that_are_kept_are_saved():
    settings = small_config(steps=200, checkpoint__every=10, checkpoint__keep_every=64)
    run = SimpleNamespace(
        config=settings,
        should_stop=lambda: False,
        _too_many_nonfinite=lambda record: False,
        hosts=Hosts(),
        saving=SimpleNamespace(is_failing=False),
    )
    saved = [step for step in range(1, 201) if OpenRun.must_save(run, StepRecord(step, {}))]
    assert saved == sorted({*range(10, 201, 10), 64, 128, 192})
