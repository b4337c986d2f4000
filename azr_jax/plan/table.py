"""The plan as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from azr_jax.plan import collectives, estimate, simulation
from azr_jax.plan.build import Setup
from azr_jax.plan.chips import Chip
from azr_jax.plan.lengths import Lengths
from azr_jax.plan.sharing import Sharing
from azr_jax.plan.suggest import Choice
from azr_jax.plan.verdict import GIB, Program, problems
from azr_jax.sampler import prefilling

_COLUMNS = ("program", "args", "outputs", "aliased", "temps", "peak", "beside", "total", "TFLOP", "GB moved", "est. ms")
_VARIANTS = {
    "before": "solver tasks drawn at the start (one queue)",
    "after": "solver tasks drawn when all proposals are validated",
    "lag 0": "as the first with pipeline.lag=0",
    "lag 1": "as the first with pipeline.lag=1 (the next step's proposals begin in the tail)",
}


def memory_text(topology: str, plan: Setup, sharing: Sharing, chip: Chip) -> str:
    """The configuration that is planned, and how the sampler and the learner's state share a device."""
    mesh, config = plan.mesh.shape, plan.config
    place = "on the host while sampling" if sharing.evicted else "on the device all the time"
    return "\n".join(
        (
            f"{config.model.path} on {topology}: {plan.mesh.size} devices of {chip.hbm_gib:.2f} GiB,"
            f" data={mesh['data']} fsdp={mesh['fsdp']} tensor={mesh['tensor']}",
            f"update: {plan.learner.rows_per_microbatch} rows of {config.learner.row_tokens} tokens a microbatch,"
            f" remat={config.model.remat}",
            f"sampler: tensor={plan.sampler_tensor}, "
            + (" and ".join(f"{slots} slots of {length} positions" for slots, length in sharing.tiers) or "no slots")
            + f" ({sharing.beside} fit with the learner's state, {sharing.alone} without)",
            f"learner's state: {sharing.state_bytes / GIB:.2f} GiB per device, {place}"
            f" (mesh.resting_state={config.mesh.resting_state}); served weights: {sharing.served_bytes / GIB:.2f} GiB",
        )
    )


def reach_text(plan: Setup, sharing: Sharing) -> str:
    """The large programs that a run may compile, each once: it compiles a size when it first meets it."""
    sampler, config = plan.sampler, plan.config
    sizes = prefilling.sizes(config.sampler, sampler.parts, sampler.tuning.packs_prefill)
    decoding = len(sharing.tiers) * (2 if sampler.draft_slots else 1)
    update = ", ".join(["accumulate", "apply", *(f"{policy} score" for policy in estimate.scorings(plan))])
    return (
        f"large programs that a run can reach: prefill in {len(sizes)} sizes of rows x tokens ("
        + ", ".join(f"{rows}x{tokens}" for rows, tokens in sizes)
        + f"), decode in {decoding}, update: {update}"
    )


def programs_text(plan: Setup, sharing: Sharing, chip: Chip, programs: Sequence[Program]) -> str:
    """A line for each program: GiB of one device; counted work."""
    works = estimate.works(plan, sharing.tiers)
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for program in programs:
        compiled, work = program.compiled, works[program.name]
        sizes = (compiled.arguments, compiled.outputs, compiled.aliased, compiled.temporaries, compiled.peak)
        rows.append(
            (
                program.name,
                *(f"{size / GIB:.3f}" for size in (*sizes, program.beside, program.peak)),
                f"{work.flops / 1e12:.1f}",
                f"{work.bytes / 1e9:.1f}",
                f"{1e3 * estimate.seconds(work, plan, chip):.1f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    notes = (
        "GiB of one device; beside = all else in memory at that time; total = the compiler's peak + beside."
        " TFLOP of all devices, GB moved of one, by counting.",
        "Decode is one token per slot, slots full; speculate is the token and the draft of sampler.draft_rows slots."
        f" Estimates at {estimate.COMPUTE_EFFICIENCY:.0%} of the chip's TFLOP/s and {estimate.MEMORY_EFFICIENCY:.0%} of"
        " its memory bandwidth, without interconnect; not measured.",
    )
    return "\n".join((*lines, *notes))


def collectives_text(programs: Sequence[Program], chip: Chip) -> str:
    """What the devices exchange in one call of each program, by kind."""
    lines = ["collectives, by the compiled text (loops multiplied):"]
    for program in programs:
        collected = list(program.compiled.collectives)
        for kind, total in sorted(collectives.by_kind(collected).items()):
            lines.append(f"  {program.name}: {total['count']} {kind}, {total['bytes'] / GIB:.3f} GiB")
        wire = collectives.wire_bytes(collected)
        unknown = ", counted once in a loop of unknown length" if any(not item.known for item in collected) else ""
        lines.append(
            f"  {program.name}: a device sends {wire / GIB:.3f} GiB, {1e3 * wire / (chip.ici_gbps * 1e9):.1f} ms at the"
            f" links' peak{unknown}"
        )
    return "\n".join(lines)


def step_text(plan: Setup, chip: Chip, lengths: Lengths, steps: Mapping[str, simulation.Step]) -> str:
    """The simulated step for each order of the solver tasks and the other lag; the first is the config's own."""
    lines = [f"a step, simulated ({lengths.source}; {lengths.valid_share:.0%} of the proposals valid):"]
    for variant, step in steps.items():
        hours, digits = plan.mesh.size / chip.devices * step.seconds / 3600, _digits(step)
        lines.append(
            f"  {_VARIANTS[variant]}: {step.seconds:.{digits}f} s = sampling {step.sampling_s:.{digits}f}"
            f" + waiting {step.waiting_s:.{digits}f} + update {step.update_s:.{digits}f}"
            f" + moving weights {step.moving_s:.{max(1, digits)}f};"
            f" {hours:.{digits or 2}f} chip-hours, {hours * plan.config.steps:.{digits}f} for {plan.config.steps} steps"
        )
        lines.append(
            f"    {step.responses:.0f} responses, {step.response_tokens:.0f} tokens, {step.decode_steps:.0f} decode"
            f" steps; {step.occupancy:.0%} of the slots alive on average; {step.prefill_s:.1f} s of prefill;"
            f" tail {step.tail_s:.{digits}f} s (fewer than {simulation.TAIL_SHARE:.0%} of the slots alive)"
        )
    if plan.sampler.drafts:
        lines.append(
            f"  with at most {plan.sampler.draft_slots} slots alive a row draws {lengths.tokens_per_draft_step:.2f}"
            f" tokens a decode step, with drafts of {plan.sampler.drafts} (assumed, or of the run named)"
        )
    lines.append(
        f"Simulated, not measured: {estimate.COMPUTE_EFFICIENCY:.0%} of the peak TFLOP/s,"
        f" {estimate.MEMORY_EFFICIENCY:.0%} of the memory bandwidth, {simulation.WORKERS} executors of"
        f" {simulation.PROGRAM_S} s a program."
    )
    return "\n".join(lines)


def choices_text(choices: Sequence[Choice], plan: Setup, shared: Sharing) -> str:
    """Meshes and slots, quickest simulated step first; a star at what the config gives, which `shared` describes."""
    lines = [
        "meshes and slots, quickest simulated step first (one draw of the lengths; only compiling shows the memory of"
        " the update):"
    ]
    own = (plan.mesh.shape["tensor"], plan.sampler_tensor)
    for choice in choices:
        star = "*" if (choice.tensor, choice.sampler_tensor) == own and choice.sharing == shared else " "
        place = "host" if choice.sharing.evicted else "device"
        time = "no slot fits"
        if step := choice.step:
            digits = _digits(step)
            time = (
                f"{step.seconds:.{digits}f} s a step (sampling {step.sampling_s:.{digits}f}, of which tail"
                f" {step.tail_s:.{digits}f}; update {step.update_s:.{digits}f})"
            )
        lines.append(
            f" {star} mesh.fsdp={choice.fsdp} mesh.tensor={choice.tensor} mesh.sampler_tensor={choice.sampler_tensor}:"
            f" {choice.sharing.slots} slots, state on the {place} (mesh.resting_state={place}), {time}"
        )
    return "\n".join(lines)


def _digits(step: simulation.Step) -> int:
    """Decimals of seconds: a small model's step is a fraction of one."""
    return 0 if step.seconds >= 10 else 3


def verdict_text(programs: Sequence[Program], sharing: Sharing, chip: Chip) -> str:
    """Says that the run fits, or each problem with what to change; without programs, that they were not compiled."""
    if wrong := problems(programs, sharing, chip):
        return "\n".join(["does not fit:", *(f"  {line}" for line in wrong)])
    return "fits" if programs else "the slots fit; whether the programs do, compiling them says (without --nocompile)"
