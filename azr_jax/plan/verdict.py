"""Compares each program's memory, and all else in memory, with the chip's; says what to change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from azr_jax.model.sharding import local_bytes
from azr_jax.plan import build, collectives, estimate
from azr_jax.plan.build import Setup
from azr_jax.plan.chips import Chip
from azr_jax.plan.compiled import Compiled
from azr_jax.plan.sharing import Sharing
from azr_jax.plan.simulation import Step

GIB = 2**30


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One program of a run on one device, bytes. `beside`: what else is in memory while it runs."""

    name: str
    compiled: Compiled
    beside: int

    @property
    def peak(self) -> int:
        """The compiler's peak and what else is in memory."""
        return self.compiled.peak + self.beside


def programs(plan: Setup, sharing: Sharing, compiled: dict[str, Compiled]) -> list[Program]:
    """Each program with what else is in memory while it runs.

    While sampling: the learner's state, unless it is in host memory; the caches; a prefill's keys that wait for slots.
    While updating: nothing of the sampler, whose session has ended; the moments during the gradient's program.
    """
    rest = 0 if sharing.evicted else sharing.state_bytes
    caches = build.decode_shapes(plan, sharing.tiers)[0]
    params = sharing.state_bytes - sharing.moment_bytes
    beside = {
        "reshard": max(0, rest - params),
        "prefill": rest + local_bytes(caches),
        "decode": rest + compiled["prefill"].outputs,
        "speculate": rest + compiled["prefill"].outputs + local_bytes(caches[:-1]),
        "accumulate": sharing.moment_bytes,
        "apply": 0,
    }
    return [Program(name, compiled[name], beside[name]) for name in compiled]


def as_json(
    topology: str, plan: Setup, sharing: Sharing, chip: Chip, programs: Sequence[Program], steps: Mapping[str, Step]
) -> dict[str, Any]:
    """The object of --json. GiB and seconds of one device, flops of all; "update" is accumulate and apply together.

    "fits" is null if nothing was compiled and nothing is known to be too large.
    """
    mesh = {axis: int(size) for axis, size in plan.mesh.shape.items()}
    planned = {
        "topology": topology,
        "mesh": mesh,
        "sampler_tensor": plan.sampler_tensor,
        "slots": sharing.slots,
        "tiers": [list(tier) for tier in sharing.tiers],
        "remat": plan.config.model.remat,
        "simulated": {name: dataclasses.asdict(step) | {"seconds": step.seconds} for name, step in steps.items()},
    }
    if not programs:
        return planned | {"fits": False if problems(programs, sharing, chip) else None}
    entries = {program.name: _entry(program, plan, sharing, chip) for program in programs}
    accumulate, apply = entries.pop("accumulate"), entries.pop("apply")
    larger = max((accumulate, apply), key=lambda entry: entry["peak_gib"])
    update = {key: value for key, value in larger.items() if key.endswith("gib")}
    update |= {key: accumulate[key] + apply[key] for key in ("flops", "model_flops", "bytes", "seconds")}
    update |= {"rows": plan.learner.rows_per_microbatch, "row_tokens": plan.config.learner.row_tokens}
    return planned | {
        "programs": entries | {"update": update | {"accumulate": accumulate, "apply": apply}},
        "fits": not problems(programs, sharing, chip),
    }


def _entry(program: Program, plan: Setup, sharing: Sharing, chip: Chip) -> dict[str, Any]:
    compiled, work = program.compiled, estimate.works(plan, sharing.tiers)[program.name]
    kinds = collectives.by_kind(list(compiled.collectives))
    return {
        "peak_gib": _gib(program.peak),
        "compiler_peak_gib": _gib(compiled.peak),
        "beside_gib": _gib(program.beside),
        "argument_gib": _gib(compiled.arguments),
        "output_gib": _gib(compiled.outputs),
        "alias_gib": _gib(compiled.aliased),
        "temp_gib": _gib(compiled.temporaries),
        "flops": work.flops,
        "model_flops": work.model_flops,
        "bytes": work.bytes,
        "seconds": float(estimate.seconds(work, plan, chip)),
        "collectives": {
            kind: {"count": total["count"], "gib": _gib(total["bytes"])} for kind, total in sorted(kinds.items())
        },
        "wire_gib": _gib(int(collectives.wire_bytes(list(compiled.collectives)))),
    }


def problems(programs: Sequence[Program], sharing: Sharing, chip: Chip) -> list[str]:
    """Each program that does not fit, with what to change; empty if all fit. Without programs, the slots and the state.

    The learner's state must fit by itself: the update has it on the devices, wherever it rests.
    """
    lines = []
    most = sharing.alone if sharing.evicted else sharing.beside
    for program in programs:
        change = _CHANGES[program.name]
        if program.compiled.too_large:
            lines.append(f"{program.name}: the compiler refuses it ({program.compiled.too_large}): {change}")
        elif program.peak > chip.hbm_gib * GIB:
            used = f"{program.peak / GIB:.2f} GiB of {chip.hbm_gib:.2f}"
            lines.append(f"{program.name}: {used}: {change}{_fewer(program.name, most)}")
    if not programs and sharing.state_bytes > chip.hbm_gib * GIB:
        used = f"{sharing.state_bytes / GIB:.2f} GiB of {chip.hbm_gib:.2f}"
        lines.append(f"learner's state: {used}: {_CHANGES['apply']}")
    if sharing.slots < 1:
        lines.append("sampler.slots=0: no slot fits beside the weights: use a larger slice, or a larger mesh.tensor")
    elif not programs and sharing.slots > most:
        lines.append(f"sampler.slots={sharing.slots}: {most} fit: lower it, or set it to 0, which takes what fits")
    return lines


_CHANGES = {
    "reshard": "set mesh.resting_state=host, raise mesh.tensor, or take a larger slice",
    "prefill": "lower sampler.slots or sampler.prefill_tokens, set mesh.resting_state=host, or raise mesh.tensor",
    "decode": "lower sampler.slots, set mesh.resting_state=host, raise mesh.tensor, or take a larger slice",
    "speculate": "lower sampler.draft_rows or sampler.draft_tokens, or set mesh.resting_state=host",
    "accumulate": "lower learner.row_tokens or learner.logit_chunk, set model.remat=full, raise mesh.tensor, or take"
    " a larger slice",
    "apply": "raise mesh.fsdp, or take a larger slice",
}


def _fewer(name: str, most: int) -> str:
    return f" ({most} slots fit)" if name in ("prefill", "decode") else ""


def _gib(size: int) -> float:
    return round(size / GIB, 6)
