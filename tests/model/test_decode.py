import functools

import jax
import jax.numpy as jnp
import numpy as np

from azr_jax.model.cache import init_cache, insert

from .tiny import QWEN, build, merged, rows

LENGTH = 24


@functools.partial(jax.jit, static_argnums=0)
def _prefill(graphdef, params, cache, batch, slots_B):
    hidden_BTD, key_LBTKH, value_LBTKH = merged(graphdef, params).prefill(*batch)
    return hidden_BTD, insert(cache, key_LBTKH, value_LBTKH, slots_B)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=4)
def _decode(graphdef, params, tokens_B, positions_B, cache):
    return merged(graphdef, params).decode(tokens_B, positions_B, cache)


def test_prefill_then_decode_equals_the_full_forward_at_mixed_lengths():
    graphdef, params = build(QWEN)
    tokens_BT, positions_BT, segments_BT = rows(QWEN, 3, LENGTH)
    expected_BTD = merged(graphdef, params).hidden(tokens_BT, positions_BT, segments_BT)
    prompts = np.array([5, 9, 1])
    slots = np.array([4, 0, 2])
    # What an earlier sequence left in the slots must not be seen.
    cache = jax.tree.map(lambda c: c + 100.0, init_cache(QWEN, 5, LENGTH, jnp.float32))
    real_BT = jnp.arange(10)[None, :] < prompts[:, None]
    batch = (jnp.where(real_BT, tokens_BT[:, :10], 0), positions_BT[:, :10], real_BT.astype(jnp.int32))
    hidden_BTD, cache = _prefill(graphdef, params, cache, batch, jnp.asarray(slots))
    for b, n in enumerate(prompts):
        np.testing.assert_allclose(hidden_BTD[b, :n], expected_BTD[b, :n], atol=1e-5)
    for step in range(LENGTH - prompts.max()):
        at = prompts + step
        tokens = np.zeros(5, np.int32)
        positions = np.zeros(5, np.int32)
        tokens[slots], positions[slots] = tokens_BT[np.arange(3), at], at
        hidden_SD, cache = _decode(graphdef, params, jnp.asarray(tokens), jnp.asarray(positions), cache)
        np.testing.assert_allclose(hidden_SD[slots], expected_BTD[np.arange(3), at], atol=1e-5)


def test_insert_drops_rows_of_no_slot_and_keeps_the_others():
    cache = init_cache(QWEN, 4, LENGTH, jnp.float32)
    keys = jnp.arange(2, dtype=jnp.float32)[None, :, None, None, None] + jnp.ones((3, 2, 6, 2, 8))
    cache = insert(cache, keys, -keys, jnp.array([1, 4]))
    assert float(cache.k[:, 1, :, :6].min()) == float(cache.k[:, 1, :, :6].max()) == 1.0
    assert float(cache.v[:, 1, :, :6].max()) == -1.0
    assert float(jnp.abs(cache.k[:, 1, :, 6:]).max()) == 0.0
    assert float(jnp.abs(cache.k[:, jnp.array([0, 2, 3])]).max()) == 0.0


def test_decode_beyond_the_cache_writes_nothing():
    graphdef, params = build(QWEN)
    cache = init_cache(QWEN, 2, 4, jnp.float32)
    _, cache = _decode(graphdef, params, jnp.array([5, 6]), jnp.array([1, 4]), cache)
    assert float(jnp.abs(cache.k[:, 0, :, 1]).min()) > 0.0
    assert float(jnp.abs(cache.k[:, 1]).max()) == 0.0


def test_the_decode_step_does_not_copy_the_cache():
    graphdef, params = build(QWEN)
    cache = init_cache(QWEN, 16, 512, jnp.float32)
    cache_bytes = cache.k.nbytes + cache.v.nbytes
    vector = jax.ShapeDtypeStruct((16,), jnp.int32)
    memory = _decode.lower(graphdef, params, vector, vector, cache).compile().memory_analysis()
    # One layer's keys and values are read at a time (QWEN.layers = 3); a copied buffer would be half of all.
    assert memory.temp_size_in_bytes < 0.9 * cache_bytes / 2
    assert memory.alias_size_in_bytes >= cache_bytes


def test_cached_keys_in_another_dtype_are_cast():
    graphdef, params = build(QWEN)
    tokens_BT, positions_BT, segments_BT = rows(QWEN, 2, 8)
    cache = init_cache(QWEN, 2, 8, jnp.bfloat16)
    _, cache = _prefill(graphdef, params, cache, (tokens_BT, positions_BT, segments_BT), jnp.arange(2))
    hidden_BD, cache = _decode(graphdef, params, tokens_BT[:, 0], jnp.zeros(2, jnp.int32), cache)
    assert cache.k.dtype == jnp.bfloat16
    expected_BTD = merged(graphdef, params).hidden(tokens_BT, positions_BT, segments_BT)
    np.testing.assert_allclose(hidden_BD, expected_BTD[:, 0], rtol=0.1, atol=0.1)
