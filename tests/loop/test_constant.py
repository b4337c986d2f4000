"""Which programs count as ignoring their input, by what the executors say of other inputs."""

import asyncio
import dataclasses

import pytest
from conftest import small_config

from azr_jax.loop.constant import refused_if_constant
from azr_jax.selfplay.buffers import LanguageBuffers
from azr_jax.types import Role, Task, TaskType, Triplet
from executors import Status, Verdict

TASK = Task("t", Role.PROPOSE, TaskType.DEDUCTION, "python", "", None, (1,))
ITEM = Triplet("python", "def f(x):\n    return 7", "0", "7")


def tried(statuses, entries: int, probes: int):
    """(whether the item is refused, how many programs ran): these statuses in turn, the last one from then on."""
    buffers = LanguageBuffers(10_000, str)
    for number in range(entries):
        buffers.add_triplet(dataclasses.replace(ITEM, input=str(number)))
    ran = []

    async def execute(language, job):
        ran.append(job)
        status = statuses[min(len(ran), len(statuses)) - 1]
        return Verdict(job.id, status, values=("7",) if status is Status.OK else ())

    config = small_config(selfplay__constant_programs="-1", selfplay__probes=probes)
    refused = asyncio.run(refused_if_constant(config, execute, TASK, ITEM, buffers))
    return refused is not None, len(ran)


@pytest.mark.parametrize(("entries", "probes"), [(20, 8), (2000, 300)])
def test_as_many_inputs_as_are_asked_for_must_agree(entries, probes):
    assert tried([Status.OK], entries, probes) == (True, probes)
    assert tried([Status.OK], probes, probes) == (False, probes - 1), "its own input is none of them"


def test_inputs_without_a_value_are_passed_over_and_one_timeout_is_enough():
    assert tried([Status.RUNTIME_ERROR, Status.OK], 20, 3) == (True, 4)
    assert tried([Status.RUNTIME_ERROR], 20, 3) == (False, 12)
    assert tried([Status.OK, Status.TIMEOUT], 20, 3) == (False, 2)
