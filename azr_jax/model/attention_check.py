"""The chosen attention kernel against plain XLA, on the device that will run it: a wrong kernel is an error at start.

Some versions of libraries had silently wrong kernels, or left NaN in entries that they do not write; training would
drift without an error. The check takes seconds, most of them compiling.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from azr_jax.model import attention
from azr_jax.model.configuration import ModelConfig

_TOKENS = 512
_BOUNDS = (0, 200, 203, 450)  # of three segments; the rest is padding
_TOLERANCE = 0.05  # bfloat16 gives some thousandths


def errors(config: ModelConfig, dtype: Any, kernel: str) -> dict[str, float]:
    """Largest differences of output and gradients on a packed row, each over the reference's largest value.

    Keys: out, query, key, value. Raises RuntimeError if one is beyond what bfloat16 explains, or not a number.
    """
    keys = jax.random.split(jax.random.key(0), 4)
    heads = (config.heads, config.kv_heads, config.kv_heads)
    arrays = [
        jax.random.normal(key, (1, _TOKENS, n, config.head_dim), dtype) for key, n in zip(keys[:3], heads, strict=True)
    ]
    weight = jax.random.normal(keys[3], arrays[0].shape, jnp.float32)
    ids_BT = np.zeros((1, _TOKENS), np.int32)
    for number in range(3):
        ids_BT[0, _BOUNDS[number] : _BOUNDS[number + 1]] = number + 1

    def gradients(implementation: str) -> tuple[jax.Array, ...]:
        def total(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
            out = attention.attend(query, key, value, jnp.asarray(ids_BT), implementation)
            out = jnp.where((ids_BT > 0)[:, :, None, None], out.astype(jnp.float32), 0.0)
            return (out * weight).sum(), out

        gradient, out = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(*arrays)
        return out, *gradient

    relative = {}
    for name, ours, theirs in zip(("out", "query", "key", "value"), gradients(kernel), gradients("xla"), strict=True):
        ours, theirs = (np.asarray(array, np.float32) for array in (ours, theirs))
        relative[name] = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not max(relative.values(), key=lambda error: np.inf if np.isnan(error) else error) < _TOLERANCE:
        raise RuntimeError(
            f"attention kernel {kernel!r} differs from plain XLA on this device, relative errors {relative}: set"
            " model.attention='xla', or use another version of jax or of the kernel's library"
        )
    return relative
