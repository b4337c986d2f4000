"""A scan over layers whose weights' gradients are added, layer after layer, to sums that are there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Weights = dict[str, jax.Array]


def scan_adding(
    body: Callable[[Any, jax.Array, Weights], jax.Array],
    context: Any,
    hidden: jax.Array,
    stacked: Weights,
    sums: Weights,
) -> jax.Array:
    """`body(context, hidden, layer)` over the layers of `stacked`, whose gradient is `sums` plus what it really is.

    With `jax.grad` alone a microbatch's gradient lies in memory whole beside the sums that it is added to. Here the
    sums are updated in place when the caller donates them. Keeps the input of each layer and computes the rest again,
    as remat="full" does; `context` and `sums` have no gradient of their own.
    """

    @jax.custom_vjp
    def run(context: Any, hidden: jax.Array, stacked: Weights, sums: Weights) -> jax.Array:
        del sums
        return jax.lax.scan(lambda hidden, layer: (body(context, hidden, layer), None), hidden, stacked)[0]

    def forward(context: Any, hidden: jax.Array, stacked: Weights, sums: Weights) -> tuple[jax.Array, Any]:
        hidden, inputs = jax.lax.scan(lambda hidden, layer: (body(context, hidden, layer), hidden), hidden, stacked)
        return hidden, (context, inputs, stacked, sums)

    def backward(kept: Any, cotangent: jax.Array) -> tuple[None, jax.Array, Weights, None]:
        context, inputs, stacked, sums = kept

        def step(carry: tuple[jax.Array, Weights], layer_inputs: tuple[jax.Array, Weights, jax.Array]) -> Any:
            cotangent, sums = carry
            hidden, layer, index = layer_inputs
            _, pull_back = jax.vjp(lambda hidden, layer: body(context, hidden, layer), hidden, layer)
            cotangent, gradients = pull_back(cotangent)
            return (cotangent, {name: _add_at(sums[name], gradients[name], index) for name in sums}), None

        each = (inputs, stacked, jnp.arange(len(inputs), dtype=jnp.int32))
        (cotangent, sums), _ = jax.lax.scan(step, (cotangent, sums), each, reverse=True)
        return None, cotangent, sums, None

    run.defvjp(forward, backward)
    return run(context, hidden, stacked, sums)


def _add_at(sums: jax.Array, more: jax.Array, index: jax.Array) -> jax.Array:
    # Slices, not `.at[index].add`: a scatter.
    added = jax.lax.dynamic_index_in_dim(sums, index, keepdims=False) + more
    return jax.lax.dynamic_update_index_in_dim(sums, added, index, 0)
