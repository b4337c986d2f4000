"""Log-probabilities and entropy of given tokens, a chunk at a time, so that [B, T, V] never exists."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from azr_jax.model.sharding import PARAM_AXES, RULES, spec

NEVER = -1e30  # the logit of a masked id: finite, so that 0 times it is 0 and not NaN


def chunked_logprobs(
    hidden_BTD: jax.Array,
    head_VD: jax.Array,
    targets_BT: jax.Array,
    chunk: int,
    temperature: float = 1.0,
    mesh: Mesh | None = None,
    masked_ids: tuple[int, ...] = (),
) -> tuple[jax.Array, jax.Array]:
    """float32 (logprobs_BT of the targets, entropy_BT in nats) of softmax(hidden @ head.T / temperature).

    It excludes `masked_ids` (see `masked`).

    Rows stay whole (a mesh splits over them); time is cut into chunks of `chunk` tokens, whose logits the backward pass
    recomputes. Gradients flow to `hidden_BTD` and `head_VD`; the head's is summed over chunks in float32.
    """
    T = hidden_BTD.shape[1]
    chunk = min(chunk, T)
    pad = -T % chunk
    hidden_BTD = jnp.pad(hidden_BTD, ((0, 0), (0, pad), (0, 0)))
    targets_BT = jnp.pad(targets_BT, ((0, 0), (0, pad)))
    # One device needs no shard_map.
    mesh = mesh if mesh is not None and mesh.size > 1 else None
    # custom_vjp's result has no type of its own.
    outputs: Any = _logprobs(hidden_BTD, head_VD, targets_BT, chunk, temperature, mesh, masked_ids)
    logprobs_BT, entropy_BT = outputs
    return logprobs_BT[:, :T], entropy_BT[:, :T]


# The gradient is written by hand: with automatic differentiation and partitioning, each chunk all-reduces the whole
# head's gradient (28 times 1.2 GB for a row of 14,336 tokens of the 3B), and the gathered head is float32.
@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def _logprobs(
    hidden_BTD: jax.Array,
    head_VD: jax.Array,
    targets_BT: jax.Array,
    chunk: int,
    temperature: float,
    mesh: Mesh | None,
    masked_ids: tuple[int, ...],
) -> tuple[jax.Array, jax.Array]:
    return _forward(hidden_BTD, head_VD, targets_BT, chunk, temperature, mesh, masked_ids)[0]


def _forward(
    hidden_BTD: jax.Array,
    head_VD: jax.Array,
    targets_BT: jax.Array,
    chunk: int,
    temperature: float,
    mesh: Mesh | None,
    masked_ids: tuple[int, ...],
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, ...]]:
    """((logprobs_BT, entropy_BT), what the backward pass reads)."""
    local = _sharded(
        functools.partial(_local_forward, chunk, temperature, mesh, masked_ids),
        mesh,
        (_HIDDEN, _HEAD, _ROWS),
        (_ROWS,) * 3,
    )
    logprobs_BT, entropy_BT, normaliser_BT = local(hidden_BTD, head_VD, targets_BT)
    return (logprobs_BT, entropy_BT), (hidden_BTD, head_VD, targets_BT, entropy_BT, normaliser_BT)


def _backward(
    chunk: int,
    temperature: float,
    mesh: Mesh | None,
    masked_ids: tuple[int, ...],
    saved: tuple[jax.Array, ...],
    cotangents: tuple[jax.Array, ...],
) -> tuple[jax.Array, jax.Array, None]:
    local = _sharded(
        functools.partial(_local_backward, chunk, temperature, mesh, masked_ids),
        mesh,
        (_HIDDEN, _HEAD, *(_ROWS,) * 5),
        (_HIDDEN, _HEAD),
    )
    return *local(*saved, *cotangents), None


_logprobs.defvjp(_forward, _backward)

_PIECES = 16
_ROWS, _HIDDEN, _HEAD = P(RULES["batch"], None), P(RULES["batch"], None, None), spec(PARAM_AXES["head_VD"])


def _sharded(function: Callable[..., Any], mesh: Mesh | None, in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    if mesh is None:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _local_forward(
    chunk: int,
    temperature: float,
    mesh: Mesh | None,
    masked_ids: tuple[int, ...],
    hidden_BTD: jax.Array,
    head_VD: jax.Array,
    targets_BT: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(logprobs_BT, entropy_BT, log of the softmax's denominator BT) of a device's rows."""
    weight_VD = _gathered(head_VD.astype(hidden_BTD.dtype), mesh)

    def chunk_values(carry: None, inputs: tuple[jax.Array, jax.Array]) -> tuple[None, tuple[jax.Array, ...]]:
        hidden_BcD, targets_Bc = inputs
        logits_BcV = _logits(hidden_BcD, weight_VD, temperature, mesh, masked_ids)
        largest_Bc = _over_tensor(jax.lax.pmax, jnp.max(logits_BcV, axis=-1), mesh)
        exponentials_BcV = jnp.exp(logits_BcV - largest_Bc[..., None])
        total_Bc = _over_tensor(jax.lax.psum, jnp.sum(exponentials_BcV, axis=-1), mesh)
        normaliser_Bc = jnp.log(total_Bc) + largest_Bc
        # A one-hot sum and not a gather: the vocabulary may be sharded.
        chosen_BcV = _chosen(targets_Bc, logits_BcV, mesh)
        target_Bc = _over_tensor(jax.lax.psum, jnp.sum(jnp.where(chosen_BcV, logits_BcV, 0.0), axis=-1), mesh)
        # Not the normaliser minus the mean logit: a sum of about 20 loses many small terms to rounding, how many
        # depends on the shape, and the entropy is off by 1e-5.
        log_p_BcV = logits_BcV - normaliser_Bc[..., None]
        surprise_Bc = _over_tensor(jax.lax.psum, -jnp.sum(exponentials_BcV * log_p_BcV, axis=-1), mesh)
        return carry, (target_Bc - normaliser_Bc, surprise_Bc / total_Bc, normaliser_Bc)

    _, outputs = jax.lax.scan(chunk_values, None, (_chunks(hidden_BTD, chunk), _chunks(targets_BT, chunk)))
    return tuple(_joined(output) for output in outputs)  # pyright: ignore[reportReturnType]


def _local_backward(
    chunk: int,
    temperature: float,
    mesh: Mesh | None,
    masked_ids: tuple[int, ...],
    hidden_BTD: jax.Array,
    head_VD: jax.Array,
    targets_BT: jax.Array,
    entropy_BT: jax.Array,
    normaliser_BT: jax.Array,
    d_logprobs_BT: jax.Array,
    d_entropy_BT: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """(d_hidden_BTD, d_head_VD) of a device's rows and part of the head.

    With p = softmax(l): d logprob / d l_j = [j is the target] - p_j; d entropy / d l_j = -p_j (log p_j + entropy).
    """
    weight_VD = _gathered(head_VD.astype(hidden_BTD.dtype), mesh)

    def chunk_gradients(d_weight_VD: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        hidden_BcD, targets_Bc, entropy_Bc, normaliser_Bc, d_logprobs_Bc, d_entropy_Bc = inputs
        log_p_BcV = _logits(hidden_BcD, weight_VD, temperature, mesh, masked_ids) - normaliser_Bc[..., None]
        p_BcV = jnp.exp(log_p_BcV)
        chosen_BcV = _chosen(targets_Bc, log_p_BcV, mesh).astype(jnp.float32)
        d_logits_BcV = d_logprobs_Bc[..., None] * (chosen_BcV - p_BcV)
        d_logits_BcV -= d_entropy_Bc[..., None] * p_BcV * (log_p_BcV + entropy_Bc[..., None])
        d_logits_BcV = (d_logits_BcV / temperature).astype(hidden_BcD.dtype)
        d_hidden_BcD = jnp.einsum("BcV,VD->BcD", d_logits_BcV, weight_VD, preferred_element_type=jnp.float32)
        if hidden_BcD.dtype == jnp.float32:
            # The narrower factor first: XLA's CPU compiler transposes it, and can't in bfloat16 (0.10.2).
            d_weight_VD += jnp.einsum("BcD,BcV->DV", hidden_BcD, d_logits_BcV).T
        else:
            d_weight_VD += jnp.einsum("BcV,BcD->VD", d_logits_BcV, hidden_BcD, preferred_element_type=jnp.float32)
        return d_weight_VD, _over_tensor(jax.lax.psum, d_hidden_BcD, mesh).astype(hidden_BcD.dtype)

    inputs = (hidden_BTD, targets_BT, entropy_BT, normaliser_BT, d_logprobs_BT, d_entropy_BT)
    zeros_VD = jnp.zeros(weight_VD.shape, jnp.float32)
    d_weight_VD, d_hidden_CBcD = jax.lax.scan(
        chunk_gradients, zeros_VD, tuple(_chunks(array, chunk) for array in inputs)
    )
    d_hidden_BTD = _joined(d_hidden_CBcD)
    if mesh is None:
        return d_hidden_BTD, d_weight_VD.astype(head_VD.dtype)
    # The gradient of the layers waits for the head's; otherwise both would be in memory at the same time.
    return jax.lax.optimization_barrier((d_hidden_BTD, _parted(d_weight_VD).astype(head_VD.dtype)))


def _parted(whole_VD: jax.Array) -> jax.Array:
    """Each device's columns of the gradient, summed over data and fsdp.

    Some rows at a time: the TPU compiler reduces the whole and then slices, in a buffer as large as its input.
    """
    V, D = whole_VD.shape
    pieces = next(count for count in range(min(_PIECES, V), 0, -1) if V % count == 0)

    def reduced(piece_vD: jax.Array) -> jax.Array:
        piece_vD = jax.lax.psum_scatter(piece_vD, "fsdp", scatter_dimension=1, tiled=True)
        return jax.lax.psum(piece_vD, "data")

    return jax.lax.map(reduced, whole_VD.reshape(pieces, V // pieces, D)).reshape(V, -1)


def masked(logits_V: jax.Array, masked_ids: tuple[int, ...], first: int | jax.Array = 0) -> jax.Array:
    """float32 logits [..., V] with those of `masked_ids` at NEVER; `first` is the id that the last axis begins with."""
    if not masked_ids:
        return logits_V
    ids_V = jnp.arange(logits_V.shape[-1], dtype=jnp.int32) + first
    return jnp.where(jnp.isin(ids_V, jnp.asarray(masked_ids, jnp.int32)), NEVER, logits_V)


def _logits(
    hidden_BcD: jax.Array, weight_VD: jax.Array, temperature: float, mesh: Mesh | None, masked_ids: tuple[int, ...]
) -> jax.Array:
    logits_BcV = jnp.einsum("BcD,VD->BcV", hidden_BcD, weight_VD, preferred_element_type=jnp.float32) / temperature
    return masked(logits_BcV, masked_ids, _first_id(logits_BcV, mesh))


def _chosen(targets_Bc: jax.Array, logits_BcV: jax.Array, mesh: Mesh | None) -> jax.Array:
    """Where a device's part of the vocabulary is the target, bool BcV."""
    first = _first_id(logits_BcV, mesh)
    return jax.lax.broadcasted_iota(jnp.int32, logits_BcV.shape, 2) == (targets_Bc - first)[..., None]


def _first_id(logits_BcV: jax.Array, mesh: Mesh | None) -> int | jax.Array:
    """The id that a device's part of the vocabulary begins with."""
    return 0 if mesh is None else jax.lax.axis_index("tensor") * logits_BcV.shape[-1]


def _gathered(head_VD: jax.Array, mesh: Mesh | None) -> jax.Array:
    return head_VD if mesh is None else jax.lax.all_gather(head_VD, "fsdp", axis=1, tiled=True)


def _over_tensor(reduce: Callable[..., jax.Array], array: jax.Array, mesh: Mesh | None) -> jax.Array:
    return array if mesh is None else reduce(array, "tensor")


def _chunks(array_BT: jax.Array, chunk: int) -> jax.Array:
    """[B, T, ...] as [C, B, c, ...], for lax.scan."""
    B, T, *rest = array_BT.shape
    return jnp.swapaxes(array_BT.reshape(B, T // chunk, chunk, *rest), 0, 1)


def _joined(array_CBc: jax.Array) -> jax.Array:
    """[C, B, c, ...] as [B, T, ...]."""
    C, B, c, *rest = array_CBc.shape
    return jnp.swapaxes(array_CBc, 0, 1).reshape(B, C * c, *rest)
