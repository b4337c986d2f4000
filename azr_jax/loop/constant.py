"""Finds proposed programs that ignore their input, by their output for other inputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from azr_jax.config import Config
from azr_jax.selfplay.buffers import LanguageBuffers
from azr_jax.selfplay.randomness import stream
from azr_jax.types import Invalid, Task, Triplet
from executors import Job, JobKind, Status, Verdict

# Inputs are drawn from this many of the buffer's newest triplets, for each that must agree.
_NEWEST = 32
# An input may give no value, as that of another type: so many are tried for each that must agree.
_TRIED = 4


async def refused_if_constant(
    config: Config,
    execute: Callable[[str, Job], Awaitable[Verdict]],
    task: Task,
    item: Triplet,
    buffers: LanguageBuffers,
) -> Invalid | None:
    """`ignores_input` if `selfplay.probes` other inputs of the buffer give the program's output too, else None.

    They run one after another through `execute`: most programs give another output at once. A time-out ends it too: the
    program's own input caused none, and a step would wait for one after the other.
    """
    wanted, same = config.selfplay.probes, 0
    inputs = sorted({other.input for other in buffers.newest(_NEWEST * wanted)} - {item.input})
    rng = stream(config.seed, 0, f"{task.id}/constant")
    for number, given in enumerate(rng.sample(inputs, min(_TRIED * wanted, len(inputs)))):
        job = Job(f"{task.id}/constant/{number}", JobKind.EVALUATE, item.program, (given,))
        verdict = await execute(task.language, job)
        if verdict.status is Status.TIMEOUT or (verdict.ok and verdict.values[0] != item.output):
            return None
        same += verdict.ok
        if same == wanted:
            return Invalid("ignores_input", f"its output is that of {wanted} other inputs too, such as {given}")
    return None
