"""The workloads' shapes: those of Table 3's model on one 80 GB GPU, and smaller ones for a machine without."""

from __future__ import annotations

import dataclasses
from typing import Any

from azr_jax import devices
from azr_jax.model import weights
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sizes import PUBLISHED
from azr_jax.plan.lengths import LogNormal

# azr-tiny's widths, with grouped queries as the large model has.
_AZR_TINY = ModelConfig(vocab_size=2048, embed_dim=128, ffn_dim=384, layers=4, heads=4, kv_heads=2, head_dim=32)


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Shapes of all workloads; tokens, rows and counts.

    `path`: the directory of a model whose own weights are measured; empty for random ones.
    """

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
    lengths: LogNormal
    static_slots: int
    chunk: int
    prefill_tokens: int
    # update: tokens of a sequence, packed into rows of `row_tokens`, as in training
    updates: tuple[int, ...]
    row_tokens: int
    rows_per_microbatch: int
    microbatches: int  # few, so that the optimizer's step shows
    # step
    batch_per_task: int
    max_prompt_tokens: int
    logit_chunk: int
    path: str = ""


# Each column is a size; in the last, for tests, every compiled shape is as small as the programs allow.
_TABLE: dict[str, tuple[Any, Any, Any]] = {
    "compute_dtype": ("bfloat16", "float32", "float32"),
    "copy_bytes": (4 * 2**30, 256 * 2**20, 2**20),
    "matmul": (8192, 1024, 64),
    "prompts": (64, 64, 8),
    "prompt_tokens": (512, 64, 16),
    "decode_slots": (256, 64, 64),
    "decode_context": (2048, 256, 32),
    "tail_requests": (384, 96, 16),
    "samples": (8, 8, 4),
    "tail_prompt_tokens": (1200, 48, 16),
    "lengths": (LogNormal(500, 1.0, 8096), LogNormal(24, 1.0, 256), LogNormal(8, 1.0, 32)),
    "static_slots": (64, 64, 16),
    "chunk": (32, 16, 8),
    "prefill_tokens": (16384, 4096, 128),
    "updates": ((2048, 14240), (128, 448), (32,)),
    "row_tokens": (14336, 448, 64),
    "rows_per_microbatch": (1, 2, 1),
    "microbatches": (2, 2, 2),
    "batch_per_task": (64, 4, 1),
    "max_prompt_tokens": (6144, 128, 32),
    "logit_chunk": (2048, 448, 64),
}
_MODELS = {
    "full": PUBLISHED["Qwen2.5-Coder-3B"],
    "small": _AZR_TINY,
    "tiny": dataclasses.replace(_AZR_TINY, embed_dim=32, ffn_dim=64, layers=1, head_dim=8),
}
FULL, SMALL, TINY = (
    Size(name, model, **{key: values[column] for key, values in _TABLE.items()})
    for column, (name, model) in enumerate(_MODELS.items())
)


def of_model(path: str) -> Size:
    """A model's own weights in float32: 16 prompts of 128 tokens and as many new ones, sequences of 256.

    Raises:
      FileNotFoundError, ValueError: no model there, or an unsupported one.
    """
    return dataclasses.replace(
        SMALL,
        name="model",
        path=path,
        model=weights.load_config(path),
        prompts=16,
        prompt_tokens=128,
        chunk=32,
        decode_slots=16,
        tail_requests=16,
        updates=(256,),
        row_tokens=512,
        rows_per_microbatch=2,
        microbatches=1,  # the peer computes all sequences at once, too
        logit_chunk=512,
    )


def choose(name: str, path: str = "") -> Size:
    """The size by its name; "auto" is full on a GPU and small elsewhere, `of_model` if `path` names a model.

    Raises:
      ValueError: full size on a machine without a GPU, a size and a model together.
    """
    if path:
        if name != "auto":
            raise ValueError(f"--size={name} and --model={path}: the model has its own size; leave --size out")
        return of_model(path)
    on_gpu = devices.platform() == "gpu"
    if name == "full" and not on_gpu:
        raise ValueError(f"--size=full needs a GPU, the device is {devices.platform()!r}: use --size=small")
    return {"full": FULL, "small": SMALL, "tiny": TINY, "auto": FULL if on_gpu else SMALL}[name]
