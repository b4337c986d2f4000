"""Metrics files: what is written, what a resume forgets, what a full disk leaves; Wilson intervals."""

import dataclasses
import json
import math
import resource
import subprocess
import sys

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from azr_jax.config import MetricsSettings
from azr_jax.evaluation.scoring.intervals import wilson
from azr_jax.workdir.metrics import Writers

SETTINGS = MetricsSettings(tensorboard=False, wandb=False, wandb_project="azr_jax", transcripts_per_step=2)


def writers(path, **changes) -> Writers:
    return Writers(path, dataclasses.replace(SETTINGS, **changes), "{}")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_object_a_step_with_step_first(tmp_path):
    with writers(tmp_path) as out:
        out.write(1, {"solve/accuracy": np.float32(0.5), "ppo/loss": math.nan, "ppo/ratio_max": math.inf, "exec/n": 3})
        out.write(2, {"solve/accuracy": 0.25})
        first = {"step": 1, "solve/accuracy": 0.5, "ppo/loss": None, "ppo/ratio_max": None, "exec/n": 3}
        assert rows(tmp_path / "metrics.jsonl") == [first, {"step": 2, "solve/accuracy": 0.25}]
    assert (tmp_path / "metrics.jsonl").read_text().startswith('{"step": 1, ')


def test_transcripts_keep_any_text(tmp_path):
    text = "</script>\u2028\u202e\ud800\x00\r\nλ"
    with writers(tmp_path) as out:
        out.transcripts(4, [{"response": text, "acc": None, "correct": True}, {"response": "", "reward": -0.5}])
    assert rows(tmp_path / "transcripts.jsonl")[0] == {"step": 4, "response": text, "acc": None, "correct": True}
    assert len((tmp_path / "transcripts.jsonl").read_bytes().split(b"\n")) == 3


def write_steps(path, steps):
    with writers(path) as out:
        for step in steps:
            out.write(step, {"x": step / 7})
            out.transcripts(step, [{"response": f"{step}{letter}"} for letter in "ab"])


def test_a_resumed_run_has_the_files_of_an_uninterrupted_one(tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for path in (whole, resumed):
        path.mkdir()
    write_steps(whole, range(1, 7))
    write_steps(resumed, range(1, 5))
    with (resumed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "x": 0.7')  # killed amid a line
    with writers(resumed) as out:
        out.truncate_after(3)
    write_steps(resumed, range(4, 7))
    for name in ("metrics.jsonl", "transcripts.jsonl"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_a_fresh_start_forgets_everything_and_no_files_are_no_error(tmp_path):
    with writers(tmp_path) as out:
        out.truncate_after(-1)
    write_steps(tmp_path, [1])
    with writers(tmp_path) as out:
        out.truncate_after(-1)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with writers(tmp_path) as out, pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        out.truncate_after(5)


def test_a_full_disk_is_an_error_that_leaves_whole_lines(tmp_path):
    write_steps(tmp_path, [1])
    before = (tmp_path / "metrics.jsonl").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with writers(tmp_path) as out:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
        try:
            with pytest.raises(OSError, match=r"metrics\.jsonl: can't be written .*free space"):
                out.write(2, {"x": 0.123456789})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (tmp_path / "metrics.jsonl").read_bytes() == before
        out.write(2, {"x": 0.5})
    assert [row["step"] for row in rows(tmp_path / "metrics.jsonl")] == [1, 2]


def scalars(path):
    """(step, tag, value) of every scalar, and the steps from which later ones are to be hidden."""
    values, purged = [], []
    for file in sorted((path / "tensorboard").iterdir()):
        content = file.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            values += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            if event.HasField("session_log"):
                purged.append(event.step)
    return values, purged


def test_tensorboard_has_the_finite_numbers_and_hides_repeated_steps(tmp_path):
    with writers(tmp_path, tensorboard=True) as out:
        out.write(1, {"solve/accuracy": 0.5, "ppo/loss": math.nan})
    assert scalars(tmp_path) == ([(1, "solve/accuracy", 0.5)], [])
    with writers(tmp_path, tensorboard=True) as out:
        out.truncate_after(0)
        out.write(1, {"solve/accuracy": 0.25})
    assert scalars(tmp_path) == ([(1, "solve/accuracy", 0.5), (1, "solve/accuracy", 0.25)], [1])


def test_scores_of_no_step_reach_tensorboard_alone(tmp_path):
    with writers(tmp_path, tensorboard=True) as out:
        out.show(0, {"eval/heldout/greedy/all/accuracy": 0.25, "eval/x": math.nan})
        out.show(0, {})
    assert scalars(tmp_path) == ([(0, "eval/heldout/greedy/all/accuracy", 0.25)], [])
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_full_disk_of_tensorboard_neither_holds_the_run_nor_repeats_metrics(tmp_path, caplog):
    """The writer of tensorboardX waits for ever once a write has failed and its queue is full."""
    metrics = {f"group/{number}": number / 8 for number in range(40)}
    with writers(tmp_path, tensorboard=True) as out:
        (tmp_path / "tensorboard").write_text("in the way")
        out.write(1, metrics)
        assert "TensorBoard's copy of step 1 waits" in caplog.text
        (tmp_path / "tensorboard").unlink()
        out.write(2, metrics)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        (file,) = (tmp_path / "tensorboard").iterdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 100, hard))
        try:
            out._events.write(3, metrics)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        out.write(4, metrics)
    assert [row["step"] for row in rows(tmp_path / "metrics.jsonl")] == [1, 2, 4]
    values, _ = scalars(tmp_path)
    assert [step for step, tag, _ in values if tag == "group/39"] == [1, 2, 3, 4]


def test_the_event_file_is_what_tensorboard_reads(tmp_path):
    """The framing of tensorboardX' own writer, checksums included."""
    with writers(tmp_path, tensorboard=True) as out:
        out.write(1, {"a b/c": 0.5})
    (file,) = (tmp_path / "tensorboard").iterdir()
    again = RecordWriter(str(tmp_path / "again"))
    content = file.read_bytes()
    while content:
        length = int.from_bytes(content[:8], "little")
        again.write(content[12 : 12 + length])
        content = content[16 + length :]
    again.close()
    assert file.read_bytes() == (tmp_path / "again").read_bytes()
    assert "tfevents" in file.name and scalars(tmp_path)[0] == [(1, "a_b/c", 0.5)]


def test_metrics_that_end_before_the_save_are_said(tmp_path, caplog):
    write_steps(tmp_path, [1, 2])
    with writers(tmp_path) as out:
        out.truncate_after(2)
        assert "are lost" not in caplog.text
        (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "x"')
        out.truncate_after(2)
    assert "ends with step 1, the save is of step 2" in caplog.text


def test_a_remote_workdir_is_refused():
    with pytest.raises(ValueError, match=r"gs://bucket/run.*local"):
        writers("gs://bucket/run")


def test_wilson_by_hand_and_by_its_definition():
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)  # Newcombe 1998's worked form
    for correct, n in ((1, 300), (150, 300), (17, 23)):
        for bound in wilson(correct, n):
            # The bounds are where the score test has z = 1.96.
            assert abs(correct / n - bound) / math.sqrt(bound * (1 - bound) / n) == pytest.approx(1.959964, abs=1e-5)
    assert wilson(0, 20)[0] == 0.0 and wilson(20, 20)[1] == 1.0 and wilson(0, 0) == (0.0, 1.0)
    for wrong in ((-1, 3), (4, 3), (0, -1)):
        with pytest.raises(ValueError, match="must be between"):
            wilson(*wrong)


def test_metrics_progress_and_report_need_no_jax():
    source = (
        "import sys, azr_jax.workdir.metrics, azr_jax.monitor.display, azr_jax.report; sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
