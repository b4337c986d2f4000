"""What a plan is made of, without the TPU compiler: chips, collectives in a program's text, counts, shared memory."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import REPOSITORY
from sampler.test_sizes import _Device
from sampler.tiny import SETTINGS

from azr_jax.config import from_mapping
from azr_jax.model.sizes import PUBLISHED
from azr_jax.plan import build, chips, collectives, counts, lengths, sharing, suggest
from azr_jax.plan.compiled import _needed
from azr_jax.sampler import memory
from configs import racket

QWEN_3B = PUBLISHED["Qwen2.5-Coder-3B"]
# As the TPU compiler writes: a scan of 36 layers whose condition compares, a loop that may end early, a reduce-scatter
# written as a fusion, an asynchronous gather, and the two ways to name groups.
TEXT = """HloModule jit_step, is_scheduled=true

%all-reduce-scatter.1 (input: bf16[2048,5504]) -> bf16[256,5504] {
  %input = bf16[2048,5504]{1,0:T(8,128)(2,1)} parameter(0)
  %all-reduce.7 = bf16[2048,5504]{1,0} all-reduce(%input), replica_groups=[2,8]<=[8,2]T(1,0), to_apply=%add
  ROOT %slice = bf16[256,5504]{1,0} dynamic-slice(%all-reduce.7, %constant.1), dynamic_slice_sizes={256,5504}
}

%cond (arg: (s32[], bf16[8])) -> pred[] {
  %constant.36 = s32[]{:T(128)} constant(36)
  %arg = (s32[]{:T(128)}, bf16[8]{0}) parameter(0)
  %count = s32[]{:T(128)} get-tuple-element(%arg), index=0
  ROOT %lt = pred[]{:T(512)} compare(%count, %constant.36), direction=LT
}

%body (arg.1: (s32[], bf16[8])) -> (s32[], bf16[8]) {
  %arg.1 = (s32[]{:T(128)}, bf16[8]{0}) parameter(0)
  %gather = (bf16[1,256,5504]{2,1,0}, bf16[1,2048,5504]{2,1,0}) all-gather-start(%x), replica_groups=mesh['b'=8] {'b'}
  %done = bf16[1,2048,5504]{2,1,0} all-gather-done(%gather)
  %scattered = bf16[256,5504]{1,0} fusion(%done), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %next = (s32[], bf16[8]{0}) tuple(%one, %two)
}

%early (arg.2: (s32[])) -> pred[] {
  %arg.2 = (s32[]) parameter(0)
  ROOT %both = pred[] and(%a, %b)
}

%step (arg.3: (s32[])) -> (s32[]) {
  %sum = f32[48,2048]{1,0} all-reduce(%h), channel_id=9, replica_groups={{0,1},{2,3}}, to_apply=%add
  %flags = (f32[], f32[]) all-reduce(%a, %b), channel_id=10, replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %t = (s32[]) tuple(%n)
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %w1 = (s32[]{:T(128)}, bf16[8]{0}) while(%t1), condition=%cond, body=%body
  %w2 = (s32[]) while(%t2), condition=%early, body=%step
  ROOT %r = f32[8]{0} copy(%p)
}
"""


def test_collectives_are_found_in_loops_and_fusions():
    operations = collectives.find(TEXT)
    by_name = {operation.kind: operation for operation in operations if operation.bytes > 8}
    gather, scatter, reduce = (by_name[kind] for kind in ("all-gather", "reduce-scatter", "all-reduce"))
    assert (gather.times, gather.group, gather.bytes, gather.known) == (36, 8, 2048 * 5504 * 2, True)
    assert (scatter.times, scatter.group, scatter.bytes) == (36, 8, 2048 * 5504 * 2)
    assert (reduce.times, reduce.group, reduce.bytes, reduce.known) == (1, 2, 48 * 2048 * 4, False)
    assert sorted(operation.bytes for operation in operations)[0] == 8  # two scalars reduced together
    assert len(operations) == 4
    totals = collectives.by_kind(operations)
    assert totals["all-gather"] == {"count": 36, "bytes": 36 * gather.bytes}
    # A ring sends (n - 1) / n of the array, an all-reduce twice that.
    expected = 36 * (7 / 8) * (gather.bytes + scatter.bytes) + 2 * (1 / 2) * (reduce.bytes + 8)
    assert collectives.wire_bytes(operations) == pytest.approx(expected)


def test_a_loop_that_tells_its_length_is_multiplied():
    told = TEXT.replace("body=%step", 'body=%step, backend_config={"known_trip_count":{"n":"32"}}')
    reduce = next(op for op in collectives.find(told) if op.kind == "all-reduce" and op.bytes > 8)
    assert (reduce.times, reduce.known) == (32, True)


def test_unknown_slices_are_refused_with_those_there_are():
    assert chips.parse("v5e:4x4")[2] == "4x4"
    for wrong in ("v5e-16", "v5e:3x3", "v9:2x2", "v5e"):
        with pytest.raises(ValueError, match=r"v5e:\{1x1,.*4x4.*v5p:\{2x2x1"):
            chips.parse(wrong)


def test_the_command_names_the_slices_before_it_loads_anything():
    command = [sys.executable, "-m", "azr_jax.plan", "--config=configs/racket.py", "--topology=v5e-16"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode == 1
    assert "error: --topology='v5e-16' is unknown" in done.stderr
    assert "v6e:{" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/racket.py", "--config.sampler.no_slots=3"], "no_slots"),
        (["--config=configs/no_config.py"], "configs/no_config.py"),
        (["--config=configs/racket.py", "--slice=v5e:4x4"], "slice"),
    ],
)
def test_a_flag_that_is_wrong_is_one_message(arguments, message):
    command = [sys.executable, "-m", "azr_jax.plan", *arguments, "--topology=v5e:4x4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300)
    assert done.returncode == 1
    assert "error: " in done.stderr and message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_compiler_the_error_says_how_to_install_it(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "libtpu" else find_spec(name))
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")  # is as before after the test, whatever is set here
    with pytest.raises(RuntimeError, match=r"libtpu.*pip install -c constraints\.txt libtpu"):
        chips.configure(chips.CHIPS["v5e"])


def test_what_a_refused_program_needs_is_read_from_the_message():
    message = "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (6.81G) exceeds available HBM (2.93G)."
    assert _needed(message) == int(6.81 * 2**30)
    assert _needed("Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.") == int(20.5 * 2**30)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_counts_agree_with_the_number_of_weights(name):
    config = PUBLISHED[name]
    heads = config.head_dim * (config.heads + 2 * config.kv_heads) if config.qkv_bias else 0
    norms = 2 * config.head_dim if config.query_key_norms else 0
    vectors = config.layers * (2 * config.embed_dim + heads + norms) + config.embed_dim
    tables = counts.head_parameters(config) * (1 if config.tie_embeddings else 2)
    assert counts.layer_matmul_parameters(config) + tables + vectors == config.parameters


def test_an_update_is_six_flops_a_weight_and_token_and_attention():
    work = counts.accumulate(QWEN_3B, rows=16, tokens=14336, remat="full", devices=16, tensor=1)
    weights = counts.layer_matmul_parameters(QWEN_3B) + counts.head_parameters(QWEN_3B)
    attention = 3 * counts.causal_attention_flops(QWEN_3B, 16, 14336)
    assert work.model_flops == pytest.approx(6.0 * weights * 16 * 14336 + attention)
    # Full recomputation is one more forward pass but for each layer's last product.
    down = 2.0 * 16 * 14336 * QWEN_3B.layers * QWEN_3B.embed_dim * QWEN_3B.ffn_dim
    assert work.flops == pytest.approx(work.model_flops * 4 / 3 - down)

    def flops(remat: str) -> float:
        return counts.accumulate(QWEN_3B, rows=16, tokens=14336, remat=remat, devices=16, tensor=1).flops

    assert work.model_flops < flops("none") < flops("gate") < flops("attention") < work.flops
    assert flops("attention") - flops("gate") == pytest.approx(flops("gate") - flops("none")) == pytest.approx(down)


def test_a_decode_step_reads_weights_and_caches_once():
    half = counts.decode_step(QWEN_3B, slots=384, context=14335, parts=8, tensor=2)
    cache = 48 * 14336 * counts.cache_bytes_per_token(QWEN_3B) / 2
    weights = counts.layer_matmul_parameters(QWEN_3B) + counts.head_parameters(QWEN_3B)
    assert half.bytes == pytest.approx(cache + weights, rel=0.01)


def test_a_model_is_found_where_a_run_finds_it(monkeypatch):
    monkeypatch.setenv("HOME", str(REPOSITORY))
    config = racket.get_config()
    for path, layers in (("~/azr_jax/embedded/azr-tiny", 4), ("azr-tiny", 4), ("Qwen/Qwen2.5-Coder-3B", 36)):
        config.model.path = path
        assert build.model_config(from_mapping(config.to_dict())).layers == layers


def test_the_state_leaves_when_the_slots_asked_for_do_not_fit_beside_it():
    asked = dataclasses.replace(SETTINGS, slots=384)
    assert memory.state_must_leave(asked, beside=320, alone=384)
    assert not memory.state_must_leave(asked, beside=400, alone=500)
    free = dataclasses.replace(SETTINGS, slots=0)
    assert not memory.state_must_leave(free, beside=320, alone=384)
    assert memory.state_must_leave(free, beside=40, alone=128)
    assert not memory.state_must_leave(free, beside=0, alone=0)


def test_a_run_chooses_the_slots_that_a_plan_says():
    class Chip(_Device):
        platform = "tpu"

    settings = dataclasses.replace(SETTINGS, slots=0, max_prompt_tokens=6144, prefill_tokens=16384)
    devices = np.array([Chip(10.5) for _ in range(16)], dtype=object)
    chosen = memory.choose_slots(QWEN_3B, settings, 14336, "bfloat16", devices, parts=8)
    free = int(10.5 * 2**30 * 16 * memory.TPU_SHARE)
    assert chosen == memory.slots_in(QWEN_3B, settings, 14336, "bfloat16", free, parts=8)[0]
    # With more groups of devices the smallest prefill of the longest prompt is larger, and fewer slots fit.
    assert memory.choose_slots(QWEN_3B, settings, 14336, "bfloat16", devices, parts=16) < chosen


@pytest.mark.parametrize(
    ("override", "meshes"),
    [
        ({"learner.rows_per_microbatch": 2}, {(2, 1), (2, 2), (2, 4)}),
        ({"sampler.slots": 6}, {(2, 2), (2, 4), (1, 2)}),
        ({"mesh.sampler_tensor": 4}, {(2, 4), (1, 4)}),
    ],
)
def test_no_mesh_is_suggested_that_does_not_divide_what_the_config_names(monkeypatch, override, meshes):
    """It would be an error of a mesh that nobody asked for, after everything has been compiled."""

    def setup(config, *_):
        tensor = config.mesh.tensor or 2
        mesh = SimpleNamespace(shape={"fsdp": 4 // tensor, "tensor": tensor})
        return SimpleNamespace(config=config, mesh=mesh, sampler_tensor=config.mesh.sampler_tensor or 2)

    monkeypatch.setattr(build, "setup", setup)
    monkeypatch.setattr(sharing, "share", lambda *_: sharing.Sharing((), False, 0, 0, 0, 0, 0))
    config = racket.get_config()
    config.update_from_flattened_dict(override)
    drawn = lengths.parse("", 8096, 6144)
    choices = suggest.choices(from_mapping(config.to_dict()), QWEN_3B, [None] * 4, chips.CHIPS["v5e"], drawn, "after")
    assert {(choice.tensor, choice.sampler_tensor) for choice in choices} == meshes
