"""A scan over layers whose weights' gradients are added, layer by layer, to given sums."""

from __future__ import annotations

import functools
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
    """`body(context, hidden, layer)` over the layers of `stacked`, whose gradient is returned as `sums` + gradient.

    With `jax.grad` alone a microbatch's whole gradient is in memory in addition to the sums. Here the sums are updated
    in place if the caller donates them. Each layer keeps its input and what the backward pass needs besides the weights
    (under jax.checkpoint, what its policy saves). `context` and `sums` have no gradient.
    """

    @jax.custom_vjp
    def run(context: Any, hidden: jax.Array, stacked: Weights, sums: Weights) -> jax.Array:
        del sums
        return jax.lax.scan(lambda hidden, layer: (body(context, hidden, layer), None), hidden, stacked)[0]

    def forward(context: Any, hidden: jax.Array, stacked: Weights, sums: Weights) -> tuple[jax.Array, Any]:
        def step(hidden: jax.Array, layer: Weights) -> Any:
            out, pull_back = jax.vjp(functools.partial(body, context), hidden, layer)
            return out, (hidden, _without(pull_back, (context, hidden, layer)))

        hidden, saved = jax.lax.scan(step, hidden, stacked)
        return hidden, (context, saved, stacked, sums)

    def backward(kept: Any, cotangent: jax.Array) -> tuple[None, jax.Array, Weights, None]:
        context, (inputs, pull_backs), stacked, sums = kept

        def step(carry: tuple[jax.Array, Weights], inputs_of_layer: tuple[jax.Array, Any, Weights, jax.Array]) -> Any:
            cotangent, sums = carry
            hidden, pull_back, layer, index = inputs_of_layer
            cotangent, gradients = pull_back((context, hidden, layer), cotangent)
            return (cotangent, {name: _add_at(sums[name], gradients[name], index) for name in sums}), None

        layers = (inputs, pull_backs, stacked, jnp.arange(len(inputs), dtype=jnp.int32))
        (cotangent, sums), _ = jax.lax.scan(step, (cotangent, sums), layers, reverse=True)
        return None, cotangent, sums, None

    run.defvjp(forward, backward)
    return run(context, hidden, stacked, sums)


def _without(pull_back: Any, given: Any) -> Callable[[Any, jax.Array], Any]:
    """`pull_back` of jax.vjp as a pytree without the arrays of `given`; each call takes them as arguments.

    If each layer kept them with its residuals, the weights would be copied.
    """
    leaves, structure = jax.tree.flatten(pull_back)
    places = {id(leaf): place for place, leaf in enumerate(jax.tree.leaves(given))}
    given_places = tuple(places.get(id(leaf)) for leaf in leaves)
    own = [leaf for leaf, place in zip(leaves, given_places, strict=True) if place is None]

    def call(own: list[jax.Array], given: Any, cotangent: jax.Array) -> Any:
        rest, again = iter(own), jax.tree.leaves(given)
        whole = [next(rest) if place is None else again[place] for place in given_places]
        return jax.tree.unflatten(structure, whole)(cotangent)

    return jax.tree_util.Partial(call, own)


def _add_at(sums: jax.Array, more: jax.Array, index: jax.Array) -> jax.Array:
    # Slices, not `.at[index].add`: a scatter.
    added = jax.lax.dynamic_index_in_dim(sums, index, keepdims=False) + more
    return jax.lax.dynamic_update_index_in_dim(sums, added, index, 0)
