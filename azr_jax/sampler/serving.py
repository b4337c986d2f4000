"""The weights for the sampler's programs: by layer, and on a GPU with a buffer for each matrix of each layer.

XLA copies slices of stacked arrays, for cuBLAS in every step; separate buffers avoid that. On a GPU this costs nothing
extra: weights are cast from float32 anyway. On a CPU a pretrained model has them too, as a second copy while it
samples: slices took a tenth of its decode steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from azr_jax.model import attention
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.layer import decoder_layer, rms_norm, rope_angles, side_by_side
from azr_jax.model.logprobs import masked
from azr_jax.model.transformer import Transformer


@flax.struct.dataclass
class Weights:
    """Table, final norm, layers (dicts of one layer's weights) and head (None: tied), with methods that use them."""

    embed_VD: jax.Array
    norm_D: jax.Array
    layers: list[dict[str, jax.Array]]
    head_VD: jax.Array | None
    config: ModelConfig = flax.struct.field(pytree_node=False)
    compute_dtype: Any = flax.struct.field(pytree_node=False)
    kernel: str = flax.struct.field(pytree_node=False)
    mesh: Mesh | None = flax.struct.field(pytree_node=False)

    def embed(self, tokens: jax.Array) -> jax.Array:
        """Rows of the table, [..., D] in the compute dtype."""
        return jnp.take(self.embed_VD, tokens, axis=0).astype(self.compute_dtype)

    def final(self, hidden: jax.Array) -> jax.Array:
        """The last norm, [..., D]."""
        return rms_norm(hidden, self.norm_D, self.config.rms_epsilon)

    def logits(self, hidden_D: jax.Array) -> jax.Array:
        """float32 logits [..., V] of normed hidden states: products in the compute dtype, summed in float32."""
        head_VD = (self.embed_VD if self.head_VD is None else self.head_VD).astype(hidden_D.dtype)
        logits_V = jnp.einsum("...D,VD->...V", hidden_D, head_VD, preferred_element_type=jnp.float32)
        return masked(logits_V, self.config.masked_ids)


def of_model(model: Transformer) -> Weights:
    """The model's own arrays, a slice for each layer; inside a jitted function."""
    stacked = model.layers.stacked()
    return Weights(
        embed_VD=model.embed_VD[...],
        norm_D=model.norm_D[...],
        layers=[{name: weight[index] for name, weight in stacked.items()} for index in range(model.config.layers)],
        head_VD=None if model.config.tie_embeddings else model.head_VD[...],
        config=model.config,
        compute_dtype=model.compute_dtype,
        kernel=model.attention_kernel,
        mesh=model.mesh,
    )


def of_params(graphdef: nnx.GraphDef[Transformer], params: Any) -> Weights:
    """Parameters as a learner has them, or Weights as they are; inside a jitted function."""
    return params if isinstance(params, Weights) else of_model(nnx.merge(graphdef, params))


def unstacked(graphdef: nnx.GraphDef[Transformer], params: Any) -> Weights:
    """Weights in separate buffers, on one device with projections side by side; inside a jitted function."""
    weights = of_model(nnx.merge(graphdef, params))
    if weights.mesh is not None and weights.mesh.size > 1:
        return weights  # each projection's heads are split over the devices by themselves
    return dataclasses.replace(weights, layers=[side_by_side(layer) for layer in weights.layers])


def prefill(
    weights: Weights, tokens_BT: jax.Array, positions_BT: jax.Array, segment_ids_BT: jax.Array
) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
    """`Transformer.prefill` with the layers unrolled: (hidden BTD, keys, values), L arrays BTKH each."""
    angles = rope_angles(weights.config, positions_BT)
    attend = attention.within_segments(segment_ids_BT, weights.kernel, weights.mesh)
    hidden_BTD = weights.embed(tokens_BT)
    keys, values = [], []
    for layer in weights.layers:
        hidden_BTD, (key_BTKH, value_BTKH) = decoder_layer(
            weights.config, layer, hidden_BTD, angles, attend, weights.mesh
        )
        keys.append(key_BTKH)
        values.append(value_BTKH)
    return weights.final(hidden_BTD), keys, values
