"""Meshes, slots and the place of the learner's state for a topology, ranked by the simulated time of a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from azr_jax.config import Config
from azr_jax.model.configuration import ModelConfig, divisors
from azr_jax.plan import build, sharing, simulation
from azr_jax.plan.build import Setup
from azr_jax.plan.chips import Chip
from azr_jax.plan.lengths import Lengths
from azr_jax.plan.sharing import Sharing

_SLOT_SHARES = (0.75, 0.5, 0.25)  # of the slots that fit, tried on the best mesh


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """A mesh (data 1), how its memory is shared, and the simulated step; None if no slot fits."""

    fsdp: int
    tensor: int
    sharing: Sharing
    step: simulation.Step | None

    @property
    def seconds(self) -> float:
        """Seconds of the step; infinite if no slot fits."""
        return math.inf if self.step is None else self.step.seconds


def choices(
    config: Config, model: ModelConfig, devices: list[Any], chip: Chip, lengths: Lengths, solver_tasks: str
) -> list[Choice]:
    """Every mesh of fsdp and tensor that divides, quickest simulated step first; fewer slots on the quickest.

    Nothing is compiled. Keeps the slots, rows per microbatch and place of the state that the config sets: leaves out
    a mesh that does not divide them.
    """

    def simulated(plan: Setup, shared: Sharing) -> Choice:
        step = simulation.step(plan, shared, chip, lengths, solver_tasks) if shared.slots else None
        return Choice(int(plan.mesh.shape["fsdp"]), int(plan.mesh.shape["tensor"]), shared, step)

    plans = {int(plan.mesh.shape["tensor"]): plan for plan in _plans(config, model, devices, chip)}
    ranked = [simulated(plan, shared) for plan in plans.values() for shared in _places(plan, chip)]
    ranked.sort(key=lambda choice: choice.seconds)
    if ranked and ranked[0].step and len(ranked[0].sharing.tiers) == 1 and not config.sampler.slots:
        best, plan = ranked[0], plans[ranked[0].tensor]
        parts, ((slots, length),) = plan.sampler.parts, best.sharing.tiers
        counts = {int(share * slots) // parts * parts for share in _SLOT_SHARES} - {0, slots}
        fewer = [dataclasses.replace(best.sharing, tiers=((count, length),)) for count in sorted(counts)]
        ranked += [simulated(plan, shared) for shared in fewer]
    return sorted(ranked, key=lambda choice: choice.seconds)


def _plans(config: Config, model: ModelConfig, devices: list[Any], chip: Chip) -> Iterator[Setup]:
    common = math.gcd(model.heads, model.kv_heads, model.ffn_dim, model.vocab_size, len(devices))
    for tensor in divisors(common):
        fsdp = len(devices) // tensor
        if any(size % fsdp for size in (model.embed_dim, config.sampler.slots, config.learner.rows_per_microbatch)):
            continue
        mesh = dataclasses.replace(config.mesh, data=1, fsdp=fsdp, tensor=tensor)
        yield build.setup(dataclasses.replace(config, mesh=mesh), model, devices, chip.hbm_gib)


def _places(plan: Setup, chip: Chip) -> list[Sharing]:
    """How memory is shared by the config; if it leaves that open, also with the state in the other place."""
    shared = sharing.share(plan, chip.hbm_gib)
    if plan.config.mesh.resting_state != "auto" or shared.evicted or shared.alone == shared.beside:
        return [shared]
    mesh = dataclasses.replace(plan.config.mesh, resting_state="host")
    on_host = dataclasses.replace(plan, config=dataclasses.replace(plan.config, mesh=mesh))
    return [shared, sharing.share(on_host, chip.hbm_gib)]
