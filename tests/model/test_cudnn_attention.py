"""What is handed to cuDNN, without a GPU: the documented contract on arrays, and the lowered calls at full size."""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax._src.cudnn import fused_attention_stablehlo as fused

from azr_jax.model import attention, attention_check, cudnn_attention
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.transformer import abstract

from .test_attention import inputs

QWEN_3B = ModelConfig(vocab_size=151936, embed_dim=2048, ffn_dim=11008, layers=36, heads=16, kv_heads=2, head_dim=128)


@pytest.fixture
def hopper(monkeypatch):
    """The two questions that jax asks of the machine while it traces."""
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91900)
    monkeypatch.setattr(fused, "check_compute_capability", lambda capability: True)


def _lowered(function, *shapes) -> str:
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def _contract(query, key, value, *, q_seqlen, kv_seqlen, q_offsets, kv_offsets, scale, mask_type):
    """dot_product_attention of segments by its docstring, in NumPy's way; NaN where cuDNN writes nothing."""
    assert mask_type is fused.MaskType.PADDING_CAUSAL and np.array_equal(q_offsets, kv_offsets)
    out = jnp.full(query.shape, jnp.nan, query.dtype)
    groups = query.shape[2] // key.shape[2]
    for row in range(query.shape[0]):
        for start, length in zip(np.asarray(q_offsets[row]), np.asarray(q_seqlen[row]), strict=False):
            if length < 0:
                continue
            span = slice(int(start), int(start + length))
            k, v = (jnp.repeat(x[row, span].astype(jnp.float32), groups, axis=1) for x in (key, value))
            scores = jnp.einsum("tnh,snh->nts", query[row, span].astype(jnp.float32), k) * scale
            scores = jnp.where(jnp.tri(int(length), dtype=bool), scores, -jnp.inf)
            part = jnp.einsum("nts,snh->tnh", jax.nn.softmax(scores), v)
            out = out.at[row, span].set(part.astype(query.dtype))
    del kv_seqlen
    return out


@pytest.mark.parametrize(
    "version", [pytest.param((0, 10, 2), marks=pytest.mark.ci), pytest.param((0, 11, 2), marks=pytest.mark.slow)]
)
def test_segments_reach_the_kernel_as_it_wants_them(monkeypatch, version):
    monkeypatch.setattr(fused, "dot_product_attention", _contract)
    monkeypatch.setattr(jax, "__version_info__", version)
    query, key, value, ids_BT = inputs(2, 13, 4, 2, 8, segments=2)
    ids_BT = ids_BT.at[1].set(jnp.where(jnp.arange(13) < 5, 1, 0))
    real = (ids_BT > 0)[:, :, None, None]

    def total(attend):
        return lambda *arrays: jnp.sum(jnp.where(real, attend(*arrays), 0.0) ** 2)

    def reference(*arrays):
        return attention.attend(*arrays, ids_BT, "xla")

    def packed(*arrays):
        return cudnn_attention.packed(*arrays, ids_BT)

    out = packed(query, key, value)
    assert float(jnp.abs(jnp.where(real, 0.0, out)).max()) == 0.0
    np.testing.assert_allclose(out, jnp.where(real, reference(query, key, value), 0.0), atol=0.03)
    gradients = jax.grad(total(packed), argnums=(0, 1, 2))(query, key, value)
    expected = jax.grad(total(reference), argnums=(0, 1, 2))(query, key, value)
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.15)


def test_starts_and_lengths_of_segments():
    starts_BM, lengths_BM = cudnn_attention.segments(jnp.array([[1, 1, 2, 3, 3, 3, 0], [0] * 7]))
    assert starts_BM[0, :4].tolist() == [0, 2, 3, -1] and lengths_BM[0, :4].tolist() == [2, 1, 3, -1]
    assert set(starts_BM[1].tolist()) == set(lengths_BM[1].tolist()) == {-1}


def test_the_update_s_attention_lowers_for_cuda_at_full_length_without_a_square(hopper):
    T, N, K, H = 14336, 16, 2, 128

    def loss(query, key, value, ids):
        return attention._cudnn(query, key, value, ids, None).astype(jnp.float32).sum()

    heads, keys = ((1, T, N, H), jnp.bfloat16), ((1, T, K, H), jnp.bfloat16)
    text = _lowered(jax.grad(loss, argnums=(0, 1, 2)), heads, keys, keys, ((1, T), jnp.int32))
    assert "__cudnn$fmhaSoftmax(" in text and "__cudnn$fmhaSoftmaxBackward(" in text
    assert "max_seg_per_batch\\22: 32," in text and "\\22PADDING_CAUSAL\\22" in text
    assert f"{T}x{T}" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("remat", "forward_calls"), [("full", 2), ("attention", 1), ("gate", 1)])
def test_what_remat_keeps_is_not_computed_again(hopper, monkeypatch, remat, forward_calls):
    """In the gradient of the 3B: the scan forward has one call of the kernel, the scan backward another or none."""
    monkeypatch.setattr(attention, "choose", lambda kernel, mesh: "cudnn")
    graphdef, shapes = abstract(QWEN_3B, remat=remat)

    def loss(params, tokens, positions, ids):
        return nnx.merge(graphdef, params).hidden(tokens, positions, ids).astype(jnp.float32).sum()

    row = jax.ShapeDtypeStruct((1, 14336), jnp.int32)
    text = jax.jit(jax.grad(loss)).trace(shapes, row, row, row).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@__cudnn$fmhaSoftmaxBackward(") == 1
    assert text.count("@__cudnn$fmhaSoftmax(") == forward_calls
    # Kept for the backward pass, stacked over layers: what the policy names and the table of bytes says.
    assert ("tensor<36x1x14336x11008xbf16>" in text) == (remat == "gate")
    assert ("tensor<36x1x14336x16x128xbf16>" in text) == (remat != "full")


def test_decode_attention_lowers_for_cuda_on_the_cache_as_it_lies(hopper):
    slots, S, N, K, H = 256, 2048, 16, 2, 128
    cache = ((slots, S, K, H), jnp.bfloat16)

    def decode(query, key, value, positions):
        return attention.attend_cache(query, key, value, positions, "cudnn")

    text = _lowered(decode, ((slots, N, H), jnp.bfloat16), cache, cache, ((slots,), jnp.int32))
    assert "__cudnn$fmhaSoftmax(" in text and "\\22PADDING\\22" in text
    # The cache goes to the call untouched: no transposition, no conversion, no copy.
    assert not re.search(rf"stablehlo\.(transpose|convert|concatenate).*{slots}x{S}x{K}x{H}", text)


def test_a_wrong_kernel_is_an_error_that_says_what_to_do(monkeypatch):
    def leaks(query_BTNH, key_BSKH, value_BSKH, segment_ids_BT, mesh):
        del mesh
        return attention.KERNELS["xla"](query_BTNH, key_BSKH, value_BSKH, jnp.minimum(segment_ids_BT, 2), None)

    config = dataclasses.replace(QWEN_3B, heads=4, head_dim=8)
    assert attention_check.errors(config, jnp.float32, "xla")["query"] == 0.0
    monkeypatch.setitem(attention.KERNELS, "leaks", leaks)
    with pytest.raises(RuntimeError, match=r"'leaks' differs.*model.attention='xla'"):
        attention_check.errors(config, jnp.float32, "leaks")
    monkeypatch.setitem(attention.KERNELS, "leaks", lambda *inputs: jnp.full_like(inputs[0], jnp.nan))
    with pytest.raises(RuntimeError, match="nan"):
        attention_check.errors(config, jnp.float32, "leaks")
