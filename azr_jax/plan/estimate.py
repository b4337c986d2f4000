"""Seconds of each kind of device work at stated efficiencies of a chip's peaks: a roofline, never measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from azr_jax.plan import counts
from azr_jax.plan.build import Setup, prefill_shapes
from azr_jax.plan.chips import Chip
from azr_jax.plan.counts import Work

COMPUTE_EFFICIENCY = 0.5  # of a device's peak
MEMORY_EFFICIENCY = 0.75  # of its memory's bandwidth
COLLECTIVE_S = 5e-6  # least time of an exchange between the devices of a tensor group
HOST_GBPS = 10.0  # between a device and its host's memory, 10^9 bytes per second
ROW_FILL = 0.95  # of a packed row's tokens


def works(plan: Setup, tiers: Sequence[tuple[int, int]]) -> dict[str, Work]:
    """Work of each program; for decode, of one token for every slot, with the slots full; speculate: and its drafts."""
    model, mesh, sampler = plan.sampler.model_config, plan.serving_mesh, plan.sampler
    tensor, parts = mesh.shape["tensor"], sampler.parts
    slots = max(1, sum(slots for slots, _ in tiers))
    context = sum(slots * length for slots, length in tiers) / slots
    rows, tokens = prefill_shapes(plan)[0].shape
    drafting = {}
    if sampler.drafts and tiers:
        few, length = sampler.with_draft_slots(tuple(tiers))[-1]
        width = sampler.drafts + 1
        drafting["speculate"] = counts.decode_step(model, width * few, length, parts, tensor)
    return drafting | {
        "reshard": counts.reshard(model, mesh.size, tensor),
        "prefill": counts.prefill(model, rows, tokens, parts, tensor),
        "decode": counts.decode_step(model, slots, context, parts, tensor),
        "accumulate": _accumulate(plan),
        "apply": counts.apply(plan.model, mesh.size),
    }


def seconds(work: Work, plan: Setup, chip: Chip) -> Any:
    """The longer of computing at COMPUTE_EFFICIENCY and moving at MEMORY_EFFICIENCY of the peaks."""
    sizes = (plan.mesh.size, chip.tflops, chip.hbm_gbps)
    return counts.seconds(work, *sizes, COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY)


class Roofline:
    """Costs of `simulated_sampler` for these devices; exchanges between the devices of a tensor group included."""

    def __init__(self, plan: Setup, chip: Chip) -> None:
        self._plan, self._chip, self._model = plan, chip, plan.sampler.model_config
        self._parts, self._tensor = plan.sampler.parts, plan.sampler_tensor
        self._reads_all = plan.sampler.tuning.implementation.startswith("xla")

    def prefill_s(self, rows: int, tokens: int, attended: float) -> float:
        """A prefill; attention counts the actual (query, key) pairs."""
        work = counts.prefill(self._model, rows, tokens, self._parts, self._tensor, attended)
        return seconds(work, self._plan, self._chip) + self._exchange_s(rows * tokens)

    def decode_s(self, tiers: Sequence[tuple[int, int]], context_tokens_C: np.ndarray) -> float:
        """Decode steps: all slots are computed, the keys of running rows are read (all keys, by XLA's attention)."""
        slots = sum(slots for slots, _ in tiers)
        if self._reads_all:
            context_tokens_C = np.full(context_tokens_C.shape, sum(slots * length for slots, length in tiers))
        work = counts.decode_step(self._model, slots, context_tokens_C / slots, self._parts, self._tensor)
        steps_C = seconds(work, self._plan, self._chip) + self._exchange_s(slots)
        return float(np.sum(steps_C))

    def first_s(self, entries: int) -> float:
        """The head's weights read, logits made."""
        head = counts.head_parameters(self._model)
        work = Work(2.0 * entries * head, 2.0 * entries * head, 2 * head / self._tensor)
        return seconds(work, self._plan, self._chip)

    def copy_s(self, slots: int, positions: int) -> float:
        """Keys and values of all layers, read and written."""
        moved = 2 * slots * positions * counts.cache_bytes_per_token(self._model) / (self._parts * self._tensor)
        return seconds(Work(0.0, 0.0, moved), self._plan, self._chip)

    def _exchange_s(self, tokens: int) -> float:
        """Two sums over the tensor group in each layer, of `tokens` hidden states over all parts."""
        if self._tensor == 1:
            return 0.0
        sent = 2 * (self._tensor - 1) / self._tensor * 2 * tokens / self._parts * self._model.embed_dim
        return 2 * self._model.layers * (COLLECTIVE_S + sent / (self._chip.ici_gbps * 1e9 * MEMORY_EFFICIENCY))


def scorings(plan: Setup) -> list[str]:
    """Forward passes over all rows before the update, by the policy that they are of."""
    scored = {
        "the old policy's": plan.learner.scores_old_policy(plan.config.minibatches_per_step),
        "the reference's": plan.config.learner.kl_coef > 0,
    }
    return [policy for policy, is_scored in scored.items() if is_scored]


def update_s(plan: Setup, chip: Chip, tokens: int) -> float:
    """The update of a step whose trained prompts and responses have `tokens` together.

    With several optimizer steps the old policy scores all rows first, and with a KL penalty the reference does. Each
    optimizer step packs its own responses and fills its own last microbatch with empty rows.
    """
    settings = plan.config.learner
    steps = plan.config.minibatches_per_step
    rows = math.ceil(tokens / steps / settings.row_tokens / ROW_FILL)
    microbatches = steps * math.ceil(rows / plan.learner.rows_per_microbatch)
    accumulate_s = seconds(_accumulate(plan), plan, chip)
    apply_s = seconds(counts.apply(plan.model, plan.mesh.size), plan, chip)
    tensor = plan.mesh.shape["tensor"]
    score = counts.score(plan.model, plan.learner.rows_per_microbatch, settings.row_tokens, plan.mesh.size, tensor)
    score_s = len(scorings(plan)) * microbatches * seconds(score, plan, chip)
    return score_s + settings.epochs * (microbatches * accumulate_s + steps * apply_s)


def reshard_s(plan: Setup, chip: Chip) -> float:
    """Time to make the served weights."""
    work = counts.reshard(plan.sampler.model_config, plan.mesh.size, plan.sampler_tensor)
    return seconds(work, plan, chip)


def to_host_s(state_bytes: int) -> float:
    """Time to move a device's part of the learner's state to its host's memory, or back."""
    return state_bytes / (HOST_GBPS * 1e9)


def _accumulate(plan: Setup) -> Work:
    learner, mesh = plan.learner, plan.mesh
    rows, tokens, remat = learner.rows_per_microbatch, plan.config.learner.row_tokens, plan.config.model.remat
    return counts.accumulate(plan.model, rows, tokens, remat, mesh.size, mesh.shape["tensor"])
