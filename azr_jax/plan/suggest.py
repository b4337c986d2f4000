"""Meshes, slots and the place of the learner's state for a topology, ranked by the simulated time of a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from azr_jax.config import Config
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import sampler_tensors, unfit
from azr_jax.plan import build, sharing, simulation
from azr_jax.plan.build import Setup
from azr_jax.plan.chips import Chip
from azr_jax.plan.lengths import Lengths
from azr_jax.plan.sharing import Sharing

_SLOT_SHARES = (0.75, 0.5, 0.25)  # of the slots that fit, tried on the best mesh


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Meshes (data 1), how the memory is shared, and the simulated step; None if no slot fits."""

    fsdp: int
    tensor: int
    sampler_tensor: int
    sharing: Sharing
    step: simulation.Step | None

    @property
    def seconds(self) -> float:
        """Seconds of the step; infinite if no slot fits."""
        return math.inf if self.step is None else self.step.seconds


def choices(
    config: Config, model: ModelConfig, devices: list[Any], chip: Chip, lengths: Lengths, solver_tasks: str
) -> list[Choice]:
    """Meshes that divide, quickest simulated step first; fewer slots on the quickest.

    Every mesh of the sampler beside the config's own of the learner, and the quickest of them beside every one of the
    learner. Nothing is compiled. Keeps what the config sets of the sampler's mesh, slots, rows per microbatch and place
    of the state: leaves out a mesh that does not divide them.
    """

    def simulated(plan: Setup, shared: Sharing) -> Choice:
        step = simulation.step(plan, shared, chip, lengths, solver_tasks) if shared.slots else None
        fsdp, tensor, sampler_tensor = plan.mesh.shape["fsdp"], plan.mesh.shape["tensor"], plan.sampler_tensor
        return Choice(int(fsdp), int(tensor), sampler_tensor, shared, step)

    def ranking(plans: list[Setup]) -> list[tuple[Choice, Setup]]:
        every = [(simulated(plan, shared), plan) for plan in plans for shared in _places(plan, chip)]
        return sorted(every, key=lambda pair: pair[0].seconds)

    own = build.setup(config, model, devices, chip.hbm_gib)
    tensor, served = own.mesh.shape["tensor"], own.sampler_tensor
    others = [] if config.mesh.sampler_tensor else sampler_tensors(model, len(devices))
    pairs = ranking(_plans(config, model, devices, chip, [(tensor, size) for size in {served, *others}]))
    if pairs:
        served = pairs[0][0].sampler_tensor
        learners = [(size, served) for size in sampler_tensors(model, len(devices)) if size != tensor]
        pairs = sorted(pairs + ranking(_plans(config, model, devices, chip, learners)), key=lambda p: p[0].seconds)
    ranked = [choice for choice, _ in pairs]
    if ranked and ranked[0].step and len(ranked[0].sharing.tiers) == 1 and not config.sampler.slots:
        best, plan = pairs[0]
        parts, ((slots, length),) = plan.sampler.parts, best.sharing.tiers
        counts = {int(share * slots) // parts * parts for share in _SLOT_SHARES} - {0, slots}
        fewer = [dataclasses.replace(best.sharing, tiers=((count, length),)) for count in sorted(counts)]
        ranked += [simulated(plan, shared) for shared in fewer]
    return sorted(ranked, key=lambda choice: choice.seconds)


def _plans(
    config: Config, model: ModelConfig, devices: list[Any], chip: Chip, tensors: Sequence[tuple[int, int]]
) -> list[Setup]:
    """The plans of those (learner's, sampler's) tensor axes that divide."""
    plans = []
    for tensor, sampler_tensor in tensors:
        fsdp, parts = len(devices) // tensor, len(devices) // sampler_tensor
        split = (model.embed_dim, config.learner.rows_per_microbatch)
        if unfit(model, tensor) or any(size % fsdp for size in split) or config.sampler.slots % parts:
            continue
        mesh = dataclasses.replace(config.mesh, data=1, fsdp=fsdp, tensor=tensor, sampler_tensor=sampler_tensor)
        plans.append(build.setup(dataclasses.replace(config, mesh=mesh), model, devices, chip.hbm_gib))
    return plans


def _places(plan: Setup, chip: Chip) -> list[Sharing]:
    """How memory is shared by the config; if it leaves that open, also with the state in the other place."""
    shared = sharing.share(plan, chip.hbm_gib)
    if plan.config.mesh.resting_state != "auto" or shared.evicted or shared.alone == shared.beside:
        return [shared]
    mesh = dataclasses.replace(plan.config.mesh, resting_state="host")
    on_host = dataclasses.replace(plan, config=dataclasses.replace(plan.config, mesh=mesh))
    return [shared, sharing.share(on_host, chip.hbm_gib)]
