"""The run's programs compiled for one H100 by XLA's real GPU compiler, at full size and Table 3's lengths; no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from azr_jax.plan import chips

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not chips.has_cuda_compiler(),
        reason="jax's CUDA plugin, which has the GPU's compiler, is not installed: pip install '.[cuda]'",
    ),
]


def plan_of(topology: str, folder: Path, *arguments: str) -> dict[str, Any]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "XLA_FLAGS": f"--xla_dump_to={folder} --xla_dump_hlo_pass_re=NONE",
    }
    command = [sys.executable, "-m", "azr_jax.plan", "--config=configs/racket.py", f"--topology={topology}", "--json"]
    command += arguments
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=1800, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    return plan_of("h100:1", folder), folder


def text(planned, program: str, kind: str) -> str:
    (file,) = planned[1].glob(f"*jit_{program}.*{kind}.txt")
    return file.read_text()


def test_a_run_of_the_3b_fits_one_80_gb_gpu(planned):
    plan, _ = planned
    assert plan["fits"] and plan["remat"] == "gate"
    assert max(program["peak_gib"] for program in plan["programs"].values()) < 0.95 * 79.1
    assert len(plan["tiers"]) == 3 and plan["slots"] > 150


def test_decoding_updates_the_caches_in_place_and_copies_no_weights(planned):
    decode = planned[0]["programs"]["decode"]
    assert decode["temp_gib"] < 0.2
    assert decode["output_gib"] - decode["alias_gib"] < 0.001


def test_a_decode_step_is_one_cuda_graph_with_attention_in_it(planned):
    thunks = text(planned, "_decode", "thunk_sequence_after_thunk_passes")
    assert thunks.count("kCommandBuffer") == 1
    inside = thunks[thunks.index("kCommandBuffer") :]
    assert inside.count(": kCuDnn") == 36 * 3 == thunks.count(": kCuDnn")


@pytest.mark.parametrize("program", ["_decode", "_accumulate"])
def test_the_compiler_computes_nothing_twice_of_its_own_accord(planned, program):
    assert ".remat" not in text(planned, program, "after_optimizations")


def test_the_gradient_is_added_in_place(planned):
    update = planned[0]["programs"]["update"]["accumulate"]
    # What "gate" keeps is 20 GiB; a gradient of the layers beside the sums would be 10 more.
    assert update["alias_gib"] == pytest.approx(11.5, abs=0.1)
    assert update["temp_gib"] < 24


def test_the_7b_fits_eight_of_them_and_a_step_copies_no_weights(tmp_path):
    """Sliced out of stacked arrays before the chunk's loop, the weights lay there twice: 12 GiB."""
    plan = plan_of("h100:8", tmp_path, "--config.model.path=weights/Qwen2.5-Coder-7B")
    assert plan["fits"] and plan["slots"] > 400
    assert plan["programs"]["decode"]["temp_gib"] < 0.2
