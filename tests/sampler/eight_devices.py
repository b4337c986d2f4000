"""Run by test_engine.py in its own process with eight CPU devices: samples on a (2, 2, 2) mesh, from float32 weights
that lie as a learner's do. Writes tokens and log-probabilities to the file named on the command line.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from azr_jax.model.sharding import make_mesh, param_shardings
from azr_jax.model.transformer import abstract
from azr_jax.sampler import programs
from azr_jax.sampler.engine import Sampler

from .tiny import CONFIG, SETTINGS, make_tokenizer, make_world, tiny_requests


def _rows(slots: int) -> programs.Rows:
    zeros = np.zeros((slots,), np.int32)
    return programs.Rows(
        token_B=zeros,
        position_B=zeros,
        remaining_B=zeros + 9,
        live_B=zeros == 0,
        temperature_B=zeros.astype(np.float32),
        id_words_B2=np.zeros((slots, 2), np.uint32),
    )


def _main(output: Path) -> None:
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    graphdef, _ = abstract(CONFIG, compute_dtype=jnp.float32, mesh=mesh)
    params = make_world().params
    params = jax.device_put(params, param_shardings(params, mesh, CONFIG))
    settings = dataclasses.replace(SETTINGS, slots=8)
    sampler = Sampler(graphdef, CONFIG, make_tokenizer(), settings, mesh, jnp.float32)
    rollouts = list(sampler.generate(params, tiny_requests(), seed=0))
    caches = sampler.new_caches(8, 256)
    arguments = (sampler.serve(params), jax.random.key(0), (caches,), sampler.place_rows(_rows(8)))
    compiled = sampler.programs.decode.lower(*arguments).compile()
    local = caches.k[0].addressable_shards[0].data
    results = {
        "tokens": {rollout.request_id: rollout.token_ids for rollout in rollouts},
        "logprobs": {rollout.request_id: rollout.logprobs for rollout in rollouts},
        "shards": 8 // local.shape[0],
        # Whole caches that the step holds besides the donated ones.
        "cache_copies": compiled.memory_analysis().temp_size_in_bytes // (local.nbytes * 2 * CONFIG.layers),
    }
    output.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
