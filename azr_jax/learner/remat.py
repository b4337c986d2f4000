"""Estimates the memory of an update, and chooses the remat policy that fits (`model.remat=auto`)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh

from azr_jax.config import Config, LearnerSettings, ModelSettings
from azr_jax.devices import half_of_memory
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.cudnn_attention import MOST_SEGMENTS
from azr_jax.model.sharding import least_of_hosts, row_parts

AUTO = "auto"
# The policy that recomputes least comes first. "dots" keeps more than "gate" and recomputes attention; "none" keeps
# norms and activations in float32, more than all others.
_POLICIES = ("gate", "attention", "full")
# Safety margin above the estimate: the compiler's peak is up to 2% higher (tests/plan/test_compiled_for_gpu.py);
# libraries have their own buffers, and the allocator cannot move what it has allocated.
_SPARE = 0.05


def update_bytes(
    model: ModelConfig,
    settings: LearnerSettings,
    remat: str,
    rows: int,
    fsdp: int = 1,
    tensor: int = 1,
    itemsize: int = 2,
) -> dict[str, int]:
    """Peak bytes on one device of the gradient's program with `rows` of `settings.row_tokens` on it.

    Masters and two moments, and the accumulated gradient (float32, split over fsdp and tensor); the reference of a KL
    term; what the backward pass keeps of each layer; then the larger of one layer's temporaries and a chunk's logits
    with their and the head's gradient. `itemsize` is the compute dtype's.

    Raises:
      ValueError: a policy without an estimate.
    """
    D, F, H, N, K = model.embed_dim, model.ffn_dim, model.head_dim, model.heads, model.kv_heads
    heads = (N + 2 * K) * H
    block = heads + N * H + D  # query, key and value; the kernel's output; the hidden state after it
    kept = {"full": 0, "attention": block, "gate": block + F, "dots": heads + D + 2 * F}
    if remat not in kept:
        raise ValueError(f"remat={remat!r}: has no estimate; use one of {', '.join(kept)}")
    tokens = rows * settings.row_tokens
    # float32 a head, token and segment
    statistics = 4 * MOST_SEGMENTS * N if remat in ("attention", "gate") else 0
    chunk = rows * min(settings.logit_chunk, settings.row_tokens)
    head = model.vocab_size * D
    split = fsdp * tensor
    layer = tokens * itemsize * (4 * F + 6 * D + 3 * N * H) // tensor
    logits = chunk * model.vocab_size * 4 * 2 // tensor + (4 + itemsize) * head // tensor
    return {
        "state": (2 * 4 + jnp.dtype(settings.moment_dtype).itemsize) * model.parameters // split,
        "gradients": 4 * model.parameters // split,
        "reference": itemsize * model.parameters // split if settings.kl_coef > 0 else 0,
        "kept": tokens * model.layers * (itemsize * (D + kept[remat]) + statistics) // tensor,
        "at_work": max(layer, logits),
    }


def choose(
    model: ModelConfig, settings: LearnerSettings, asked: ModelSettings, mesh: Mesh, device_bytes: int = 0
) -> str:
    """`asked.remat`; "auto" is the policy that recomputes least and fits on GPUs and CPUs, and "full" on TPUs.

    `device_bytes` is the memory that jax may take per device; 0: as the devices report, on CPUs half of the machine's.
    On TPUs only compiling shows what fits: see azr_jax.plan.
    """
    if asked.remat != AUTO:
        return asked.remat
    if mesh.devices.flat[0].platform not in ("gpu", "cuda", "cpu"):
        return "full"
    device_bytes = device_bytes or 2**20 * least_of_hosts(_device_bytes() // 2**20)
    groups = row_parts(mesh)
    rows = max(1, (settings.rows_per_microbatch or groups) // groups)
    sizes = (rows, mesh.shape["fsdp"], mesh.shape["tensor"])
    itemsize = jnp.dtype(asked.compute_dtype).itemsize
    counts = {policy: update_bytes(model, settings, policy, *sizes, itemsize=itemsize) for policy in _POLICIES}
    room = (1 - _SPARE) * device_bytes
    chosen = next((policy for policy, parts in counts.items() if sum(parts.values()) <= room), _POLICIES[-1])
    parts = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in counts[chosen].items())
    logging.info("update: remat=%s for %.1f GiB per device: %s", chosen, device_bytes / 2**30, parts)
    return chosen


def _device_bytes() -> int:
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return half_of_memory() // len(devices)
    return devices[0].memory_stats()["bytes_limit"]


def resolved(config: Config, model: ModelConfig, mesh: Mesh, device_bytes: int = 0) -> Config:
    """`config` with the policy that `choose` gives as its `model.remat`."""
    policy = choose(model, config.learner, config.model, mesh, device_bytes)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, remat=policy))
