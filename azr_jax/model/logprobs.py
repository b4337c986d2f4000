"""Log-probabilities and entropy of given tokens, a chunk at a time, so that [B, T, V] never exists."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from azr_jax.model.sharding import PARAM_AXES, constrain


def chunked_logprobs(
    hidden_BTD: jax.Array,
    head_VD: jax.Array,
    targets_BT: jax.Array,
    chunk: int,
    temperature: float = 1.0,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, jax.Array]:
    """float32 (logprobs_BT of the targets, entropy_BT in nats) of softmax(hidden @ head.T / temperature).

    Rows stay whole (they are what a mesh splits); time is cut into chunks of `chunk` tokens, recomputed in the
    backward pass. Gradients flow to `hidden_BTD` and `head_VD`, and are summed over chunks in the head's own dtype.
    """
    B, T, D = hidden_BTD.shape
    chunk = min(chunk, T)
    pad = -T % chunk
    hidden_BTD = jnp.pad(hidden_BTD, ((0, 0), (0, pad), (0, 0)))
    targets_BT = jnp.pad(targets_BT, ((0, 0), (0, pad)))
    # C chunks of c tokens; the scanned axis leads.
    hidden_CBcD = jnp.swapaxes(hidden_BTD.reshape(B, -1, chunk, D), 0, 1)
    targets_CBc = jnp.swapaxes(targets_BT.reshape(B, -1, chunk), 0, 1)
    head_VD = constrain(head_VD, mesh, PARAM_AXES["head_VD"], gathered=True)

    @jax.checkpoint
    def one(hidden_BcD: jax.Array, targets_Bc: jax.Array, head_VD: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight_VD = head_VD.astype(hidden_BcD.dtype)
        logits_BcV = jnp.einsum("BcD,VD->BcV", hidden_BcD, weight_VD, preferred_element_type=jnp.float32)
        logits_BcV = constrain(logits_BcV / temperature, mesh, ("batch", "length", "vocab"))
        return token_statistics(logits_BcV, targets_Bc)

    def body(carry: None, inputs: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, jax.Array]]:
        return carry, one(*inputs, head_VD)

    _, (logprobs_CBc, entropy_CBc) = jax.lax.scan(body, None, (hidden_CBcD, targets_CBc))
    logprobs_BT, entropy_BT = (jnp.swapaxes(x, 0, 1).reshape(B, -1)[:, :T] for x in (logprobs_CBc, entropy_CBc))
    return logprobs_BT, entropy_BT


def token_statistics(logits_V: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log-probability of each target, entropy in nats) from float32 logits [..., V] and targets [...]."""
    normaliser = jax.nn.logsumexp(logits_V, axis=-1)
    # A one-hot sum and not a gather: the vocabulary axis may lie across devices.
    chosen_V = jax.lax.broadcasted_iota(jnp.int32, logits_V.shape, logits_V.ndim - 1) == targets[..., None]
    target_logit = jnp.sum(jnp.where(chosen_V, logits_V, 0.0), axis=-1)
    probabilities_V = jnp.exp(logits_V - normaliser[..., None])
    entropy = normaliser - jnp.sum(probabilities_V * logits_V, axis=-1)
    return target_logit - normaliser, entropy
