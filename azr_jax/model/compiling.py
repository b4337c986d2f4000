"""What the compiler is told beside the program, by the devices it compiles for."""

from __future__ import annotations

import jax
from jax.sharding import Mesh


def options(mesh: Mesh | None) -> dict[str, str | bool | int | float] | None:
    """`compiler_options` of jax.jit for the large programs on the mesh's devices (the default device without one).

    XLA computes again what it thinks will not fit into four fifths of a GPU, and counts arguments twice that are
    updated in place: beside 59 GiB of caches it does so in every step of decoding, though nothing is short. What is to
    be computed again is this project's to say (model.remat), so that pass is off.
    """
    platform = jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
    return {"xla_disable_hlo_passes": "rematerialization"} if platform in ("gpu", "cuda") else None
