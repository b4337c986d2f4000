"""The plan as text."""

from __future__ import annotations

from azr_jax.plan import collectives, estimate
from azr_jax.plan.build import Setup
from azr_jax.plan.chips import Chip
from azr_jax.plan.sharing import Sharing
from azr_jax.plan.suggest import Choice
from azr_jax.plan.verdict import GIB, Program, problems

_COLUMNS = ("program", "args", "outputs", "aliased", "temps", "peak", "beside", "total", "TFLOP", "GB moved", "est. ms")


def memory_text(topology: str, plan: Setup, sharing: Sharing, chip: Chip) -> str:
    """What is planned and how the sampler and the learner's state share a device."""
    mesh, config = plan.mesh.shape, plan.config
    place = "on the host while sampling" if sharing.evicted else "on the device all the time"
    return "\n".join(
        (
            f"{config.model.path} on {topology}: {plan.mesh.size} devices of {chip.hbm_gib:.2f} GiB,"
            f" data={mesh['data']} fsdp={mesh['fsdp']} tensor={mesh['tensor']}",
            f"update: {plan.learner.rows_per_microbatch} rows of {config.learner.row_tokens} tokens a microbatch,"
            f" remat={config.model.remat}",
            "sampler: "
            + (" and ".join(f"{slots} slots of {length} positions" for slots, length in sharing.tiers) or "no slots")
            + f" ({sharing.beside} fit beside the learner's state, {sharing.alone} without)",
            f"learner's state: {sharing.state_bytes / GIB:.2f} GiB a device, {place}"
            f" (mesh.resting_state={config.mesh.resting_state}); served weights: {sharing.served_bytes / GIB:.2f} GiB",
        )
    )


def programs_text(plan: Setup, sharing: Sharing, chip: Chip, found: list[Program]) -> str:
    """A line a program: GiB of one device; work of our own count."""
    works = estimate.works(plan, sharing.tiers)
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for one in found:
        compiled, work = one.compiled, works[one.name]
        sizes = (compiled.arguments, compiled.outputs, compiled.aliased, compiled.temporaries, compiled.peak)
        rows.append(
            (
                one.name,
                *(f"{size / GIB:.3f}" for size in (*sizes, one.beside, one.peak)),
                f"{work.flops / 1e12:.1f}",
                f"{work.bytes / 1e9:.1f}",
                f"{1e3 * estimate.seconds(work, plan, chip):.1f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    notes = (
        "GiB of one device; total = the compiler's peak and what lies beside it in the run. TFLOP of all devices, GB"
        " moved of one: our own count.",
        f"Decode is one token for every slot, slots full. Estimates at {estimate.COMPUTE_EFFICIENCY:.0%} of the chip's"
        f" TFLOP/s and {estimate.MEMORY_EFFICIENCY:.0%} of its memory bandwidth, without interconnect; not measured.",
    )
    return "\n".join((*lines, *notes))


def collectives_text(found: list[Program], chip: Chip) -> str:
    """What the devices exchange in one call of each program, by kind."""
    lines = ["collectives, by the compiled text (loops multiplied):"]
    for one in found:
        every = list(one.compiled.collectives)
        for kind, total in sorted(collectives.by_kind(every).items()):
            lines.append(f"  {one.name}: {total['count']} {kind}, {total['bytes'] / GIB:.3f} GiB")
        wire = collectives.wire_bytes(every)
        unknown = ", counted once in a loop of unknown length" if any(not item.known for item in every) else ""
        lines.append(
            f"  {one.name}: a device sends {wire / GIB:.3f} GiB, {1e3 * wire / (chip.ici_gbps * 1e9):.1f} ms at the"
            f" links' peak{unknown}"
        )
    return "\n".join(lines)


def step_text(plan: Setup, sharing: Sharing, chip: Chip, devices_per_chip: int) -> str:
    """Seconds and chip-hours of a step and of the run, at the stated efficiencies."""
    if not sharing.slots:
        return "no step: not one slot fits"
    step = estimate.step(plan, sharing.slots, chip)
    hours = plan.mesh.size / devices_per_chip * step.seconds / 3600
    return (
        f"a step: {step.responses} responses of {estimate.RESPONSE_TOKENS} tokens on average to prompts of"
        f" {estimate.PROMPT_TOKENS}: sampling {step.sampling_s:.0f} s ({step.decode_steps} decode steps), update"
        f" {step.update_s:.0f} s ({step.microbatches} microbatches)\n"
        f"{hours:.2f} chip-hours a step, {hours * plan.config.steps:.0f} for {plan.config.steps} steps, executors not"
        " counted"
    )


def choices_text(found: list[Choice], plan: Setup) -> str:
    """The meshes that divide, quickest estimated step first; a star where the config's own is."""
    lines = ["meshes for this topology, quickest estimated step first (memory of the update by compiling only):"]
    now = (plan.mesh.shape["fsdp"], plan.mesh.shape["tensor"])
    for choice in found:
        star = "*" if (choice.fsdp, choice.tensor) == now else " "
        shared = choice.sharing
        where = "state on the host" if shared.evicted else "state on the device"
        time = "no slot fits" if choice.step is None else f"{choice.step.seconds:.0f} s a step"
        lines.append(f" {star} fsdp={choice.fsdp} tensor={choice.tensor}: {shared.slots} slots, {where}, {time}")
    return "\n".join(lines)


def verdict_text(found: list[Program], sharing: Sharing, chip: Chip) -> str:
    """Fits, or each thing that does not and what to change."""
    wrong = problems(found, sharing, chip)
    return "fits" if not wrong else "\n".join(["does not fit:", *(f"  {line}" for line in wrong)])
