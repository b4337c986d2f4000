"""Time of each program and of a whole step at stated efficiencies: a roofline, never measured, without interconnect."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from azr_jax.plan import counts
from azr_jax.plan.build import Setup
from azr_jax.plan.chips import Chip
from azr_jax.plan.counts import Work

COMPUTE_EFFICIENCY = 0.5  # of a device's peak
MEMORY_EFFICIENCY = 0.75  # of its memory's bandwidth
# A step's responses as the project's benchmarks draw them: prompts of 1,200 tokens, lengths log-normal with median 500
# and sigma 1, which is 824 tokens on average.
PROMPT_TOKENS, RESPONSE_TOKENS = 1200, 824


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one step of self-play's device work, and what it is made of."""

    responses: int
    decode_steps: int
    microbatches: int
    sampling_s: float
    update_s: float

    @property
    def seconds(self) -> float:
        """Sampling and update, one after the other; executors not counted."""
        return self.sampling_s + self.update_s


def works(plan: Setup, tiers: Sequence[tuple[int, int]]) -> dict[str, Work]:
    """Work of each program; of decode, that of one token for every slot with its slot full."""
    model, mesh, sampler = plan.model, plan.mesh, plan.sampler
    tensor, parts = mesh.shape["tensor"], sampler.parts
    slots = max(1, sum(slots for slots, _ in tiers))
    context = sum(slots * length for slots, length in tiers) / slots
    rows, tokens = prefill_size(plan)
    return {
        "reshard": counts.reshard(model, mesh.size, tensor),
        "prefill": counts.prefill(model, rows, tokens, parts, tensor),
        "decode": counts.decode_step(model, slots, context, parts, tensor),
        "accumulate": _accumulate(plan),
        "apply": counts.apply(model, mesh.size),
    }


def prefill_size(plan: Setup) -> tuple[int, int]:
    """(rows, tokens) of the largest prefill."""
    from azr_jax.plan.build import prefill_shapes

    rows, tokens = prefill_shapes(plan)[0].shape
    return rows, tokens


def seconds(work: Work, plan: Setup, chip: Chip) -> float:
    """At COMPUTE_EFFICIENCY and MEMORY_EFFICIENCY of the peaks, whichever takes longer."""
    sizes = (plan.mesh.size, chip.tflops, chip.hbm_gbps)
    return counts.seconds(work, *sizes, COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY)


def step(plan: Setup, slots: int, chip: Chip) -> Step:
    """A whole step at the config's counts: proposals, estimates of half of them, solutions; one update of all trained.

    Half of the proposals are taken to be valid. A session's slots are taken to be full until its end.
    """
    settings, model, mesh, sampler = plan.config.selfplay, plan.model, plan.mesh, plan.sampler
    tensor, parts = mesh.shape["tensor"], sampler.parts
    proposals = solutions = 3 * settings.batch_per_task
    estimates = proposals // 2 * settings.estimate_samples
    responses = proposals + solutions + estimates
    decode_steps = math.ceil(responses * RESPONSE_TOKENS / slots)
    prompts = proposals + solutions + proposals // 2
    prefill = counts.prefill(model, prompts, PROMPT_TOKENS, parts, tensor)
    decode = counts.decode_step(model, slots, PROMPT_TOKENS + RESPONSE_TOKENS / 2, parts, tensor)
    reshard = counts.reshard(model, mesh.size, tensor)
    sampling = seconds(prefill, plan, chip) + decode_steps * seconds(decode, plan, chip) + seconds(reshard, plan, chip)
    trained = responses if settings.train_on_estimates else proposals + solutions
    packed_rows = math.ceil(trained * (PROMPT_TOKENS + RESPONSE_TOKENS) / plan.config.learner.row_tokens)
    microbatches = math.ceil(packed_rows / plan.learner.rows_per_microbatch) * plan.config.learner.epochs
    update = microbatches * seconds(_accumulate(plan), plan, chip)
    update += (
        plan.config.learner.epochs
        * plan.config.learner.minibatch_count
        * seconds(counts.apply(model, mesh.size), plan, chip)
    )
    return Step(responses, decode_steps, microbatches, sampling, update)


def _accumulate(plan: Setup) -> Work:
    learner, mesh = plan.learner, plan.mesh
    rows, tokens, remat = learner.rows_per_microbatch, plan.config.learner.row_tokens, plan.config.model.remat
    return counts.accumulate(plan.model, rows, tokens, remat, mesh.size, mesh.shape["tensor"])
