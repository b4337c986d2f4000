"""The work of each program, counted: floating-point operations of all devices, memory traffic of one.

The compiler's own cost analysis counts a loop's body once and a kernel as nothing. These counts are of the algorithm:
what a perfect compiler would still have to do. Bytes are a lower bound: each use reads or writes an array once, and
data that stays on the chip between two products is not counted.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from azr_jax.model.configuration import ModelConfig

_BF16, _F32 = 2, 4


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """`flops` of all devices together; `model_flops` without recomputation; `bytes` of one device's memory."""

    flops: Any
    model_flops: Any
    bytes: Any


def layer_matmul_parameters(config: ModelConfig) -> int:
    """Weights of the matrix products in all layers, without the head."""
    attention = config.embed_dim * config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    return config.layers * (attention + 3 * config.embed_dim * config.ffn_dim)


def head_parameters(config: ModelConfig) -> int:
    """Weights of the head."""
    return config.vocab_size * config.embed_dim


def causal_attention_flops(config: ModelConfig, rows: int, tokens: int) -> float:
    """Both products of causal attention in all layers, a row's sequences as long as the row: 4 N H T (T + 1) / 2."""
    return config.layers * rows * 4.0 * config.heads * config.head_dim * tokens * (tokens + 1) / 2


def cache_bytes_per_token(config: ModelConfig) -> int:
    """Keys and values of a position in all layers, bfloat16, on all devices together."""
    return 2 * config.layers * config.kv_heads * config.head_dim * _BF16


def prefill(
    config: ModelConfig, rows: int, tokens: int, parts: int, tensor: int, attended: float | None = None
) -> Work:
    """A prefill of `rows` of `tokens`; the rows are split over `parts` groups of `tensor` devices.

    `attended`: (query, key) pairs, unless each row is one prompt that fills it.
    """
    layers = layer_matmul_parameters(config)
    whole = causal_attention_flops(config, rows, tokens)
    attention = whole if attended is None else config.layers * 4.0 * config.heads * config.head_dim * attended
    flops = 2.0 * rows * tokens * layers + attention
    local = rows * tokens / parts
    moved = _BF16 * layers / tensor + local * _activation_bytes(config, tensor)
    return Work(flops, flops, moved + local * cache_bytes_per_token(config) / tensor)


def decode_step(config: ModelConfig, slots: int, context: Any, parts: int, tensor: int) -> Work:
    """One token of `slots` rows that hold `context` tokens each on average; an array of contexts gives arrays."""
    weights = layer_matmul_parameters(config) + head_parameters(config)
    attention = config.layers * slots * 4.0 * config.heads * config.head_dim * context
    flops = 2.0 * slots * weights + attention
    cache = slots / parts * (context + 1) * cache_bytes_per_token(config) / tensor
    logits = 3 * _F32 * slots / parts * config.vocab_size / tensor  # made, read for the sample, read for its logprob
    return Work(flops, flops, _BF16 * weights / tensor + cache + logits)


def accumulate(config: ModelConfig, rows: int, tokens: int, remat: str, devices: int, tensor: int) -> Work:
    """The gradient of one microbatch, added to the sum; parameters and gradients split over all `devices`."""
    layers, head = layer_matmul_parameters(config), head_parameters(config)
    attention = causal_attention_flops(config, rows, tokens)
    forward = 2.0 * rows * tokens * layers + attention
    head_forward = 2.0 * rows * tokens * head
    # The head's logits are always recomputed: they are never kept.
    again = 2.0 * rows * tokens * _computed_again(config, remat) + (attention if remat in ("full", "dots") else 0.0)
    flops = 3.0 * forward + again + 4.0 * head_forward
    local = rows * tokens * tensor / devices
    passes = 3.0 + again / forward
    # Gathered weights are written and read in each pass (twice by the backward pass's two products).
    weights = _BF16 * (layers + head) / tensor * 2 * passes + _F32 * 4 * config.parameters / devices
    activations = passes * local * _activation_bytes(config, tensor)
    logits = 4 * 2 * _F32 * local * config.vocab_size / tensor
    return Work(flops, 3.0 * (forward + head_forward), weights + activations + logits)


def score(config: ModelConfig, rows: int, tokens: int, devices: int, tensor: int) -> Work:
    """The log-probabilities of one microbatch by the old policy: a forward pass, its logits made once."""
    layers, head = layer_matmul_parameters(config), head_parameters(config)
    flops = 2.0 * rows * tokens * (layers + head) + causal_attention_flops(config, rows, tokens)
    local = rows * tokens * tensor / devices
    weights = _BF16 * (layers + head) / tensor * 2
    logits = 2 * _F32 * local * config.vocab_size / tensor
    return Work(flops, flops, weights + local * _activation_bytes(config, tensor) + logits)


def apply(config: ModelConfig, devices: int) -> Work:
    """AdamW: parameters, moments and gradient read, three of the four written; the gradient once more for its norm."""
    return Work(16.0 * config.parameters, 16.0 * config.parameters, 8.0 * _F32 * config.parameters / devices)


def reshard(config: ModelConfig, devices: int, tensor: int) -> Work:
    """float32 parameters read, cast, and the bfloat16 weights written whole over fsdp."""
    return Work(0.0, 0.0, config.parameters * (_F32 / devices + _BF16 / tensor))


def _computed_again(config: ModelConfig, remat: str) -> int:
    """Weights of the matrix products that the backward pass recomputes: never a layer's last, whose output is kept as
    the next layer's input.
    """
    matrix = config.layers * config.embed_dim * config.ffn_dim
    again = {"full": layer_matmul_parameters(config) - matrix, "attention": 2 * matrix, "gate": matrix}
    return again.get(remat, 0)


def _activation_bytes(config: ModelConfig, tensor: int) -> float:
    """Bytes a token and forward pass moves on a device: inputs and outputs of each layer's products, once each."""
    heads = (2 * config.heads + 2 * config.kv_heads) * config.head_dim / tensor
    return config.layers * _BF16 * (6 * config.embed_dim + 2 * heads + 5 * config.ffn_dim / tensor)


def seconds(work: Work, devices: int, tflops: float, hbm_gbps: float, compute: float, memory: float) -> Any:
    """The longer of computing at `compute` and moving at `memory` of a device's peaks; interconnect not counted."""
    return np.maximum(work.flops / devices / (tflops * 1e12 * compute), work.bytes / (hbm_gbps * 1e9 * memory))
