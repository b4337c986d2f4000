"""A run's page at Weights & Biases: whose id it has, what it is called, what reaches it.

The client is a stand-in that writes down its calls, except in the last test, which runs where the package is installed.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys

import pytest
from conftest import small_config

from azr_jax.config import MetricsSettings
from azr_jax.workdir.metrics import Writers

SETTINGS = MetricsSettings(tensorboard=False, wandb=True, wandb_project="project", transcripts_per_step=2)
RECORDING = """
import json, os

class Table:
    def __init__(self, columns, data):
        self.columns, self.data = columns, data

class Run:
    def log(self, values, step):
        if "x" in values:
            raise LookupError("the service is gone")
        record("log", {"values": values, "step": step})

    def finish(self):
        record("finish", {})

def record(name, what):
    with open(os.environ["RECORDED"], "a") as file:
        file.write(json.dumps([name, what], default=vars) + "\\n")

def init(**options):
    record("init", options)
    return Run()
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """From a name to the options of the calls of it that were made."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "wandb.py").write_text(RECORDING)
    monkeypatch.syspath_prepend(tmp_path / "package")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setenv("RECORDED", str(tmp_path / "calls"))
    yield lambda name: [
        what for called, what in map(json.loads, (tmp_path / "calls").read_text().splitlines()) if called == name
    ]
    sys.modules.pop("wandb", None)


def writers(path, **changes) -> Writers:
    return Writers(path, dataclasses.replace(SETTINGS, **changes), small_config().to_json())


def test_the_id_is_the_runs_and_a_fresh_run_at_an_old_path_has_its_own(tmp_path, calls):
    workdir = tmp_path / "runs" / "racket"
    for _ in range(2):
        with writers(workdir):
            pass
    shutil.rmtree(workdir)
    with writers(workdir):
        pass
    first, resumed, fresh = calls("init")
    assert first["id"] == resumed["id"] != fresh["id"]
    assert fresh["id"] == json.loads((workdir / "wandb.json").read_text())["id"]
    assert len(calls("finish")) == 3


def test_name_configuration_and_tags_are_those_of_the_run(tmp_path, calls):
    with writers(tmp_path / "racket"):
        pass
    (options,) = calls("init")
    assert (options["name"], options["project"], options["resume"]) == ("racket", "project", "allow")
    assert options["config"] == json.loads(small_config().to_json())
    assert options["tags"][:2] == ["python", "azr-tiny"]


def test_steps_tables_of_transcripts_and_scores_reach_it(tmp_path, calls):
    with writers(tmp_path) as out:
        out.show(0, {"eval/heldout/greedy/all/accuracy": 0.25})
        out.write(1, {"solve/accuracy": 0.5, "ppo/loss": float("nan")})
        out.transcripts(1, [{"response": "\ud800a", "acc": None}, {"response": "b", "shown": ["1"]}])
        out.transcripts(2, [])
    scores, numbers, table = calls("log")
    assert scores == {"values": {"eval/heldout/greedy/all/accuracy": 0.25}, "step": 0}
    assert numbers == {"values": {"solve/accuracy": 0.5}, "step": 1}
    assert table["step"] == 1 and table["values"]["transcripts"] == {
        "columns": ["response", "acc", "shown"],
        "data": [["\\ud800a", None, None], ["b", None, '["1"]']],
    }
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1]


def test_what_the_service_does_not_take_is_a_warning(tmp_path, calls, caplog):
    with writers(tmp_path) as out:
        out.write(1, {"x": 1.0})
    assert "did not take step 1: the service is gone" in caplog.text
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "x": 1.0}\n'


def test_a_client_that_does_not_start_is_said(tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text("def init(**options): raise LookupError('api_key not configured')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(RuntimeError, match=r"metrics\.wandb=True: .*api_key not configured.*wandb login"):
        writers(tmp_path)
    sys.modules.pop("wandb", None)


def test_a_client_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(RuntimeError, match=r"metrics\.wandb=True.*pip install wandb"):
        writers(tmp_path)


def test_the_real_client_takes_all_of_it(tmp_path, monkeypatch, caplog):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):
        with writers(tmp_path / "racket") as out:
            out.show(0, {"eval/heldout/greedy/all/accuracy": 0.25})
            out.write(1, {"solve/accuracy": 0.5})
            out.transcripts(1, [{"response": "\ud800a", "acc": None, "reward": -0.5}, {"response": "b", "acc": 0.5}])
    assert "did not take" not in caplog.text
    known = json.loads((tmp_path / "racket" / "wandb.json").read_text())["id"]
    folders = list((tmp_path / "racket" / "wandb").glob(f"offline-run-*-{known}"))
    assert folders and all(list(folder.glob("*.wandb")) for folder in folders)
    assert wandb.run is None
