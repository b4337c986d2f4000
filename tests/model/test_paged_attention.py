"""The TPU's decode kernel, in Pallas' interpret mode, against plain attention over the cache."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from azr_jax.model import attention, paged_attention


@pytest.mark.slow
def test_paged_attention_equals_the_reference_in_interpret_mode():
    B, K, N, S, H = 3, 2, 4, 2 * paged_attention.PAGE, 128
    keys = jax.random.split(jax.random.key(0), 3)
    query_BNH = jax.random.normal(keys[0], (B, N, H), jnp.bfloat16)
    key_BKSH, value_BKSH = (jax.random.normal(key, (B, K, S, H), jnp.bfloat16) for key in keys[1:])
    # Inside the first page, inside the last, and a row that has ended: one position past the cache.
    positions_B = jnp.array([5, S - 3, S], jnp.int32)
    # What lies past a row's position must not be read: poisoned.
    beyond = jnp.arange(S)[None, None, :, None] > positions_B[:, None, None, None]
    key_BKSH, value_BKSH = (jnp.where(beyond, jnp.bfloat16(50), array) for array in (key_BKSH, value_BKSH))
    with pltpu.force_tpu_interpret_mode():
        ours = attention.attend_cache(query_BNH, key_BKSH, value_BKSH, positions_B, "paged")
    expected = attention.attend_cache(query_BNH, key_BKSH, value_BKSH, positions_B, "xla")
    assert ours.shape == (B, N, H)
    ours, expected = (np.asarray(array, np.float32) for array in (ours, expected))
    np.testing.assert_allclose(ours[:2], expected[:2], atol=0.02)
    assert np.abs(expected[:2]).max() > 0.1
    np.testing.assert_array_equal(ours[2], 0.0)


def test_slots_on_a_tpu_are_whole_pages():
    assert paged_attention.supports(128)
    assert not paged_attention.supports(64)
