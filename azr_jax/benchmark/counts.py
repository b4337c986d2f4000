"""What the work costs at least, of our own count: FLOPs of an update, bytes of decoding, memory of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azr_jax.model.configuration import ModelConfig


def matmul_parameters(config: ModelConfig) -> int:
    """Weights that a token is multiplied with: all, and the table once, as the head."""
    return config.parameters - (0 if config.tie_embeddings else config.vocab_size * config.embed_dim)


def update_flops(config: ModelConfig, lengths: Sequence[int]) -> float:
    """Model FLOPs of one forward and backward pass: 6 N D plus causal attention, nothing computed twice.

    A token attends to half its sequence on average: 2 T^2 heads head_dim forward a layer, three times that with the
    backward pass.
    """
    tokens = np.asarray(lengths, np.float64)
    attention = 6.0 * config.layers * config.heads * config.head_dim * np.square(tokens).sum()
    return float(6.0 * matmul_parameters(config) * tokens.sum() + attention)


def key_bytes(config: ModelConfig, itemsize: int = 2) -> int:
    """Bytes of one token's keys and values in all layers."""
    return 2 * config.layers * config.kv_heads * config.head_dim * itemsize


def decode_bytes(config: ModelConfig, contexts: Sequence[int], itemsize: int = 2) -> float:
    """Bytes that one decode step must read: the weights once, and each row's keys and values."""
    return float(matmul_parameters(config) * itemsize + sum(contexts) * key_bytes(config, itemsize))


def roofline_s(
    config: ModelConfig, prompts: Sequence[int], lengths: Sequence[int], bytes_per_s: float, itemsize: int = 2
) -> float:
    """Seconds that decoding these responses takes at this bandwidth if all start together, each in a slot of its own.

    Step t reads the weights and the keys of the rows that are longer than t. No order of the same requests reads less:
    the weights are read as often as the longest response has tokens, and each token's context once.
    """
    lengths_R, prompts_R = np.asarray(lengths, np.int64), np.asarray(prompts, np.int64)
    contexts = (lengths_R * prompts_R + lengths_R * (lengths_R + 1) // 2).sum()
    weights = float(matmul_parameters(config)) * itemsize * int(lengths_R.max())
    return (weights + float(contexts) * key_bytes(config, itemsize)) / bytes_per_s


def training_bytes(config: ModelConfig, tokens: int, remat: str, logit_chunk: int) -> dict[str, int]:
    """Bytes on one device at the peak of `accumulate` with `tokens` a microbatch in bfloat16; a count, not a plan.

    Masters, two moments, the accumulated gradient and the microbatch's own (all float32); what the backward pass keeps
    of each layer; a layer at work; float32 logits of a chunk, their gradient, and the head's gradient.
    """
    D, F, H = config.embed_dim, config.ffn_dim, config.head_dim
    N, K = config.heads, config.kv_heads
    block = (N + 2 * K) * H + N * H + D  # query, key and value; the kernel's output; the hidden state after it
    kept = {"full": 0, "attention": block, "gate": block + F, "dots": block + 2 * F + D}
    if remat not in kept:
        raise ValueError(f"remat={remat!r}: this count knows {', '.join(kept)}")
    statistics = 0 if remat == "full" else 4 * 32 * N  # float32 a head and token, for each of 32 segments a row
    return {
        "state": 3 * 4 * config.parameters,
        "gradients": 2 * 4 * config.parameters,
        "kept": tokens * config.layers * (2 * (D + kept[remat]) + statistics),
        "layer": tokens * 2 * (4 * F + 6 * D + 3 * N * H),
        "logits": logit_chunk * config.vocab_size * 4 * 3 + 4 * config.vocab_size * D,
    }
