"""The decoder: embedding, layers stacked on a leading axis and run by lax.scan, final norm, head.

Use: `graphdef, params = nnx.split(Transformer(config, rngs=nnx.Rngs(0)))` once (or `weights.load` and `abstract`), then
inside a jitted function `nnx.merge(graphdef, params).hidden(...)`. Every method is pure in the parameters.
Architecture after transformers' modeling_qwen2.py, modeling_qwen3.py and modeling_llama.py.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from azr_jax.model import attention
from azr_jax.model.accumulation import scan_adding
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.embedding import embed
from azr_jax.model.layer import (
    ATTENTION_NAMES,
    GATE_NAME,
    INIT_STD,
    MIDDLE_NAME,
    UP_NAME,
    Layer,
    decoder_layer,
    rms_norm,
    rope_angles,
)
from azr_jax.model.logprobs import chunked_logprobs, masked
from azr_jax.model.sharding import constrain

_KEPT_NAMES = (*ATTENTION_NAMES, MIDDLE_NAME)
# What the backward pass keeps of each layer besides its input, with the bytes per token and layer of the 3B in
# bfloat16. "full": nothing (4 KiB, the input); "attention": all up to the feed-forward (17 KiB), whose gate and up are
# recomputed; "gate": the gate too (39 KiB); "dots": every matrix product; "none": everything.
REMAT_POLICIES: dict[str, Any] = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "attention": attention.kept(*_KEPT_NAMES),
    "gate": attention.kept(*_KEPT_NAMES, GATE_NAME),
    # By their names too: of a product whose gradient is our own (layer._product) it is not told.
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(GATE_NAME, UP_NAME),
    ),
    "none": None,
}


class Transformer(nnx.Module):
    """Qwen2, Qwen3 or Llama decoder.

    Args:
      config: sizes and constants.
      rngs: `params` stream, for normal(0, 0.02) weights (biases 0, norms 1) as transformers does.
      dtype: of the parameters. compute_dtype: of activations and cache (norms, softmax and logits are float32).
      remat: a key of REMAT_POLICIES. attention_kernel: "auto" or a key of attention.KERNELS.
      mesh: pins activations and gathered weights to sharding.RULES; leave None on one device or inside shard_map.

    Raises:
      ValueError: an unknown remat or attention_kernel.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        rngs: nnx.Rngs,
        dtype: Any = jnp.float32,
        compute_dtype: Any = jnp.bfloat16,
        remat: str = "full",
        attention_kernel: str = "auto",
        mesh: Mesh | None = None,
    ) -> None:
        if remat not in REMAT_POLICIES:
            raise ValueError(f"remat={remat!r} is unknown; choose one of {sorted(REMAT_POLICIES)}")
        self.config = config
        self.compute_dtype = jnp.dtype(compute_dtype)
        self.remat = remat
        self.attention_kernel = attention.choose(attention_kernel, mesh)
        if attention_kernel == "auto" and self.attention_kernel == "cudnn" and self.compute_dtype == jnp.float32:
            self.attention_kernel = "xla"  # cuDNN's would compute in bfloat16
        self.mesh = mesh
        normal = nnx.initializers.normal(INIT_STD)
        table_VD = (config.vocab_size, config.embed_dim)
        self.embed_VD = nnx.Param(normal(rngs.params(), table_VD, dtype))
        self.layers = Layer(config, rngs=rngs, dtype=dtype)
        self.norm_D = nnx.Param(jnp.ones((config.embed_dim,), dtype))
        if not config.tie_embeddings:
            self.head_VD = nnx.Param(normal(rngs.params(), table_VD, dtype))

    def hidden(
        self,
        tokens_BT: jax.Array,
        positions_BT: jax.Array,
        segment_ids_BT: jax.Array,
        sums: dict[str, jax.Array] | None = None,
    ) -> jax.Array:
        """Final hidden states BTD (normed, ready for the head); attention is causal within equal segment ids.

        Segment id 0 is padding: its outputs are undefined and no other segment sees it. Positions feed RoPE only. With
        `sums`, shaped as `layers.stacked()`, the gradient of the layers' weights is `sums` plus their own (see
        `scan_adding`; not for remat="none", which would keep each layer's weights in the compute dtype too).
        """
        hidden_BTD, _ = self._forward(tokens_BT, positions_BT, segment_ids_BT, keep_keys=False, sums=sums)
        return hidden_BTD

    def prefill(
        self, tokens_BT: jax.Array, positions_BT: jax.Array, segment_ids_BT: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """`hidden`, and the keys and values LBTKH of every layer (for the sampler's caches)."""
        hidden_BTD, (key_LBTKH, value_LBTKH) = self._forward(tokens_BT, positions_BT, segment_ids_BT, keep_keys=True)
        return hidden_BTD, key_LBTKH, value_LBTKH

    def logits(self, hidden_D: jax.Array) -> jax.Array:
        """float32 logits [..., V] of hidden states [..., D] that `hidden` or `prefill` returned."""
        head_VD = self.head()[...].astype(hidden_D.dtype)
        logits_V = jnp.einsum("...D,VD->...V", hidden_D, head_VD, preferred_element_type=jnp.float32)
        return masked(logits_V, self.config.masked_ids)

    def token_logprobs(
        self, hidden_BTD: jax.Array, targets_BT: jax.Array, chunk: int = 512, temperature: float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """float32 (logprobs_BT of the targets, entropy_BT in nats) of softmax(logits / temperature).

        Computed `chunk` tokens of each row at a time and recomputed in the backward pass: [B, T, V] never exists.
        """
        return chunked_logprobs(
            hidden_BTD, self.head()[...], targets_BT, chunk, temperature, self.mesh, self.config.masked_ids
        )

    def head(self) -> nnx.Param[jax.Array]:
        """The head's weight VD: the embedding itself when tied."""
        return self.embed_VD if self.config.tie_embeddings else self.head_VD

    def _forward(
        self,
        tokens_BT: jax.Array,
        positions_BT: jax.Array,
        segment_ids_BT: jax.Array,
        keep_keys: bool,
        sums: dict[str, jax.Array] | None = None,
    ) -> tuple[jax.Array, Any]:
        context = (rope_angles(self.config, positions_BT), segment_ids_BT)
        # Between layers, where the backward pass keeps them, hidden states are split over tensor too.
        splits = not keep_keys and self.mesh is not None and tokens_BT.shape[1] % self.mesh.shape["tensor"] == 0
        between = ("batch", "sequence" if splits else "length", "activation")

        def layer_of(context: Any, hidden_BTD: jax.Array, layer: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
            angles, segment_ids_BT = context
            hidden_BTD = constrain(hidden_BTD, self.mesh, ("batch", "length", "activation"))
            attend = attention.within_segments(segment_ids_BT, self.attention_kernel, self.mesh)
            hidden_BTD, keys_values = decoder_layer(self.config, layer, hidden_BTD, angles, attend, self.mesh)
            return constrain(hidden_BTD, self.mesh, between), keys_values if keep_keys else None

        hidden_BTD = embed(self.embed_VD[...], tokens_BT, self.compute_dtype, self.mesh)
        hidden_BTD = constrain(hidden_BTD, self.mesh, between)
        body = layer_of
        if self.remat != "none":
            body = jax.checkpoint(layer_of, policy=REMAT_POLICIES[self.remat], prevent_cse=False)
        stacked = self.layers.stacked()
        if sums is not None:
            hidden_BTD, keys = scan_adding(lambda *inputs: body(*inputs)[0], context, hidden_BTD, stacked, sums), None
        else:
            hidden_BTD, keys = jax.lax.scan(functools.partial(body, context), hidden_BTD, stacked)
        return rms_norm(hidden_BTD, self.norm_D[...], self.config.rms_epsilon), keys


def abstract(config: ModelConfig, **options: Any) -> tuple[nnx.GraphDef[Transformer], nnx.State]:
    """(graphdef, parameter shapes) of `Transformer(config, **options)`, without making any array."""
    return nnx.split(nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0), **options)))
