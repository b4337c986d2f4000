"""What the benchmarks hold their measurements against, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from azr_jax.model.configuration import ModelConfig
from azr_jax.speed import counts, requests
from azr_jax.speed.sizes import QWEN_3B, Lengths

SMALL = ModelConfig(vocab_size=10, embed_dim=4, ffn_dim=8, layers=2, heads=2, kv_heads=1, head_dim=2)


def test_flops_are_those_of_the_published_measurement():
    """PyTorch's 16,200 tokens/s at 2,048 tokens were called 315 model TFLOP/s, 6 N D plus causal attention."""
    flops = counts.update_flops(QWEN_3B, [2048])
    assert flops * 16200 / 2048 == pytest.approx(315e12, rel=0.01)
    # By hand: 2 tokens see 1 and 2 keys, counted as half of 2 x 2, times 2 products of 2 FLOPs, 3 passes, 2 layers.
    assert counts.update_flops(SMALL, [2]) == 6 * SMALL.parameters * 2 + 3 * 2 * (2 * 2 * (2 * 2 / 2) * 2 * 2)
    untied = dataclasses.replace(SMALL, tie_embeddings=False)
    assert counts.matmul_parameters(untied) == counts.matmul_parameters(SMALL) == SMALL.parameters


def test_decoding_reads_the_weights_and_each_context():
    assert counts.key_bytes(QWEN_3B) == 36864
    weights = 2 * SMALL.parameters
    assert counts.decode_bytes(SMALL, [3, 5]) == weights + 8 * 2 * 2 * 1 * 2 * 2
    # Lengths 1 and 3 after 4 and 2 prompt tokens: three steps, contexts 5, and 3, 4, 5.
    seconds = counts.roofline_s(SMALL, [4, 2], [1, 3], bytes_per_s=1.0)
    assert seconds == 3 * weights + (5 + 3 + 4 + 5) * 16


def test_lengths_are_log_normal_capped_and_the_same_each_time():
    lengths = Lengths(median=500, sigma=1.0, cap=8096)
    drawn = lengths.draw(20000, seed=0)
    assert sorted(drawn)[10000] == pytest.approx(500, rel=0.03)
    assert max(drawn) == 8096 and min(drawn) >= 1
    assert sum(500 < n < 1359 for n in drawn) / 20000 == pytest.approx(0.341, abs=0.01)  # one sigma
    assert lengths.draw(5, seed=3) == lengths.draw(5, seed=3) != lengths.draw(5, seed=4)


def test_samples_of_a_prompt_share_it():
    given = requests.grouped([5, 6, 7, 8], samples=2, prompt_tokens=9, vocab_size=50)
    assert given[0].prompt_ids == given[1].prompt_ids != given[2].prompt_ids == given[3].prompt_ids
    assert [one.max_tokens for one in given] == [5, 6, 7, 8] and len({one.id for one in given}) == 4
