"""Each command: in the default run at the tiny size, in the long one at the small size, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY, on_devices

from azr_jax.speed import __main__ as command
from azr_jax.speed import peer


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "azr_jax.speed", *arguments]
    return subprocess.run(
        words, capture_output=True, text=True, cwd=REPOSITORY, env=on_devices(1), timeout=900, check=False
    )


def _result(*arguments: str) -> dict:
    done = _run(*arguments, "--json", "--repeats=1")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["size"] in ("small", "tiny") and result["platform"] == "cpu" and "no GPU" in result["note"]
    assert result["note"] in done.stdout.splitlines()[1] and result["versions"]["jax"]
    return result


def _tiny(capsys, monkeypatch, *arguments: str) -> dict:
    """The result in this process, where jax runs already."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    assert command.main([*arguments, "--size=tiny", "--repeats=1", "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_sampler_is_measured_at_the_tiny_size(capsys, monkeypatch):
    result = _tiny(capsys, monkeypatch, "sampler", "--only=prompts", "--no-peer")
    assert (result["size"], result["prompts"]["requests"], result["prompts"]["new_tokens"]) == ("tiny", 8, 16)
    assert result["prompts"]["tokens_per_s"] > 0 and "say nothing about the 3B" in result["note"]


def test_the_update_is_measured_at_the_tiny_size(capsys, monkeypatch):
    result = _tiny(capsys, monkeypatch, "update", "--no-peer", "--remat=full")
    assert result["update/32"]["sequences"] == 4 and result["update/32"]["model_tflops"] > 0


def test_a_step_is_measured_at_the_tiny_size(capsys, monkeypatch):
    step = _tiny(capsys, monkeypatch, "step", "--remat=full")["step"]
    assert (step["training_responses"], step["estimation_responses"], step["programs"]) == (6, 12, 18)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sampler", "--only=prompts,tails"], "--only=prompts,tails: 'tails' is none of prompts, decode, tail"),
        (["update", "--remat=some"], "--remat=some: use one of auto, full"),
        (["update", "--model=weights/none"], "--model=weights/none: no config.json there"),
    ],
)
def test_a_mistake_is_said_before_the_peer_takes_minutes(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(peer, "run", None)
    assert command.main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {words}")


def test_a_model_may_be_named_by_the_home_folder(monkeypatch, tmp_path):
    """As docs/results/speed.md does: no shell replaces the ~ within a word."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    asked = []

    def measured(*words):
        asked.append(words)
        raise ValueError("the peer was asked")

    monkeypatch.setattr(peer, "run", measured)
    assert command.main(["update", "--model=~/model"]) == 2
    assert asked == [("update", "auto", str(tmp_path / "model"))]


def test_the_old_name_says_the_new_one():
    arguments = [sys.executable, "-m", "azr_jax.benchmark", "sampler", "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=REPOSITORY, env=on_devices(1), check=True)
    assert "is now python -m azr_jax.speed" in done.stderr and "--size" in done.stdout


@pytest.mark.ci
def test_transformers_does_the_same_work_in_the_same_run():
    result = _result("sampler", "--size=tiny", "--only=prompts")
    assert result["peer"]["new_tokens"] == 16 and result["over_peer"]["tokens_per_s"] > 0
    result = _result("update", "--size=tiny", "--remat=full")
    assert result["update/32"]["over_peer"] > 0


@pytest.mark.slow
def test_sampler_beside_its_roofline_and_static_batching():
    result = _result("sampler")
    assert result["ceilings"]["copy_gb_per_s"] > 0
    for name in ("prompts", "tail"):
        assert 0 < result[name]["share_of_roofline"] < 1
    assert 0 < result["decode"]["share_of_copy_bandwidth"] < 1
    assert result["tail"]["requests"] == 96 and result["tail"]["longest"] <= 256
    for slots in (8, 64):
        assert (
            result[f"static/{slots}"]["continuous_over_static"] > 0 and result[f"static/{slots}"]["rooflines_ratio"] > 1
        )


@pytest.mark.slow
def test_update_beside_the_matmul_ceiling_and_torch():
    result = _result("update", "--remat=full")
    assert result["attention"]["kernel"] == "xla" and result["attention"]["query"] < 1e-5
    assert result["peer"]["model_tflops"] > 0
    for name in ("update/128", "update/448"):
        assert 0 < result[name]["share_of_matmul_ceiling"] < 1.5 and result[name]["over_peer"] > 0
    assert 0 < result["counted_gib"]["sum"] < 1


@pytest.mark.slow
def test_step_has_all_its_responses():
    step = _result("step")["step"]
    assert (step["training_responses"], step["estimation_responses"], step["programs"]) == (24, 96, 120)
    assert step["seconds"] == pytest.approx(step["play_s"] + step["update_s"], rel=0.01)
    assert step["update_tokens"] > 24 * 48


@pytest.mark.slow
def test_mistakes_are_one_line():
    for arguments, message in [
        (("sampler", "--size=full"), "--size=full needs a GPU"),
        (("sampler", "--only=tails"), "'tails' is none of prompts, decode, tail"),
        (("update", "--repeats=0"), "--repeats=0"),
        (("update", "--only=2048", "--no-peer"), "--only=2048"),
        (("update", "--remat=some", "--no-peer"), "--remat=some"),
    ]:
        done = _run(*arguments)
        assert done.returncode == 2 and message in done.stderr.splitlines()[-1], done.stderr[-2000:]
