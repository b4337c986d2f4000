"""How sampling and the learner's state share a device: slots, and whether the state is in host memory meanwhile.

A run decides by the same functions of sampler/memory.py, from the memory that its devices report.
"""

from __future__ import annotations

import dataclasses

from azr_jax.model.sharding import local_bytes
from azr_jax.plan.build import Setup
from azr_jax.sampler import memory


@dataclasses.dataclass(frozen=True, slots=True)
class Sharing:
    """`tiers` of the sampler's (slots, positions); `evicted`: the learner's state is on the host while sampling.

    `beside` and `alone` are the slots that fit with the state on the device and without. Bytes are of one device.
    """

    tiers: tuple[tuple[int, int], ...]
    evicted: bool
    beside: int
    alone: int
    state_bytes: int
    moment_bytes: int
    served_bytes: int

    @property
    def slots(self) -> int:
        """Rows decoded together; 0 if not one fits."""
        return sum(slots for slots, _ in self.tiers)


def share(plan: Setup, hbm_gib: float) -> Sharing:
    """The slots and the place of the state, for devices with `hbm_gib`.

    0 slots if none fits; the config's number if it sets one, whether or not it fits.
    """
    sampler, settings = plan.sampler, plan.config.sampler
    state, served = local_bytes(plan.state), local_bytes(plan.served)
    moments = state - local_bytes(plan.state.params)

    on_tpu = plan.mesh.devices.flat[0].platform == "tpu"

    def fitting(beside: int) -> tuple[tuple[int, int], ...]:
        share = memory.TPU_SHARE if on_tpu else memory.ACCELERATOR_SHARE
        return sampler.fitting_tiers(int((hbm_gib * 2**30 - served - beside) * plan.mesh.size * share))

    tiers_beside, tiers_alone = fitting(state), fitting(0)
    beside, alone = (sum(slots for slots, _ in tiers) for tiers in (tiers_beside, tiers_alone))
    place = plan.config.mesh.resting_state
    leaves = on_tpu and memory.state_must_leave(settings, beside, alone)
    evicted = place == "host" or (place == "auto" and leaves)
    tiers = ((settings.slots, sampler.max_length),) if settings.slots else tiers_alone if evicted else tiers_beside
    return Sharing(tiers, evicted, beside, alone, state, moments, served)
