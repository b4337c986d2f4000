"""A workdir is made, reopened with the same settings, and held by one run."""

import json
import subprocess
import sys

import pytest
from test_checkpoint import config

from azr_jax.checkpoint import held, note_start, open_workdir, read_config


def test_a_workdir_is_made_and_reopened(tmp_path):
    workdir = tmp_path / "runs" / "x"
    open_workdir(workdir, config(), allow_config_change=False)
    assert json.loads((workdir / "config.json").read_text())["steps"] == 500
    free = config(steps=8, checkpoint__every=1, evaluation__every=2, metrics__tensorboard=False)
    (workdir / "checkpoints").mkdir()
    open_workdir(workdir, free, allow_config_change=False)
    assert read_config(workdir) == config()  # until the run has started
    note_start(workdir, free)
    assert read_config(workdir) == free


def test_other_settings_are_listed_and_stop_a_resume(tmp_path):
    open_workdir(tmp_path, config(), allow_config_change=False)
    (tmp_path / "checkpoints").mkdir()
    other = config(seed=1, learner__clip_epsilon=0.3, steps=9, model__remat="gate")
    with pytest.raises(ValueError) as caught:
        open_workdir(tmp_path, other, allow_config_change=False)
    assert "learner.clip_epsilon: 0.2 -> 0.3" in str(caught.value) and "seed: 0 -> 1" in str(caught.value)
    assert "steps" not in str(caught.value) and "remat" not in str(caught.value)
    assert "--allow_config_change" in str(caught.value)
    assert read_config(tmp_path) == config()
    open_workdir(tmp_path, other, allow_config_change=True)
    assert read_config(tmp_path) == config()


def test_a_run_that_saved_nothing_takes_other_settings(tmp_path):
    open_workdir(tmp_path, config(model__path="nowhere"), allow_config_change=False)
    open_workdir(tmp_path, config(model__path="somewhere"), allow_config_change=False)
    assert read_config(tmp_path).model.path == "somewhere"


def test_two_runs_are_kept_out_of_one_workdir(tmp_path):
    source = "import sys; from azr_jax.workdir.opening import held\nwith held(sys.argv[1]): pass"
    with held(tmp_path):
        with pytest.raises(ValueError, match=r"another run is going on there"), held(tmp_path):
            pass
        done = subprocess.run(
            [sys.executable, "-c", source, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and "another run is going on there" in done.stderr
    with held(tmp_path), held("gs://bucket/run"), held("gs://bucket/run"):
        pass


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"not a run of azr_jax .*thesis\.tex.*--workdir"):
        open_workdir(tmp_path, config(), allow_config_change=True)
    (tmp_path / "config.json").write_text('{"architectures": ["Qwen2ForCausalLM"]}')
    with pytest.raises(ValueError, match=r"not a run of azr_jax"):
        open_workdir(tmp_path, config(), allow_config_change=True)
    (tmp_path / "config.json").write_text('{"selfplay": ')
    with pytest.raises(ValueError, match=r"config\.json: damaged"):
        open_workdir(tmp_path, config(), allow_config_change=True)
    assert (tmp_path / "config.json").read_text() == '{"selfplay": '


def test_a_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "run", "/proc/azr_jax_run"):
        with pytest.raises(OSError, match=r"can't be written .*choose another --workdir"):
            open_workdir(place, config(), allow_config_change=False)


def test_a_run_of_an_earlier_version_lacks_what_was_added_since(tmp_path):
    """Status, export, evaluation and a resume take it as it is by default; another value is a change."""
    open_workdir(tmp_path, config(), allow_config_change=False)
    (tmp_path / "checkpoints").mkdir()
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["learner"]["kl_coef"], settings["languages"], settings["monitoring"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert read_config(tmp_path).learner == config().learner
    with pytest.raises(ValueError, match=r"learner\.kl_coef: 0\.0 -> 0\.1"):
        open_workdir(tmp_path, config(languages=read_config(tmp_path).languages, learner__kl_coef=0.1), False)
    open_workdir(tmp_path, config(languages=read_config(tmp_path).languages), allow_config_change=False)
