"""The sampler's programs as one H100 gets them, at true widths and two layers: traced and lowered, without a GPU."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo as fused

from azr_jax.model import attention
from azr_jax.model.transformer import abstract
from azr_jax.sampler import decoding, programs, serving
from azr_jax.sampler.tuning import Tuning

from .test_sizes import QWEN_3B

GPU = Tuning("cudnn", "blocks", packs_prefill=True, overlaps=True, fixed_steps=True, unstacks=True, tiers=True)
TIERS = ((127, 1920), (46, 5248), (17, 14240))
V = QWEN_3B.vocab_size


@pytest.fixture
def weights(monkeypatch) -> serving.Weights:
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91900)
    monkeypatch.setattr(fused, "check_compute_capability", lambda capability: True)
    monkeypatch.setattr(attention, "choose", lambda kernel, mesh: "cudnn")
    graphdef, shapes = abstract(dataclasses.replace(QWEN_3B, layers=2))
    served = jax.eval_shape(functools.partial(serving.unstacked, graphdef), shapes)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), served)


def _programs() -> programs.Programs:
    return programs.build(None, (151643,), 1.0, 0, 32, None, GPU, 3)  # pyright: ignore - Weights need no graphdef


def _text(program, *arguments, **static) -> str:
    return program.trace(*arguments, **static).lower(lowering_platforms=("cuda",)).as_text()


def _rows(slots: int, history: int = 0) -> programs.Rows:
    def vector(dtype, *more: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((slots, *more), dtype)

    integers, words = vector(jnp.int32), vector(jnp.uint32, 2)
    texts = vector(jnp.int32, history) if history else None
    return programs.Rows(integers, integers, integers, vector(jnp.bool_), vector(jnp.float32), words, texts)


def _caches() -> tuple[decoding.LayerCaches, ...]:
    config = dataclasses.replace(QWEN_3B, layers=2)
    return tuple(
        jax.eval_shape(lambda s=s, n=n: decoding.init_caches(config, s, n, jnp.bfloat16, None, "cudnn"))
        for s, n in TIERS
    )


@pytest.mark.slow
def test_decode_reads_caches_in_place_and_makes_no_noise_of_the_logits_size(weights):
    slots = sum(count for count, _ in TIERS)
    key = jax.eval_shape(lambda: jax.random.key(0))
    text = _text(_programs().decode, weights, key, _caches(), _rows(slots))
    assert text.count("@__cudnn$fmhaSoftmax(") == 2 * len(TIERS)
    # 2 layers, keys and values, 3 tiers, and 6 arrays of rows are given away.
    assert text.count("jax.buffer_donor = true") + text.count("tf.aliasing_output") == 12 + 6
    for count, length in TIERS:
        buffer = f"tensor<{count}x{length}x2x128xbf16>"
        used = [line for line in text.splitlines() if buffer in line and "= stablehlo." in line]
        assert used and not [line for line in used if "transpose" in line or "concatenate" in line]
    # The hash that makes random bits sees two numbers a row, never a vocabulary.
    assert f"{slots}x{V}xui32" not in text and f"{slots}x{V}xf32" in text
    # One product for query, key and value, one for gate and up.
    assert "2560x2048xbf16" in text and "22016x2048xbf16" in text


@pytest.mark.slow
def test_drafts_are_verified_in_one_step_on_caches_in_place(weights):
    slots, (few, length) = sum(count for count, _ in TIERS), TIERS[-1]
    key = jax.eval_shape(lambda: jax.random.key(0))
    text = _text(_programs().speculate, weights, key, _caches()[-1:], _rows(slots, length))
    assert text.count("@__cudnn$fmhaSoftmax(") == 2 * 4  # each token's attention is one query's
    assert text.count("jax.buffer_donor = true") + text.count("tf.aliasing_output") == 4 + 7
    buffer = f"tensor<{few}x{length}x2x128xbf16>"
    used = [line for line in text.splitlines() if buffer in line and "= stablehlo." in line]
    assert used and not [line for line in used if "transpose" in line or "concatenate" in line]
    assert f"{few}x4x2048xbf16" in text and f"{4 * few}x{V}xf32" in text  # all else is one product


@pytest.mark.slow
def test_prefill_and_what_moves_rows_lower_for_cuda(weights):
    programs = _programs()
    row = jax.ShapeDtypeStruct((1, 16384), jnp.int32)
    last = jax.ShapeDtypeStruct((32,), jnp.int32)
    text = _text(programs.prefill, weights, row, row, row, last)
    assert text.count("@__cudnn$fmhaSoftmax(") == 2 and "16384x16384" not in text
    prefilled = jax.eval_shape(programs.prefill, weights, row, row, row, last)
    assert prefilled.hidden_PD.shape == (32, 2048) and prefilled.key_LBTKH[0].shape == (1, 1, 16384, 2, 128)
    short, _, long = _caches()
    movers = programs.movers["BSKH"]
    entries, layer = jax.ShapeDtypeStruct((16,), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)
    for tier in (short, long):
        arguments = (tier.k[0], prefilled.key_LBTKH[0], layer, entries, entries, entries)
        assert jax.eval_shape(functools.partial(movers.insert_spans, width=4096), *arguments).shape == tier.k[0].shape
        _text(movers.insert_spans, *arguments, width=4096)
    _text(movers.move, long.k[0], short.k[0], entries, entries)
    assert jax.eval_shape(movers.move, long.k[0], short.k[0], entries, entries).shape == long.k[0].shape
