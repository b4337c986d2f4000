"""Meshes for a topology: every split over tensor that divides, with its slots and the estimated time of a step."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from azr_jax.config import Config
from azr_jax.model.configuration import ModelConfig, divisors
from azr_jax.plan import build, estimate, sharing
from azr_jax.plan.chips import Chip
from azr_jax.plan.sharing import Sharing


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """A mesh (data 1), how its memory is shared, and the estimated step; None where no slot fits."""

    fsdp: int
    tensor: int
    sharing: Sharing
    step: estimate.Step | None


def choices(config: Config, model: ModelConfig, devices: list[Any], chip: Chip) -> list[Choice]:
    """Every mesh of fsdp and tensor that divides, quickest estimated step first. Nothing is compiled for it.

    Slots and rows a microbatch that the config names are kept: a mesh that does not divide them is left out.
    """
    common = math.gcd(model.heads, model.kv_heads, model.ffn_dim, model.vocab_size, len(devices))
    found = []
    for tensor in divisors(common):
        fsdp = len(devices) // tensor
        if any(size % fsdp for size in (model.embed_dim, config.sampler.slots, config.learner.rows_per_microbatch)):
            continue
        mesh = dataclasses.replace(config.mesh, data=1, fsdp=fsdp, tensor=tensor)
        plan = build.setup(dataclasses.replace(config, mesh=mesh), model, devices, chip.hbm_gib)
        shared = sharing.share(plan, chip.hbm_gib)
        step = estimate.step(plan, shared.slots, chip) if shared.slots else None
        found.append(Choice(fsdp, tensor, shared, step))
    return sorted(found, key=lambda choice: math.inf if choice.step is None else choice.step.seconds)
