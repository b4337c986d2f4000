"""Each command, at the small size, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY, on_devices


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "azr_jax.speed", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=on_devices(1), timeout=900, check=False
    )


def _result(*arguments: str) -> dict:
    done = _run(*arguments, "--json", "--repeats=1")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["size"] == "small" and result["platform"] == "cpu" and "no GPU" in result["note"]
    assert result["note"] in done.stdout.splitlines()[1] and result["versions"]["jax"]
    return result


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
    assert 60 < result["counted_gib_3b"]["sum"] < 75


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
        (("update", "--remat=some", "--no-peer"), "remat='some'"),
    ]:
        done = _run(*arguments)
        assert done.returncode == 2 and message in done.stderr.splitlines()[-1], done.stderr[-2000:]
