"""The decoder: embedding, layers stacked on a leading axis and run by lax.scan, final norm, head.

Use: `graphdef, params = nnx.split(Transformer(config, rngs=nnx.Rngs(0)))` once (or `weights.load` and `abstract`), then
inside a jitted function `nnx.merge(graphdef, params).hidden(...)`. Every method is pure in the parameters.
Architecture after transformers' modeling_qwen2.py and modeling_llama.py.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from azr_jax.model import attention
from azr_jax.model.accumulation import scan_adding
from azr_jax.model.cache import KVCache, init_cache, insert
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.embedding import embed
from azr_jax.model.layer import (
    GATE_NAME,
    INIT_STD,
    Layer,
    attention_inputs,
    attention_output,
    feed_forward,
    rms_norm,
    rope_angles,
)
from azr_jax.model.logprobs import chunked_logprobs
from azr_jax.model.sharding import constrain

__all__ = ["REMAT_POLICIES", "KVCache", "Transformer", "abstract", "init_cache", "insert"]

_ATTENTION_NAMES = ("query", "key", "value", "middle")
# What the backward pass keeps of each layer besides its input, and bytes of it a token and layer for the 3B in
# bfloat16: "full" nothing (4 KiB, the input); "attention" all up to the feed-forward (17 KiB), which then computes gate
# and up again; "gate" the gate too (39 KiB); "dots" every matrix product; "none" everything.
REMAT_POLICIES: dict[str, Any] = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "attention": attention.kept(*_ATTENTION_NAMES),
    "gate": attention.kept(*_ATTENTION_NAMES, GATE_NAME),
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "none": None,
}


class Transformer(nnx.Module):
    """Qwen2 or Llama decoder.

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

        Segment id 0 is padding: its outputs mean nothing and no other segment sees it. Positions feed RoPE only. With
        `sums`, shaped as `layers.stacked()`, the gradient of the layers' weights is `sums` plus their own (see
        `scan_adding`; not for remat="none", which would keep each layer's weights in the compute dtype too).
        """
        hidden_BTD, _ = self._forward(tokens_BT, positions_BT, segment_ids_BT, keep_keys=False, sums=sums)
        return hidden_BTD

    def prefill(
        self, tokens_BT: jax.Array, positions_BT: jax.Array, segment_ids_BT: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """`hidden`, and the keys and values LBTKH of every layer (for `cache.insert`)."""
        hidden_BTD, (key_LBTKH, value_LBTKH) = self._forward(tokens_BT, positions_BT, segment_ids_BT, keep_keys=True)
        return hidden_BTD, key_LBTKH, value_LBTKH

    def decode(self, tokens_B: jax.Array, positions_B: jax.Array, cache: KVCache) -> tuple[jax.Array, KVCache]:
        """One token a slot: writes its key and value at `positions_B`, attends to keys 0 .. positions_B.

        Returns the final hidden BD and the cache, updated in place when the caller donates it. Position t of slot s
        must hold token t of that row's sequence (one unpacked sequence a slot, from position 0). A position outside
        the cache writes nothing.
        """
        angles = rope_angles(self.config, positions_B)
        slots = jnp.arange(tokens_B.shape[0], dtype=jnp.int32)[:, None]
        kv_heads = jnp.arange(self.config.kv_heads, dtype=jnp.int32)[None, :]

        def body(carry: tuple[jax.Array, ...], stacked: tuple[dict[str, jax.Array], jax.Array]) -> Any:
            hidden_BD, cache_k, cache_v = carry
            layer, index = stacked
            query_BNH, key_BKH, value_BKH = attention_inputs(self.config, layer, hidden_BD, angles, self.mesh)
            # All four indices as points: a window over heads would copy the whole cache on a sharded device.
            at = (index, slots, kv_heads, positions_B[:, None])
            cache_k = cache_k.at[at].set(key_BKH.astype(cache_k.dtype), mode="drop")
            cache_v = cache_v.at[at].set(value_BKH.astype(cache_v.dtype), mode="drop")
            attended_BNH = attention.attend_cache(query_BNH, cache_k[index], cache_v[index], positions_B)
            hidden_BD = hidden_BD + attention_output(layer, attended_BNH.astype(hidden_BD.dtype), self.mesh)
            hidden_BD = hidden_BD + feed_forward(self.config, layer, hidden_BD, self.mesh)
            return (constrain(hidden_BD, self.mesh, ("batch", "activation")), cache_k, cache_v), None

        indices_L = jnp.arange(self.config.layers, dtype=jnp.int32)
        carry = (embed(self.embed_VD[...], tokens_B, self.compute_dtype, self.mesh), cache.k, cache.v)
        (hidden_BD, k, v), _ = jax.lax.scan(body, carry, (self.layers.stacked(), indices_L))
        return rms_norm(hidden_BD, self.norm_D[...], self.config.rms_epsilon), KVCache(k=k, v=v)

    def logits(self, hidden_D: jax.Array) -> jax.Array:
        """float32 logits [..., V] of hidden states [..., D] that `hidden`, `prefill` or `decode` returned."""
        head_VD = self.head()[...].astype(hidden_D.dtype)
        return jnp.einsum("...D,VD->...V", hidden_D, head_VD, preferred_element_type=jnp.float32)

    def token_logprobs(
        self, hidden_BTD: jax.Array, targets_BT: jax.Array, chunk: int = 512, temperature: float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """float32 (logprobs_BT of the targets, entropy_BT in nats) of softmax(logits / temperature).

        Computed `chunk` tokens of each row at a time and recomputed in the backward pass: [B, T, V] never exists.
        """
        return chunked_logprobs(hidden_BTD, self.head()[...], targets_BT, chunk, temperature, self.mesh)

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
        # Between layers, where a backward pass keeps them, hidden states are split over tensor too; in a layer not.
        splits = not keep_keys and self.mesh is not None and tokens_BT.shape[1] % self.mesh.shape["tensor"] == 0
        between = ("batch", "sequence" if splits else "length", "activation")

        def layer_of(context: Any, hidden_BTD: jax.Array, layer: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
            angles, segment_ids_BT = context
            hidden_BTD = constrain(hidden_BTD, self.mesh, ("batch", "length", "activation"))
            inputs = attention_inputs(self.config, layer, hidden_BTD, angles, self.mesh)
            query_BTNH, key_BTKH, value_BTKH = (
                checkpoint_name(array, name) for array, name in zip(inputs, _ATTENTION_NAMES, strict=False)
            )
            attended_BTNH = attention.attend(
                query_BTNH, key_BTKH, value_BTKH, segment_ids_BT, self.attention_kernel, self.mesh
            )
            hidden_BTD = hidden_BTD + attention_output(layer, attended_BTNH, self.mesh)
            hidden_BTD = checkpoint_name(hidden_BTD, "middle")
            hidden_BTD = hidden_BTD + feed_forward(self.config, layer, hidden_BTD, self.mesh)
            hidden_BTD = constrain(hidden_BTD, self.mesh, between)
            return hidden_BTD, (key_BTKH, value_BTKH) if keep_keys else None

        hidden_BTD = embed(self.embed_VD[...], tokens_BT, self.compute_dtype, self.mesh)
        hidden_BTD = constrain(hidden_BTD, self.mesh, between)
        body = layer_of
        if self.remat != "none":
            body = jax.checkpoint(layer_of, policy=REMAT_POLICIES[self.remat], prevent_cse=False)
        stacked = self.layers.stacked()
        if sums is not None:
            hidden_BTD, keys = scan_adding(lambda *one: body(*one)[0], context, hidden_BTD, stacked, sums), None
        else:
            hidden_BTD, keys = jax.lax.scan(functools.partial(body, context), hidden_BTD, stacked)
        return rms_norm(hidden_BTD, self.norm_D[...], self.config.rms_epsilon), keys


def abstract(config: ModelConfig, **options: Any) -> tuple[nnx.GraphDef[Transformer], nnx.State]:
    """(graphdef, parameter shapes) of `Transformer(config, **options)`, without making any array."""
    return nnx.split(nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0), **options)))
