"""Compiles a model of the 3B's true widths and two layers for a slice; writes what the compiler says as JSON.

A process of its own: what jax and libtpu read of the environment, they read once. Usage: two_layers.py FILE TOPOLOGY.
"""

from __future__ import annotations

import dataclasses
import json
import sys

from azr_jax.plan import chips

_, CHIP, _ = chips.parse(sys.argv[2])
chips.configure(CHIP)

from azr_jax.config import from_mapping  # noqa: E402
from azr_jax.model.sharding import local_bytes  # noqa: E402
from azr_jax.model.sizes import PUBLISHED  # noqa: E402
from azr_jax.plan import build, collectives  # noqa: E402
from configs import racket  # noqa: E402

TIERS = (256, 2048), (96, 5632), (32, 14336)  # slots and positions; four devices share a row, as by default
KERNELS = ("splash_mha_fwd", "splash_mha_dkv", "paged_attention")


def main(file: str, topology: str) -> None:
    config = racket.get_config()
    config.mesh.tensor = 2
    config.sampler.draft_rows = 32
    model = dataclasses.replace(PUBLISHED["Qwen2.5-Coder-3B"], layers=2)
    plan = build.setup(from_mapping(config.to_dict()), model, build.topology_devices(topology), CHIP.hbm_gib)
    caches, rows = build.decode_shapes(plan, TIERS)
    sizes = {
        "caches": local_bytes(caches),
        "rows": local_bytes(rows),
        "state": local_bytes(plan.state),
        "moments": local_bytes(plan.state.opt_state),
        "gradients": local_bytes(plan.state.params),
        "served": local_bytes(plan.served),
        "layer_cache": local_bytes(caches[0].k[0]),
        "last_tier": local_bytes(caches[-1]),
    }
    programs = {}
    for name, lowered in build.lowered(plan, TIERS):
        compiled = lowered.compile()
        memory, text = compiled.memory_analysis(), compiled.as_text()
        programs[name] = {
            "peak": memory.peak_memory_in_bytes,
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "aliased": memory.alias_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "kernels": [kernel for kernel in KERNELS if kernel in text],
            "collectives": [dataclasses.asdict(operation) for operation in collectives.find(text)],
        }
    with open(file, "w", encoding="utf-8") as output:
        json.dump({"sizes": sizes, "programs": programs, "whole_state": 12 * model.parameters}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
