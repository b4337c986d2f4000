"""The PPO update: model TFLOP/s with short and long sequences, compared with the matmul ceiling and with PyTorch."""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from azr_jax.learner.packing import SELFPLAY_GROUPS, TrainSequence, pack
from azr_jax.learner.remat import update_bytes
from azr_jax.model import attention_check
from azr_jax.speed import counts, machine
from azr_jax.speed.sizes import Size
from azr_jax.speed.subject import of_size


def run(
    report: machine.Report, size: Size, arguments: argparse.Namespace, peer: dict[str, Any] | None
) -> dict[str, Any]:
    """Measures each length; {"update/T": figures}."""
    ceiling = machine.matmul_flops(size, arguments.repeats)
    report.add("ceilings", matmul_tflops=ceiling / 1e12)
    subject = of_size(size, arguments.remat)
    policy = subject.engine.remat
    kernel = nnx.merge(subject.engine.graphdef, subject.engine.shapes).attention_kernel
    report.add("attention", kernel=kernel, **attention_check.errors(size.model, jnp.dtype(size.compute_dtype), kernel))
    if peer is not None:
        report.add("peer", **peer)
    if policy != "none":
        itemsize = jnp.dtype(size.compute_dtype).itemsize
        parts = update_bytes(size.model, subject.config.learner, policy, size.rows_per_microbatch, itemsize=itemsize)
        report.add(
            "counted_gib", **{name: value / 2**30 for name, value in (parts | {"sum": sum(parts.values())}).items()}
        )
    learner = subject.learner()
    state = learner.init(subject.params(size.compute_dtype))
    for length in size.updates:
        rows = size.microbatches * size.rows_per_microbatch
        trained = sequences(size, rows * (size.row_tokens // length), length)
        batch = pack(trained, size.row_tokens, size.rows_per_microbatch, pad_id=0)

        def update() -> None:
            nonlocal state
            state, metrics = learner.update(state, batch)  # noqa: B023 - called before the next turn
            if metrics["ppo/steps"] != 1.0:
                raise RuntimeError(f"the update was skipped: gradient norm {metrics['ppo/grad_norm']}")

        seconds = machine.median_s(update, arguments.repeats)
        flops = counts.update_flops(size.model, [length] * len(trained))
        figures = {
            "sequences": len(trained),
            "rows": rows,
            "tokens_a_row": size.row_tokens,
            "remat": policy,
            "seconds": seconds,
            "tokens_per_s": len(trained) * length / seconds,
            "model_tflops": flops / seconds / 1e12,
            "share_of_matmul_ceiling": flops / seconds / ceiling,
        }
        figures |= beside_peer(flops / seconds / 1e12, size, peer)
        if stats := jax.devices()[0].memory_stats():
            figures["peak_gib"] = stats["peak_bytes_in_use"] / 2**30
        report.add(f"update/{length}", **figures)
    return report.result


def beside_peer(model_tflops: float, size: Size, peer: dict[str, Any] | None) -> dict[str, float]:
    """{"over_peer": ratio}, if the peer measured this size: torch without a GPU runs the small one."""
    if peer is None or peer.get("size") != size.name:
        return {}
    return {"over_peer": model_tflops / peer["model_tflops"]}


def sequences(size: Size, count: int, length: int) -> list[TrainSequence]:
    """`count` sequences of `length` tokens, a fifth of them prompt; advantages of both signs."""
    rng = np.random.default_rng(0)
    sequences = []
    for number in range(count):
        ids = rng.integers(0, size.model.vocab_size, length).tolist()
        prompt = max(1, length // 5)
        logprobs = (-rng.random(length - prompt)).tolist()
        group = number % len(SELFPLAY_GROUPS)
        advantage = 1.0 if number % 2 else -1.0
        sequences.append(TrainSequence(str(number), ids[:prompt], ids[prompt:], logprobs, advantage, group, advantage))
    return sequences
