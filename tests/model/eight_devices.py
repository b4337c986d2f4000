"""Run by test_sharding.py in its own process with eight CPU devices: a (2, 2, 2) mesh against one device.

Writes the differences to the file named on the command line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import batch_sharding, make_mesh
from azr_jax.model.transformer import abstract
from azr_jax.model.weights import init, load, save

CONFIG = ModelConfig(vocab_size=160, embed_dim=32, ffn_dim=48, layers=4, heads=4, kv_heads=2, head_dim=8, eos_ids=(3,))
B, T = 8, 12


def _difference(ours: Any, expected: Any) -> float:
    def one(a: jax.Array, b: jax.Array) -> float:
        return float(np.abs(np.asarray(a) - np.asarray(b)).max())

    return max(jax.tree.leaves(jax.tree.map(one, ours, expected)))


def _run(mesh: Any, serving: bool = False, **options: Any) -> dict[str, Any]:
    """Loss, gradient, hidden states, keys and values on a mesh, or on one device when it is None."""
    from flax import nnx

    graphdef, _ = abstract(CONFIG, compute_dtype=jnp.float32, mesh=mesh, **options)
    params = init(CONFIG, 0, mesh, serving=serving)
    params = jax.tree.map(lambda x: x * 3, params)
    rng = np.random.default_rng(0)
    place = (lambda x: x) if mesh is None else (lambda x: jax.device_put(x, batch_sharding(mesh)))
    tokens_BT = place(jnp.asarray(rng.integers(0, CONFIG.vocab_size, (B, T)), jnp.int32))
    positions_BT = place(jnp.tile(jnp.arange(T, dtype=jnp.int32), (B, 1)))
    segments_BT = place(jnp.ones((B, T), jnp.int32))

    @jax.jit
    def loss(params: Any) -> jax.Array:
        transformer = nnx.merge(graphdef, params)
        hidden_BTD = transformer.hidden(tokens_BT, positions_BT, segments_BT)
        logprobs_BT, entropy_BT = transformer.token_logprobs(hidden_BTD, tokens_BT, chunk=4)
        return jnp.mean(logprobs_BT) + 0.1 * jnp.mean(entropy_BT)

    @jax.jit
    def prefill(params: Any) -> Any:
        return nnx.merge(graphdef, params).prefill(tokens_BT, positions_BT, segments_BT)

    # Nothing is trained in the serving layout.
    value, gradient = (loss(params), None) if serving else jax.value_and_grad(loss)(params)
    hidden_BTD, *keys_values = prefill(params)
    return {"loss": value, "gradient": gradient, "hidden": hidden_BTD, "keys": keys_values, "params": params}


def main(output: Path, kernel: str) -> None:
    """Compares and writes; "splash" as the second argument compares that kernel alone."""
    single = _run(None)
    mesh = make_mesh(2, 2, 2)
    meshed = _run(mesh, attention_kernel=kernel)
    serving = _run(mesh, serving=True)
    gate = meshed["params"]["layers"]["gate_LDF"][...]
    shard = gate.addressable_shards[0].data
    directory = output.parent / "export"
    save(directory, CONFIG, meshed["params"], shard_bytes=20_000)
    _, loaded = load(directory, mesh)
    result = {
        "devices": jax.device_count(),
        "shard_fraction": shard.size / gate.size,
        "loaded_as_initialised": jax.tree.all(
            jax.tree.map(lambda a, b: a.sharding == b.sharding, loaded, meshed["params"])
        ),
        "loaded": _difference(loaded, meshed["params"]),
        "files": len(list(directory.glob("*.safetensors"))),
        "gradient_scale": max(float(jnp.abs(x).max()) for x in jax.tree.leaves(single["gradient"])),
    }
    result["mesh gradient"] = _difference(meshed["gradient"], single["gradient"])
    for name, run in (("mesh", meshed), ("serving", serving)):
        for key in ("loss", "hidden", "keys", "params"):
            result[f"{name} {key}"] = _difference(run[key], single[key])
    output.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
