"""The least work, counted: FLOPs of an update, bytes of decoding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azr_jax.model.configuration import ModelConfig
from azr_jax.plan.counts import head_parameters, layer_matmul_parameters


def matmul_parameters(config: ModelConfig) -> int:
    """Weights that a token is multiplied with: the matrices of all layers and the head."""
    return layer_matmul_parameters(config) + head_parameters(config)


def update_flops(config: ModelConfig, lengths: Sequence[int]) -> float:
    """Model FLOPs of one forward and backward pass: 6 N D plus causal attention, nothing recomputed.

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
    """Seconds that decoding these responses takes at this bandwidth if all start together, each in its own slot.

    Step t reads the weights and the keys of the rows that are longer than t. No order of the same requests reads less:
    the weights are read as often as the longest response has tokens, and each token's context once.
    """
    lengths_R, prompts_R = np.asarray(lengths, np.int64), np.asarray(prompts, np.int64)
    contexts = (lengths_R * prompts_R + lengths_R * (lengths_R + 1) // 2).sum()
    weights = float(matmul_parameters(config)) * itemsize * int(lengths_R.max())
    return (weights + float(contexts) * key_bytes(config, itemsize)) / bytes_per_s
