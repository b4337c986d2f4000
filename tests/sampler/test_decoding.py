"""One decode step over the caches against the full forward pass, and what it may write and hold."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.transformer import abstract
from azr_jax.sampler import decoding, serving

# As in tests/model/tiny.py; weights larger than the initial ones, so that errors show.
CONFIG = ModelConfig(vocab_size=160, embed_dim=32, ffn_dim=48, layers=3, heads=4, kv_heads=2, head_dim=8)
LENGTH = 24
of_each_xla = pytest.mark.parametrize("implementation", ["xla", "xla_keys_last"])


@functools.cache
def _model():
    graphdef, shapes = abstract(CONFIG, compute_dtype=jnp.float32, attention_kernel="xla")
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda shape: jnp.asarray(0.2 * rng.standard_normal(shape.shape), shape.dtype), shapes)
    return graphdef, params


def _rows(B, T):
    tokens_BT = jnp.asarray(np.random.default_rng(0).integers(0, CONFIG.vocab_size, (B, T)), jnp.int32)
    return tokens_BT, jnp.tile(jnp.arange(T, dtype=jnp.int32), (B, 1)), jnp.ones((B, T), jnp.int32)


def _hidden(batch):
    graphdef, params = _model()
    return nnx.merge(graphdef, params).hidden(*batch)


@functools.partial(jax.jit, donate_argnums=2)
def _decode(tokens_B, positions_B, caches):
    return decoding.decode_step(serving.of_params(*_model()), tokens_B, positions_B, caches)


def _prefilled(batch, caches, slots_B):
    """Hidden states of a prefill, whose row n is copied into slot `slots_B[n]`."""
    graphdef, params = _model()
    hidden_BTD, key_LBTKH, value_LBTKH = nnx.merge(graphdef, params).prefill(*batch)
    rows_N = jnp.arange(len(slots_B))

    def filled(buffers, prefilled_LBTKH, layout):
        return [
            decoding.insert_rows(buffer, prefilled_LBTKH, layer, rows_N, slots_B, layout)
            for layer, buffer in enumerate(buffers)
        ]

    keys, values = caches.layouts
    k, v = filled(caches.k, key_LBTKH, keys), filled(caches.v, value_LBTKH, values)
    return hidden_BTD, dataclasses.replace(caches, k=k, v=v)


def _empty(implementation, slots, length, dtype=jnp.float32):
    return decoding.init_caches(CONFIG, slots, length, dtype, None, implementation)


@of_each_xla
def test_prefill_then_decode_equals_the_full_forward_at_mixed_lengths(implementation):
    tokens_BT, positions_BT, segments_BT = _rows(3, LENGTH)
    expected_BTD = _hidden((tokens_BT, positions_BT, segments_BT))
    prompts = np.array([5, 9, 1])
    slots = np.array([4, 0, 2])
    # What an earlier sequence left in the slots must not be seen.
    caches = jax.tree.map(lambda buffer: buffer + 100.0, _empty(implementation, 5, LENGTH))
    real_BT = jnp.arange(10)[None, :] < prompts[:, None]
    batch = (jnp.where(real_BT, tokens_BT[:, :10], 0), positions_BT[:, :10], real_BT.astype(jnp.int32))
    hidden_BTD, caches = _prefilled(batch, caches, jnp.asarray(slots))
    for b, n in enumerate(prompts):
        np.testing.assert_allclose(hidden_BTD[b, :n], expected_BTD[b, :n], atol=1e-5)
    tiers = (caches,)
    for step in range(LENGTH - prompts.max()):
        at = prompts + step
        tokens = np.zeros(5, np.int32)
        positions = np.zeros(5, np.int32)
        tokens[slots], positions[slots] = tokens_BT[np.arange(3), at], at
        hidden_SD, tiers = _decode(jnp.asarray(tokens), jnp.asarray(positions), tiers)
        np.testing.assert_allclose(hidden_SD[slots], expected_BTD[np.arange(3), at], atol=1e-5)


def test_insert_drops_rows_of_no_slot_and_keeps_the_others():
    buffer = decoding.init_caches(CONFIG, 4, LENGTH, jnp.float32).k[0]
    keys = jnp.arange(2, dtype=jnp.float32)[None, :, None, None, None] + jnp.ones((3, 2, 6, 2, 8))
    buffer = decoding.insert_rows(buffer, keys, jnp.int32(1), jnp.arange(2), jnp.array([1, 4]))
    assert float(buffer[1, :, :6].min()) == float(buffer[1, :, :6].max()) == 1.0
    assert float(jnp.abs(buffer[1, :, 6:]).max()) == 0.0
    assert float(jnp.abs(buffer[jnp.array([0, 2, 3])]).max()) == 0.0


@of_each_xla
def test_decode_beyond_the_cache_writes_nothing(implementation):
    _, (caches,) = _decode(jnp.array([5, 6]), jnp.array([1, 4]), (_empty(implementation, 2, 4),))
    for buffers, layout in zip((caches.k, caches.v), caches.layouts, strict=True):
        for buffer in buffers:
            by_position = jnp.moveaxis(buffer, layout.index("S"), 1)
            assert float(jnp.abs(by_position[0, 1]).min()) > 0.0
            assert float(jnp.abs(by_position[1]).max()) == 0.0


@of_each_xla
def test_rows_keep_their_keys_when_they_move_and_when_caches_are_resized(implementation):
    full, larger = _empty(implementation, 3, 8), _empty(implementation, 2, 12)
    full = full.map(lambda buffer, layout: buffer + jnp.arange(buffer.size, dtype=buffer.dtype).reshape(buffer.shape))
    for buffers, targets, layout in zip((full.k, full.v), (larger.k, larger.v), full.layouts, strict=True):
        row = np.take(np.asarray(buffers[1][2]), range(8), axis=layout.index("S") - 1)
        moved = decoding.move_rows(targets[1], buffers[1], jnp.array([1, 2]), jnp.array([2, 0]), layout)
        resized = decoding.resize_rows(buffers[1], jnp.array([2, -1]), 12, layout)
        shorter = decoding.resize_rows(buffers[1], jnp.array([2, -1]), 5, layout)
        for slot in (moved[1], resized[0]):
            np.testing.assert_array_equal(np.take(np.asarray(slot), range(8), axis=layout.index("S") - 1), row)
        assert float(jnp.abs(moved[0]).max()) == 0.0
        np.testing.assert_array_equal(shorter[0], np.take(row, range(5), axis=layout.index("S") - 1))
        assert resized.shape[layout.index("S")] == 12 and shorter.shape[layout.index("S")] == 5


@of_each_xla
def test_the_decode_step_does_not_copy_the_cache(implementation):
    caches = _empty(implementation, 16, 512)
    cache_bytes = sum(buffer.nbytes for buffer in (*caches.k, *caches.v))
    vector = jax.ShapeDtypeStruct((16,), jnp.int32)
    memory = _decode.lower(vector, vector, (caches,)).compile().memory_analysis()
    # Each of the six buffers is read where it is: one copied would be a sixth of all.
    assert memory.temp_size_in_bytes < 0.9 * cache_bytes / 6
    assert memory.alias_size_in_bytes >= cache_bytes


def test_cached_keys_in_another_dtype_are_cast():
    batch = _rows(2, 8)
    _, caches = _prefilled(batch, _empty("xla", 2, 8, jnp.bfloat16), jnp.arange(2))
    hidden_BD, (caches,) = _decode(batch[0][:, 0], jnp.zeros(2, jnp.int32), (caches,))
    assert caches.k[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(hidden_BD, _hidden(batch)[:, 0], rtol=0.1, atol=0.1)
