import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals

from azr_jax.model import layer, weights
from azr_jax.model.configuration import LinearRopeScaling, Llama3RopeScaling
from azr_jax.model.transformer import REMAT_POLICIES, Transformer, abstract

from .tiny import QWEN, build, merged, rows, write_torch

LLAMA = dataclasses.replace(
    QWEN,
    family="llama",
    tie_embeddings=False,
    rms_epsilon=1e-5,
    rope_theta=10000.0,
    rope_scaling=Llama3RopeScaling(4.0, 1.0, 4.0, 32),
)
QWEN3 = dataclasses.replace(QWEN, family="qwen3", head_dim=16)
CONFIGS = {
    "tied, 1 query a kv head": dataclasses.replace(QWEN, kv_heads=4),
    "tied, 2": QWEN,
    "untied, 4": dataclasses.replace(QWEN, kv_heads=1, tie_embeddings=False),
    "head_dim beyond embed_dim / heads": dataclasses.replace(QWEN, head_dim=16),
    "llama": LLAMA,
    "qwen3": QWEN3,
    "qwen3, untied, 4": dataclasses.replace(QWEN3, kv_heads=1, tie_embeddings=False),
    "llama, no rope scaling": dataclasses.replace(LLAMA, rope_scaling=None, tie_embeddings=True),
    "llama, linear rope scaling": dataclasses.replace(LLAMA, rope_scaling=LinearRopeScaling(4.0)),
}


# Heads to kv_heads of the other Qwen2.5-Coders: 0.5B and 7B have 7 to 1, 14B and 32B 5 to 1.
WIDER = {
    "7 queries a kv head": dataclasses.replace(QWEN, embed_dim=56, heads=14, kv_heads=2, head_dim=4),
    "5, untied": dataclasses.replace(QWEN, embed_dim=40, heads=10, kv_heads=2, head_dim=4, tie_embeddings=False),
}


@pytest.mark.parametrize(
    ("name", "config"),
    [*CONFIGS.items(), *(pytest.param(*item, marks=pytest.mark.slow) for item in WIDER.items())],
    ids=[*CONFIGS, *WIDER],
)
def test_logits_equal_transformers(name, config, tmp_path):
    del name
    model = write_torch(config, tmp_path)
    loaded, params = weights.load(tmp_path)
    assert dataclasses.replace(loaded, bos_id=config.bos_id) == config
    graphdef, _ = abstract(loaded, compute_dtype=jnp.float32)
    tokens_BT, positions_BT, segments_BT = rows(config, 2, 40)
    transformer = merged(graphdef, params)
    logits_BTV = transformer.logits(transformer.hidden(tokens_BT, positions_BT, segments_BT))
    with torch.no_grad():
        expected_BTV = model(torch.tensor(np.asarray(tokens_BT), dtype=torch.long)).logits.numpy()
    assert np.std(expected_BTV) > 0.3  # the comparison below is not between near-zeros
    np.testing.assert_allclose(logits_BTV, expected_BTV, atol=1e-4)


def test_packed_segments_equal_separate_rows():
    graphdef, params = build(QWEN)
    tokens_BT, positions_BT, segments_BT = rows(QWEN, 2, 12)
    lengths = (7, 12)
    pad = 5
    packed_T = jnp.concatenate([tokens_BT[b, :n] for b, n in enumerate(lengths)] + [jnp.zeros(pad, jnp.int32)])
    positions_T = jnp.concatenate([jnp.arange(n) for n in (*lengths, pad)]).astype(jnp.int32)
    segments_T = jnp.concatenate([jnp.full(n, s, jnp.int32) for n, s in ((7, 1), (12, 2), (pad, 0))])
    transformer = merged(graphdef, params)
    separate_BTD = transformer.hidden(tokens_BT, positions_BT, segments_BT)
    packed_TD = transformer.hidden(packed_T[None], positions_T[None], segments_T[None])[0]
    np.testing.assert_allclose(packed_TD[:7], separate_BTD[0, :7], atol=1e-5)
    np.testing.assert_allclose(packed_TD[7:19], separate_BTD[1], atol=1e-5)


def test_padding_and_the_future_change_nothing():
    graphdef, params = build(QWEN)
    tokens_BT, positions_BT, segments_BT = rows(QWEN, 1, 10)
    segments_BT = segments_BT.at[:, 6:].set(0)
    transformer = merged(graphdef, params)
    first = transformer.hidden(tokens_BT, positions_BT, segments_BT)
    second = transformer.hidden(tokens_BT.at[:, 6:].set(9), positions_BT, segments_BT)
    assert bool(jnp.all(jnp.isfinite(second)))
    np.testing.assert_array_equal(first[:, :6], second[:, :6])
    changed_last = transformer.hidden(tokens_BT.at[:, 5].set(9), positions_BT, segments_BT)
    np.testing.assert_array_equal(first[:, :5], changed_last[:, :5])
    assert float(jnp.abs(first[:, 5] - changed_last[:, 5]).max()) > 1e-3


@functools.cache
def _gradient(remat):
    batch = rows(QWEN, 2, 9)
    graphdef, params = build(QWEN, remat=remat)
    return jax.jit(jax.grad(lambda params: jnp.mean(merged(graphdef, params).hidden(*batch)[..., 0] ** 2)))(params)


@pytest.mark.parametrize(
    "remat",
    [
        "full",
        *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(set(REMAT_POLICIES) - {"none", "full"})),
    ],
)
def test_remat_changes_no_gradient(remat):
    plain, recomputed = _gradient("none"), _gradient(remat)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(plain)) > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), plain, recomputed)


@pytest.mark.parametrize(("remat", "kept"), [("full", 0), ("attention", 0), ("gate", 1), ("dots", 2)])
def test_a_policy_keeps_the_feed_forwards_products_that_it_names(capsys, remat, kept):
    """All of them with "dots": it did not see those with a gradient of our own."""
    shapes = {"ffn_norm_LD": (8,), "gate_LDF": (8, 24), "up_LDF": (8, 24), "down_LFD": (24, 8)}
    weights_of_layer = {name: jnp.ones(shape, jnp.float32) for name, shape in shapes.items()}

    def total(weights_of_layer, hidden):
        return layer.feed_forward(QWEN, weights_of_layer, hidden, None).sum()

    recomputing = jax.checkpoint(total, policy=REMAT_POLICIES[remat])
    print_saved_residuals(recomputing, weights_of_layer, jnp.ones((2, 5, 8), jnp.float32))
    assert capsys.readouterr().out.count("[2,5,24]") == kept


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("leading", [(5,), (2, 5)])
def test_the_feed_forward_has_jaxs_own_gradient(monkeypatch, leading, dtype):
    shapes = {"ffn_norm_LD": (8,), "gate_LDF": (8, 24), "up_LDF": (8, 24), "down_LFD": (24, 8)}
    rng = np.random.default_rng(0)
    weights_of_layer = {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}
    hidden = jnp.asarray(rng.normal(size=(*leading, 8)), dtype)

    def total(weights_of_layer, hidden):
        return layer.feed_forward(QWEN, weights_of_layer, hidden, None).astype(jnp.float32).sum()

    def gradient():
        return jax.grad(total, argnums=(0, 1))(weights_of_layer, hidden)

    by_hand = gradient()
    monkeypatch.setattr(layer, "_product", jnp.matmul)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.03
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), by_hand, gradient())


def test_bfloat16_compute_stays_close_to_float32():
    graphdef, params = build(QWEN)
    half_graphdef, _ = abstract(QWEN, compute_dtype=jnp.bfloat16, attention_kernel="xla")
    batch = rows(QWEN, 2, 16)
    full = merged(graphdef, params).hidden(*batch)
    half_model = merged(half_graphdef, params)
    half = half_model.hidden(*batch)
    assert half.dtype == jnp.bfloat16 and half_model.logits(half).dtype == jnp.float32
    difference = jnp.abs(half.astype(jnp.float32) - full)
    assert 0 < float(difference.mean()) < 0.03 * float(jnp.abs(full).mean())


def test_unknown_options_are_refused():
    for option in ("remat", "attention_kernel"):
        with pytest.raises(ValueError, match=f"{option}|attention"):
            abstract(QWEN, **{option: "everything"})


def test_initial_weights_are_those_of_transformers():
    params = nnx.state(Transformer(dataclasses.replace(QWEN, embed_dim=128, ffn_dim=256), rngs=nnx.Rngs(0)))
    assert abs(float(jnp.std(params["layers"]["gate_LDF"][...])) - 0.02) < 1e-3
    assert float(jnp.abs(params["layers"]["query_bias_LNH"][...]).max()) == 0.0
    assert float(params["norm_D"][...].min()) == 1.0
