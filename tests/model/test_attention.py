import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from azr_jax.model import attention
from azr_jax.model.sharding import make_mesh
from azr_jax.model.transformer import abstract

from .tiny import QWEN


def inputs(B, T, N, K, H, segments, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 3)
    query, key, value = (
        jax.random.normal(k, (B, T, heads, H), dtype) for k, heads in zip(keys, (N, K, K), strict=True)
    )
    bounds = np.linspace(0, T - 3, segments + 1).astype(int)
    ids_T = np.zeros(T, np.int32)
    for i in range(segments):
        ids_T[bounds[i] : bounds[i + 1]] = i + 1
    return query, key, value, jnp.tile(jnp.asarray(ids_T), (B, 1))


def _naive(query_BTNH, key_BSKH, value_BSKH, segment_ids_BT):
    """NumPy, one query at a time."""
    query, key, value, ids = (np.asarray(x, np.float64) for x in (query_BTNH, key_BSKH, value_BSKH, segment_ids_BT))
    B, T, N, H = query.shape
    group = N // key.shape[2]
    out = np.zeros_like(query)
    for b in range(B):
        for t in range(T):
            seen = [s for s in range(t + 1) if ids[b, s] == ids[b, t]]
            for n in range(N):
                scores = key[b, seen, n // group] @ query[b, t, n] / np.sqrt(H)
                weights = np.exp(scores - scores.max())
                out[b, t, n] = (weights / weights.sum()) @ value[b, seen, n // group]
    return out


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_xla_equals_numpy(kv_heads):
    given = inputs(2, 11, 4, kv_heads, 8, segments=2)
    np.testing.assert_allclose(attention.attend(*given, "xla"), _naive(*given), atol=1e-5)


@pytest.mark.parametrize(("T", "whole_scores"), [(129, 2048), (300, 2048), (129, 64), (300, 64)])
def test_blocks_and_chunks_equal_the_whole(T, whole_scores, monkeypatch):
    monkeypatch.setattr(attention, "_QUERY_CHUNK", 48)
    query, key, value, ids = inputs(1, T, 2, 1, 8, segments=2)

    def outputs():
        def attended(*arrays):
            out = attention.attend(*arrays, ids, "xla")
            return jnp.sum(jnp.where((ids > 0)[..., None, None], out, 0) ** 2), out

        return jax.jit(jax.grad(attended, argnums=(0, 1, 2), has_aux=True))(query, key, value)

    monkeypatch.setattr(attention, "_WHOLE_SCORES", whole_scores)
    blocks = outputs()
    monkeypatch.setattr(attention, "_LEAST_BLOCK", T)
    monkeypatch.setattr(attention, "_WHOLE_SCORES", T)
    for ours, whole in zip(jax.tree.leaves(blocks), jax.tree.leaves(outputs()), strict=True):
        np.testing.assert_allclose(ours, whole, atol=1e-4)


@pytest.mark.parametrize(
    ("T", "kv_heads"), [pytest.param(128, 2, marks=pytest.mark.ci), pytest.param(200, 1, marks=pytest.mark.slow)]
)
def test_splash_equals_the_reference_in_interpret_mode(T, kv_heads):
    query, key, value, ids = inputs(1, T, 2, kv_heads, 128, segments=2)

    def total(kernel):
        return lambda q, k, v: jnp.sum(
            jnp.where((ids > 0)[..., None, None], attention.attend(q, k, v, ids, kernel), 0) ** 2
        )

    expected = attention.attend(query, key, value, ids, "xla")
    out = attention.attend(query, key, value, ids, "splash")
    real = np.asarray(ids[0] > 0)
    np.testing.assert_allclose(out[:, real], expected[:, real], atol=2e-3)
    ours = jax.grad(total("splash"), argnums=(0, 1, 2))(query, key, value)
    reference = jax.grad(total("xla"), argnums=(0, 1, 2))(query, key, value)
    for a, b in zip(ours, reference, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-2)


def test_cached_attention_reads_up_to_its_position():
    query, key, value, ids = inputs(3, 9, 4, 2, 8, segments=1)
    ids = jnp.ones_like(ids)
    full = attention.attend(query, key, value, ids, "xla")
    positions_B = jnp.array([0, 4, 8])
    rows = jnp.arange(3)
    # Keys beyond the position are poisoned.
    beyond = jnp.arange(9)[None, :, None, None] > positions_B[:, None, None, None]
    key, value = (jnp.swapaxes(jnp.where(beyond, 50.0, x), 1, 2) for x in (key, value))
    out = attention.attend_cache(query[rows, positions_B], key, value, positions_B)
    np.testing.assert_allclose(out, full[rows, positions_B], atol=1e-5)


def test_choice_follows_the_platform():
    mesh = make_mesh(1, 1, 1, devices=jax.devices("cpu")[:1])
    assert attention.choose("auto", mesh) == "xla"
    assert attention.choose("splash", mesh) == "splash"
    with pytest.raises(ValueError, match=r"cudnn.*GPU.*cpu"):
        attention.choose("cudnn", mesh)
    gpus = {
        capability: types.SimpleNamespace(platform="gpu", compute_capability=capability)
        for capability in ("8.0", "9.0")
    }
    chosen = {
        capability: attention.choose("auto", types.SimpleNamespace(devices=np.array([gpu], dtype=object)))
        for capability, gpu in gpus.items()
    }
    assert chosen == {"8.0": "xla", "9.0": "cudnn"}
    hopper: Any = types.SimpleNamespace(devices=np.array([gpus["9.0"]], dtype=object))
    for dtype, kernel in ((jnp.bfloat16, "cudnn"), (jnp.float32, "xla")):  # cuDNN's has no float32
        graphdef, shapes = abstract(QWEN, compute_dtype=dtype, mesh=hopper)
        assert nnx.merge(graphdef, shapes).attention_kernel == kernel
    with pytest.raises(ValueError, match="flashy"):
        attention.choose("flashy", mesh)
