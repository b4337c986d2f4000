"""Run by test_engine.py in its own process with eight CPU devices: samples on meshes given as DATAxFSDPxTENSOR.

What follows a mesh: "/unstacked" serves each layer's weights in buffers of their own, as GPUs do; "/tiers" has slots
of two lengths; "/tensor4" samples on the same devices with groups of four, more than there are key heads; "/drafts"
speculates.

The weights are float32 and lie as a learner's do. Writes what each mesh gives to the file named first on the command
line.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from azr_jax.model.sharding import make_mesh, param_shardings, with_tensor
from azr_jax.model.transformer import abstract
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.tuning import Tuning

from .tiny import CONFIG, SETTINGS, greedy_and_random_requests, make_tokenizer, make_world


def _sampled(mesh: jax.sharding.Mesh, *forms: str) -> dict[str, Any]:
    params = make_world().params
    params = jax.device_put(params, param_shardings(params, mesh, CONFIG))
    config = CONFIG
    if "tensor4" in forms:
        mesh, config = with_tensor(mesh, 4), CONFIG.with_heads_for(4)
    graphdef, _ = abstract(config, compute_dtype=jnp.float32, mesh=mesh)
    settings = dataclasses.replace(SETTINGS, slots=8, draft_rows=8 if "drafts" in forms else 0)
    tuned = Tuning(unstacks="unstacked" in forms)
    sampler = Sampler(graphdef, config, make_tokenizer(), settings, mesh, jnp.float32, tuned)
    if "tiers" in forms:
        sampler.tiers = ((8, 40), (8, 112))
    rollouts = list(sampler.generate(params, greedy_and_random_requests(), seed=0))
    caches = sampler.new_caches(8, 256)
    served = sampler.serve(params)
    arguments = (served, jax.random.key(0), (caches,), sampler.new_rows(8))
    decode = sampler.programs.speculate if "drafts" in forms else sampler.programs.decode
    compiled = decode.lower(*arguments).compile()
    local = caches.k[0].addressable_shards[0].data
    return {
        "tokens": {rollout.request_id: rollout.token_ids for rollout in rollouts},
        "logprobs": {rollout.request_id: rollout.logprobs for rollout in rollouts},
        "shards": 8 // local.shape[0],
        "served_as_said": jax.tree.all(
            jax.tree.map(
                lambda leaf, said: (
                    leaf.dtype == said.dtype and leaf.sharding.is_equivalent_to(said.sharding, leaf.ndim)
                ),
                served,
                sampler.served_shapes(params),
            )
        ),
        "served_buffers": len(jax.tree.leaves(served)),
        # Whole caches that the step holds besides the donated ones.
        "cache_copies": compiled.memory_analysis().temp_size_in_bytes // (local.nbytes * 2 * CONFIG.layers),
    }


def _main(output: Path, *sizes: str) -> None:
    results = {}
    for name in sizes:
        size, *forms = name.split("/")
        results[name] = _sampled(make_mesh(*map(int, size.split("x"))), *forms)
    output.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:])
