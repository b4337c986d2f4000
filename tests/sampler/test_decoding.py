"""One decode step over the caches against the full forward pass, and what it may write and hold."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.transformer import abstract
from azr_jax.sampler import decoding, serving

# As in tests/model/tiny.py; weights larger than the initial ones, so that errors show.
CONFIG = ModelConfig(vocab_size=160, embed_dim=32, ffn_dim=48, layers=3, heads=4, kv_heads=2, head_dim=8)
LENGTH = 24


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

    def filled(buffers, prefilled_LBTKH):
        return [decoding.insert_rows(b, prefilled_LBTKH, layer, rows_N, slots_B) for layer, b in enumerate(buffers)]

    return hidden_BTD, dataclasses.replace(caches, k=filled(caches.k, key_LBTKH), v=filled(caches.v, value_LBTKH))


def test_prefill_then_decode_equals_the_full_forward_at_mixed_lengths():
    tokens_BT, positions_BT, segments_BT = _rows(3, LENGTH)
    expected_BTD = _hidden((tokens_BT, positions_BT, segments_BT))
    prompts = np.array([5, 9, 1])
    slots = np.array([4, 0, 2])
    # What an earlier sequence left in the slots must not be seen.
    caches = jax.tree.map(lambda buffer: buffer + 100.0, decoding.init_caches(CONFIG, 5, LENGTH, jnp.float32))
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


def test_decode_beyond_the_cache_writes_nothing():
    caches = decoding.init_caches(CONFIG, 2, 4, jnp.float32)
    _, (caches,) = _decode(jnp.array([5, 6]), jnp.array([1, 4]), (caches,))
    for buffer in (*caches.k, *caches.v):
        assert float(jnp.abs(buffer[0, :, 1]).min()) > 0.0
        assert float(jnp.abs(buffer[1]).max()) == 0.0


def test_the_decode_step_does_not_copy_the_cache():
    caches = decoding.init_caches(CONFIG, 16, 512, jnp.float32)
    cache_bytes = sum(buffer.nbytes for buffer in (*caches.k, *caches.v))
    vector = jax.ShapeDtypeStruct((16,), jnp.int32)
    memory = _decode.lower(vector, vector, (caches,)).compile().memory_analysis()
    # Each of the six buffers is read where it is: one copied would be a sixth of all.
    assert memory.temp_size_in_bytes < 0.9 * cache_bytes / 6
    assert memory.alias_size_in_bytes >= cache_bytes


def test_cached_keys_in_another_dtype_are_cast():
    batch = _rows(2, 8)
    _, caches = _prefilled(batch, decoding.init_caches(CONFIG, 2, 8, jnp.bfloat16), jnp.arange(2))
    hidden_BD, (caches,) = _decode(batch[0][:, 0], jnp.zeros(2, jnp.int32), (caches,))
    assert caches.k[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(hidden_BD, _hidden(batch)[:, 0], rtol=0.1, atol=0.1)
