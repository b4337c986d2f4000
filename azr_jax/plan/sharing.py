"""How sampling and the learner's state share a device: slots, and whether the state lies on the host meanwhile.

The run decides likewise, by the same functions of sampler/memory.py, from what its devices say of their memory.
"""

from __future__ import annotations

import dataclasses

from azr_jax.model.sharding import local_bytes
from azr_jax.plan.build import Setup
from azr_jax.sampler import memory


@dataclasses.dataclass(frozen=True, slots=True)
class Sharing:
    """`slots` of the sampler; `evicted`: the learner's state leaves for the host's memory while sampling.

    `beside` and `alone` are the slots that fit with the state on the device and without. Bytes are of one device.
    """

    slots: int
    evicted: bool
    beside: int
    alone: int
    state_bytes: int
    moment_bytes: int
    served_bytes: int


def share(plan: Setup, hbm_gib: float) -> Sharing:
    """The slots and the place of the state, for devices with `hbm_gib`.

    0 slots where not one fits; the config's number where it names one, fit or not.
    """
    sampler, settings = plan.sampler, plan.config.sampler
    state, served = local_bytes(plan.state), local_bytes(plan.served)
    moments = state - local_bytes(plan.state.params)

    def fitting(beside: int) -> int:
        free = (hbm_gib * 2**30 - served - beside) * plan.mesh.size * memory.TPU_SHARE
        sizes = (plan.model, settings, sampler.max_length, sampler.compute_dtype)
        return memory.slots_in(*sizes, int(free), sampler.parts)[0] // sampler.parts * sampler.parts

    beside, alone = fitting(state), fitting(0)
    where = plan.config.mesh.resting_state
    evicted = where == "host" or (where == "auto" and memory.state_must_leave(settings, beside, alone))
    slots = settings.slots or min(alone if evicted else beside, memory.MOST_SLOTS * sampler.parts)
    return Sharing(slots, evicted, beside, alone, state, moments, served)
