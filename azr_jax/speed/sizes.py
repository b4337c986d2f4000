"""The workloads' shapes: those of Table 3's model on one 80 GB GPU, and small ones for a machine without."""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np

from azr_jax.model.configuration import ModelConfig

# Qwen2.5-Coder-3B.
QWEN_3B = ModelConfig(vocab_size=151936, embed_dim=2048, ffn_dim=11008, layers=36, heads=16, kv_heads=2, head_dim=128)
# azr-tiny's widths, with grouped queries as the large model has.
TINY = ModelConfig(vocab_size=2048, embed_dim=128, ffn_dim=384, layers=4, heads=4, kv_heads=2, head_dim=32)


@dataclasses.dataclass(frozen=True, slots=True)
class Lengths:
    """Response lengths: log-normal with this median and sigma, capped; tokens."""

    median: float
    sigma: float
    cap: int

    def draw(self, count: int, seed: int) -> list[int]:
        """`count` lengths of at least 1 token, the same for the same seed."""
        drawn = np.random.default_rng(seed).lognormal(math.log(self.median), self.sigma, count)
        return np.clip(np.round(drawn), 1, self.cap).astype(int).tolist()


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Shapes of all workloads; tokens, rows and counts."""

    name: str
    model: ModelConfig
    compute_dtype: str
    copy_bytes: int
    matmul: int
    # sampler: `prompts` of `prompt_tokens`, as many new ones each
    prompts: int
    prompt_tokens: int
    # sampler, decoding alone: slots and context
    decode_slots: int
    decode_context: int
    # sampler, long tails: requests in groups of `samples` that share a prompt
    tail_requests: int
    samples: int
    tail_prompt_tokens: int
    lengths: Lengths
    static_slots: int
    chunk: int
    prefill_tokens: int
    # update: tokens of a sequence, packed into rows of `row_tokens`, as in training
    updates: tuple[int, ...]
    row_tokens: int
    rows_per_microbatch: int
    # step
    batch_per_task: int
    max_prompt_tokens: int
    logit_chunk: int


FULL = Size(
    name="full",
    model=QWEN_3B,
    compute_dtype="bfloat16",
    copy_bytes=4 * 2**30,
    matmul=8192,
    prompts=64,
    prompt_tokens=512,
    decode_slots=256,
    decode_context=2048,
    tail_requests=384,
    samples=8,
    tail_prompt_tokens=1200,
    lengths=Lengths(median=500, sigma=1.0, cap=8096),
    static_slots=64,
    chunk=32,
    prefill_tokens=16384,
    updates=(2048, 14240),
    row_tokens=14336,
    rows_per_microbatch=1,
    batch_per_task=64,
    max_prompt_tokens=6144,
    logit_chunk=2048,
)
SMALL = Size(
    name="small",
    model=TINY,
    compute_dtype="float32",
    copy_bytes=256 * 2**20,
    matmul=1024,
    prompts=64,
    prompt_tokens=64,
    decode_slots=64,
    decode_context=256,
    tail_requests=96,
    samples=8,
    tail_prompt_tokens=48,
    lengths=Lengths(median=24, sigma=1.0, cap=256),
    static_slots=64,
    chunk=16,
    prefill_tokens=4096,
    updates=(128, 448),
    row_tokens=448,
    rows_per_microbatch=2,
    batch_per_task=4,
    max_prompt_tokens=128,
    logit_chunk=448,
)


def choose(name: str) -> Size:
    """The size by its name; "auto" is full on a GPU and small elsewhere.

    Raises:
      ValueError: full size on a machine without a GPU.
    """
    on_gpu = jax.default_backend() in ("gpu", "cuda")
    if name == "full" and not on_gpu:
        raise ValueError(f"--size=full needs a GPU, the device is {jax.default_backend()!r}: use --size=small")
    return FULL if name == "full" or (name == "auto" and on_gpu) else SMALL
