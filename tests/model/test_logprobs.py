import jax
import jax.numpy as jnp
import numpy as np
import pytest

from azr_jax.model.logprobs import chunked_logprobs

from .tiny import QWEN, build, merged, rows

B, T, D, V = 2, 11, 8, 37


def _inputs():
    rng = np.random.default_rng(0)
    hidden_BTD = jnp.asarray(rng.normal(size=(B, T, D)), jnp.float32)
    head_VD = jnp.asarray(rng.normal(size=(V, D)), jnp.float32)
    return hidden_BTD, head_VD, jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32)


def _reference(hidden_BTD, head_VD, targets_BT, temperature):
    log_probs_BTV = jax.nn.log_softmax(hidden_BTD @ head_VD.T / temperature)
    logprobs_BT = jnp.take_along_axis(log_probs_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return logprobs_BT, -jnp.sum(jnp.exp(log_probs_BTV) * log_probs_BTV, axis=-1)


@pytest.mark.parametrize("chunk", [1, 4, 11, 512])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_and_gradients_equal_the_unchunked_ones(chunk, temperature):
    hidden_BTD, head_VD, targets_BT = _inputs()

    def total(function):
        def scalar(hidden_BTD, head_VD):
            logprobs_BT, entropy_BT = function(hidden_BTD, head_VD)
            return jnp.sum(logprobs_BT * jnp.arange(T)) + 0.3 * jnp.sum(entropy_BT**2)

        return scalar

    def chunked(h, w):
        return chunked_logprobs(h, w, targets_BT, chunk, temperature)

    def whole(h, w):
        return _reference(h, w, targets_BT, temperature)

    for ours, expected in zip(chunked(hidden_BTD, head_VD), whole(hidden_BTD, head_VD), strict=True):
        assert ours.shape == (B, T) and ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    ours = jax.grad(total(chunked), argnums=(0, 1))(hidden_BTD, head_VD)
    expected = jax.grad(total(whole), argnums=(0, 1))(hidden_BTD, head_VD)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.ci
def test_masked_ids_have_no_part_in_values_and_gradients():
    """As if the head had no rows for them; a masked target, as a prompt may hold, gives no NaN with weight 0."""
    hidden_BTD, head_VD, targets_BT = _inputs()
    kept = [v for v in range(V) if v not in (2, 5)]
    renumbered_BT = jnp.asarray(kept)[targets_BT % len(kept)]

    def ours(h, w):
        logprobs_BT, entropy_BT = chunked_logprobs(h, w, renumbered_BT, 4, 0.7, None, (2, 5))
        return jnp.sum(logprobs_BT * jnp.arange(T)) + 0.3 * jnp.sum(entropy_BT**2)

    def expected(h, w):
        logprobs_BT, entropy_BT = _reference(h, w[jnp.asarray(kept)], targets_BT % len(kept), 0.7)
        return jnp.sum(logprobs_BT * jnp.arange(T)) + 0.3 * jnp.sum(entropy_BT**2)

    for a, b in zip(
        jax.value_and_grad(ours, (0, 1))(hidden_BTD, head_VD),
        jax.value_and_grad(expected, (0, 1))(hidden_BTD, head_VD),
        strict=True,
    ):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-4), a, b)
    weights_BT = jnp.ones((B, T)).at[0, 0].set(0.0)
    masked_BT = renumbered_BT.at[0, 0].set(5)
    gradient = jax.grad(
        lambda h: jnp.sum(weights_BT * chunked_logprobs(h, head_VD, masked_BT, 4, 1.0, None, (2, 5))[0])
    )
    assert bool(jnp.all(jnp.isfinite(gradient(hidden_BTD))))


def test_uniform_logits_have_the_entropy_of_the_vocabulary():
    logprobs_BT, entropy_BT = chunked_logprobs(jnp.zeros((1, 3, D)), jnp.ones((V, D)), jnp.zeros((1, 3), jnp.int32), 2)
    np.testing.assert_allclose(entropy_BT, np.log(V), rtol=1e-6)
    np.testing.assert_allclose(logprobs_BT, -np.log(V), rtol=1e-6)


def test_logits_of_all_tokens_never_exist():
    B, T, chunk = 1, 1024, 32
    graphdef, params = build(QWEN)

    def loss(params, batch):
        transformer = merged(graphdef, params)
        logprobs_BT, entropy_BT = transformer.token_logprobs(jnp.ones((B, T, QWEN.embed_dim)), batch[0], chunk)
        return jnp.mean(logprobs_BT + entropy_BT)

    memory = jax.jit(jax.grad(loss)).lower(params, rows(QWEN, B, T)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < B * T * QWEN.vocab_size * 4


@pytest.mark.ci
def test_a_tied_embedding_gets_gradients_from_both_ends():
    graphdef, params = build(QWEN)
    tokens_BT, positions_BT, segments_BT = rows(QWEN, 2, 6)

    def loss(params, stop):
        transformer = merged(graphdef, params)
        hidden_BTD = transformer.hidden(tokens_BT, positions_BT, segments_BT)
        hidden_BTD = jax.lax.stop_gradient(hidden_BTD) if stop else hidden_BTD
        return jnp.mean(transformer.token_logprobs(hidden_BTD, tokens_BT, 4)[0])

    both, head = (jax.grad(loss)(params, stop)["embed_VD"][...] for stop in (False, True))
    assert float(jnp.abs(head).max()) > 0 and float(jnp.abs(both - head).max()) > 1e-3
