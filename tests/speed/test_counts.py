"""What speed is compared with, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sizes import PUBLISHED
from azr_jax.speed import counts, requests

QWEN_3B = PUBLISHED["Qwen2.5-Coder-3B"]
SMALL = ModelConfig(vocab_size=10, embed_dim=4, ffn_dim=8, layers=2, heads=2, kv_heads=1, head_dim=2)


def test_flops_are_those_of_the_published_measurement():
    """PyTorch's 16,200 tokens/s at 2,048 tokens were called 315 model TFLOP/s, 6 N D plus causal attention."""
    flops = counts.update_flops(QWEN_3B, [2048])
    assert flops * 16200 / 2048 == pytest.approx(315e12, rel=0.01)
    # By hand: 2 tokens see 1 and 2 keys, counted as half of 2 x 2, times 2 products of 2 FLOPs, 3 passes, 2 layers.
    # Two layers of query, output (4 x 4 each), key, value (4 x 2 each), three of 4 x 8, and the head of 10 x 4.
    weights = 2 * (2 * 16 + 2 * 8 + 3 * 32) + 40
    assert counts.update_flops(SMALL, [2]) == 6 * weights * 2 + 3 * 2 * (2 * 2 * (2 * 2 / 2) * 2 * 2)
    untied = dataclasses.replace(SMALL, tie_embeddings=False)
    assert counts.matmul_parameters(untied) == counts.matmul_parameters(SMALL) == weights


def test_decoding_reads_the_weights_and_each_context():
    assert counts.key_bytes(QWEN_3B) == 36864
    weights = 2 * counts.matmul_parameters(SMALL)
    assert counts.decode_bytes(SMALL, [3, 5]) == weights + 8 * 2 * 2 * 1 * 2 * 2
    # Lengths 1 and 3 after 4 and 2 prompt tokens: three steps, contexts 5, and 3, 4, 5.
    seconds = counts.roofline_s(SMALL, [4, 2], [1, 3], bytes_per_s=1.0)
    assert seconds == 3 * weights + (5 + 3 + 4 + 5) * 16


def test_samples_of_a_prompt_share_it():
    given = requests.grouped([5, 6, 7, 8], samples=2, prompt_tokens=9, vocab_size=50)
    assert given[0].prompt_ids == given[1].prompt_ids != given[2].prompt_ids == given[3].prompt_ids
    assert [request.max_tokens for request in given] == [5, 6, 7, 8] and len({request.id for request in given}) == 4
