"""Gradients added to sums in place: the same numbers as the plain gradient and an addition."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from azr_jax.model.accumulation import scan_adding
from azr_jax.model.transformer import Transformer

from .tiny import QWEN, rows

L, B, D = 3, 2, 8


def arrays(*shape: int, seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def body(context, hidden_BD, layer):
    return jnp.tanh(hidden_BD @ layer["w"] + context) + layer["b"]


def test_the_gradient_is_the_sums_and_what_it_really_is():
    stacked = {"w": arrays(L, D, D, seed=0), "b": arrays(L, D, seed=1)}
    sums = jax.tree.map(lambda x: 100 + x, stacked)
    context, hidden_BD = arrays(B, D, seed=2), arrays(B, D, seed=3)

    def plain(hidden_BD, stacked):
        return jnp.sum(jax.lax.scan(lambda h, layer: (body(context, h, layer), None), hidden_BD, stacked)[0] ** 2)

    def adding(hidden_BD, stacked):
        return jnp.sum(scan_adding(body, context, hidden_BD, stacked, sums) ** 2)

    assert adding(hidden_BD, stacked) == plain(hidden_BD, stacked)
    of_hidden, of_stacked = jax.jit(jax.grad(adding, argnums=(0, 1)))(hidden_BD, stacked)
    expected_hidden, expected = jax.jit(jax.grad(plain, argnums=(0, 1)))(hidden_BD, stacked)
    np.testing.assert_allclose(of_hidden, expected_hidden, rtol=1e-6)
    for name, sum_ in sums.items():
        np.testing.assert_allclose(of_stacked[name], sum_ + expected[name], rtol=1e-6)


def test_what_is_kept_of_each_layer_is_its_input_and_what_the_policy_says():
    """Weights and context that the backward pass needs are not kept again, layer by layer."""
    stacked = {"w": arrays(L, D, D, seed=0), "b": arrays(L, D, seed=1)}
    context, hidden_BD = arrays(B, D, seed=2), arrays(B, D, seed=3)

    def kept(policy) -> list[tuple[int, ...]]:
        block = jax.checkpoint(body, policy=policy, prevent_cse=False)
        loss = jax.grad(lambda stacked: jnp.sum(scan_adding(block, context, hidden_BD, stacked, stacked)))
        forward = next(eqn for eqn in jax.make_jaxpr(loss)(stacked).eqns if eqn.primitive.name == "scan")
        return [variable.aval.shape for variable in forward.outvars[1:]]

    assert kept(jax.checkpoint_policies.nothing_saveable) == [(L, B, D)]
    assert kept(jax.checkpoint_policies.dots_saveable) == [(L, B, D)] * 2


@pytest.mark.ci
@pytest.mark.parametrize("remat", ["full", "attention", "gate"])
def test_the_models_gradient_with_sums_is_the_one_without_and_the_sums(remat):
    model = Transformer(QWEN, rngs=nnx.Rngs(0), compute_dtype=jnp.float32, remat=remat)
    graphdef, params = nnx.split(model)
    sums = jax.tree.map(lambda x: jnp.full_like(x, 3.0), params)
    inputs = rows(QWEN, 2, 24)

    def loss(params, sums):
        model: Transformer = nnx.merge(graphdef, params)
        added = None if sums is None else nnx.merge(graphdef, sums).layers.stacked()
        return jnp.sum(model.hidden(*inputs, added) ** 2)

    plain, added = (jax.grad(loss)(params, given) for given in (None, sums))
    for name, gradient in added["layers"].items():
        np.testing.assert_allclose(gradient[...], plain["layers"][name][...] + 3.0, atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(added["embed_VD"][...], plain["embed_VD"][...], atol=1e-4, rtol=1e-5)
