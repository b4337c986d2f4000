"""One decoder layer, written once for training, prefill and decoding, and the module that holds all layers, stacked.

What attention reads is the caller's choice: `decoder_layer` takes a function for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from azr_jax.model.configuration import LinearRopeScaling, ModelConfig
from azr_jax.model.sharding import PARAM_AXES, gathered

INIT_STD = 0.02  # transformers' initializer_range
# Checkpoint names of what a remat policy may keep of a layer: what attention reads, its sum with the input, gate, up.
ATTENTION_NAMES = ("query", "key", "value")
MIDDLE_NAME = "middle"
GATE_NAME, UP_NAME = "gate", "up"

# From (query [..., N, H], key [..., K, H], value [..., K, H]) to (attended [..., N, H], what the caller keeps).
Attend = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, Any]]


class Layer(nnx.Module):
    """The weights of all layers, stacked on a leading L axis; names end in the stacked shape."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, dtype: Any) -> None:
        normal = nnx.initializers.normal(INIT_STD)
        sizes = layer_shapes(config)
        for name, shape in sizes.items():
            if "norm" in name:
                weight = jnp.ones(shape, dtype)
            elif "bias" in name:
                weight = jnp.zeros(shape, dtype)
            else:
                weight = normal(rngs.params(), shape, dtype)
            setattr(self, name, nnx.Param(weight))

    def stacked(self) -> dict[str, jax.Array]:
        """Every weight by name, for lax.scan to slice along L."""
        return {name: getattr(self, name)[...] for name in PARAM_AXES if hasattr(self, name)}


def layer_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name to shape of every stacked weight."""
    L, D, F, N, K, H = (
        config.layers,
        config.embed_dim,
        config.ffn_dim,
        config.heads,
        config.kv_heads,
        config.head_dim,
    )
    shapes = {
        "attention_norm_LD": (L, D),
        "query_LDNH": (L, D, N, H),
        "key_LDKH": (L, D, K, H),
        "value_LDKH": (L, D, K, H),
        "output_LNHD": (L, N, H, D),
        "ffn_norm_LD": (L, D),
        "gate_LDF": (L, D, F),
        "up_LDF": (L, D, F),
        "down_LFD": (L, F, D),
    }
    if config.qkv_bias:
        shapes |= {"query_bias_LNH": (L, N, H), "key_bias_LKH": (L, K, H), "value_bias_LKH": (L, K, H)}
    if config.query_key_norms:
        shapes |= {"query_norm_LH": (L, H), "key_norm_LH": (L, H)}
    return shapes


def rms_norm(hidden: jax.Array, scale_D: jax.Array, epsilon: float) -> jax.Array:
    """Computes x / sqrt(mean(x ** 2) + epsilon) * scale in float32, back in the input's dtype; [..., D]."""
    hidden32 = hidden.astype(jnp.float32)
    variance = jnp.mean(jnp.square(hidden32), axis=-1, keepdims=True)
    return (hidden32 * jax.lax.rsqrt(variance + epsilon) * scale_D.astype(jnp.float32)).astype(hidden.dtype)


def rope_angles(config: ModelConfig, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """float32 (cos, sin) of position * frequency, [..., H / 2]."""
    angles = positions[..., None].astype(jnp.float32) * jnp.asarray(rope_frequencies(config), jnp.float32)
    return jnp.cos(angles), jnp.sin(angles)


def rope_frequencies(config: ModelConfig) -> np.ndarray:
    """Angular frequencies theta ** (-2i / H), stretched as the model says (transformers' modeling_rope_utils.py)."""
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies = (np.float32(1.0) / np.float32(config.rope_theta) ** exponents).astype(np.float32)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    if isinstance(scaling, LinearRopeScaling):
        return (frequencies / np.float32(scaling.factor)).astype(np.float32)
    wavelengths = 2 * np.pi / frequencies
    low_wavelength = scaling.original_max_positions / scaling.low_freq_factor
    high_wavelength = scaling.original_max_positions / scaling.high_freq_factor
    stretched = np.where(wavelengths > low_wavelength, frequencies / scaling.factor, frequencies)
    smooth = (scaling.original_max_positions / wavelengths - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    smoothed = (1 - smooth) * stretched / scaling.factor + smooth * stretched
    between = (wavelengths <= low_wavelength) & (wavelengths >= high_wavelength)
    return np.where(between, smoothed, stretched).astype(np.float32)


def rotate(heads: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """RoPE, half-rotation convention (Hugging Face's): pairs (i, i + H / 2). heads [..., N, H]; float32 inside."""
    cos, sin = (angle[..., None, :] for angle in angles)
    first, second = jnp.split(heads.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1).astype(heads.dtype)


def decoder_layer(
    config: ModelConfig,
    layer: dict[str, jax.Array],
    hidden: jax.Array,
    angles: tuple[jax.Array, jax.Array],
    attend: Attend,
    mesh: Mesh | None,
) -> tuple[jax.Array, Any]:
    """Attention and feed-forward, each added to the hidden states [..., D].

    `layer` holds one layer's weights, `angles` is `rope_angles` of the positions. Returns the new hidden states and
    what `attend` returned besides its output: nothing, the keys and values, or the updated cache.
    """
    inputs = attention_inputs(config, layer, hidden, angles, mesh)
    query, key, value = (checkpoint_name(array, name) for array, name in zip(inputs, ATTENTION_NAMES, strict=True))
    attended, kept = attend(query, key, value)
    hidden = hidden + attention_output(layer, attended.astype(hidden.dtype), mesh)
    hidden = checkpoint_name(hidden, MIDDLE_NAME)
    return hidden + feed_forward(config, layer, hidden, mesh), kept


def attention_inputs(
    config: ModelConfig,
    layer: dict[str, jax.Array],
    hidden: jax.Array,
    angles: tuple[jax.Array, jax.Array],
    mesh: Mesh | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normed and projected (query [..., N, H], key [..., K, H], value [..., K, H]); query and key rotated.

    `layer` may hold the three projections side by side, as `side_by_side` makes them.
    """
    normed = rms_norm(hidden, layer["attention_norm_LD"], config.rms_epsilon)

    def project(name: str, bias: str) -> jax.Array:
        heads = jnp.einsum("...D,DNH->...NH", normed, _use(layer, name, hidden.dtype, mesh))
        return heads + layer[bias].astype(heads.dtype) if bias in layer else heads

    def rotated(heads: jax.Array, norm: str) -> jax.Array:
        return rotate(rms_norm(heads, layer[norm], config.rms_epsilon) if norm in layer else heads, angles)

    if "heads_XD" in layer:
        heads = jnp.einsum("...D,XD->...X", normed, layer["heads_XD"].astype(hidden.dtype))
        heads = heads.reshape(*heads.shape[:-1], -1, config.head_dim)
        if "heads_bias_AH" in layer:
            heads = heads + layer["heads_bias_AH"].astype(heads.dtype)
        query, key, value = jnp.split(heads, (config.heads, config.heads + config.kv_heads), axis=-2)
        return rotated(query, "query_norm_LH"), rotated(key, "key_norm_LH"), value
    query = rotated(project("query_LDNH", "query_bias_LNH"), "query_norm_LH")
    key = rotated(project("key_LDKH", "key_bias_LKH"), "key_norm_LH")
    return query, key, project("value_LDKH", "value_bias_LKH")


def attention_output(layer: dict[str, jax.Array], attended: jax.Array, mesh: Mesh | None) -> jax.Array:
    """[..., N, H] to [..., D]."""
    if "output_DX" in layer:
        joined = attended.reshape(*attended.shape[:-2], -1)
        return jnp.einsum("...X,DX->...D", joined, layer["output_DX"].astype(attended.dtype))
    return jnp.einsum("...NH,NHD->...D", attended, _use(layer, "output_LNHD", attended.dtype, mesh))


def feed_forward(config: ModelConfig, layer: dict[str, jax.Array], hidden: jax.Array, mesh: Mesh | None) -> jax.Array:
    """SwiGLU of the normed hidden states: down(silu(gate(x)) * up(x)), [..., D] to [..., D]."""
    normed = rms_norm(hidden, layer["ffn_norm_LD"], config.rms_epsilon)
    if "gate_up_XD" in layer:
        both = jnp.einsum("...D,XD->...X", normed, layer["gate_up_XD"].astype(hidden.dtype))
        gate, up = jnp.split(both, 2, axis=-1)
        activated = jax.nn.silu(gate) * up
        return jnp.einsum("...F,DF->...D", activated, layer["down_DF"].astype(hidden.dtype))
    gate = _product(normed, _use(layer, "gate_LDF", hidden.dtype, mesh))
    up = _product(normed, _use(layer, "up_LDF", hidden.dtype, mesh))
    gate, up = checkpoint_name(gate, GATE_NAME), checkpoint_name(up, UP_NAME)
    return _product(jax.nn.silu(gate) * up, _use(layer, "down_LFD", hidden.dtype, mesh))


# The gradient is written by hand, with the narrower factor first: XLA's CPU compiler transposes it (0.10.2), and the
# feed-forward's wide activations took an eighth of an update's time to transpose.
@jax.custom_vjp
def _product(inputs: jax.Array, weight_XY: jax.Array) -> jax.Array:
    """`inputs` [..., X] times the weight, [..., Y]."""
    return jnp.einsum("...X,XY->...Y", inputs, weight_XY)


def _product_forward(inputs: jax.Array, weight_XY: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _product(inputs, weight_XY), (inputs, weight_XY)


def _product_backward(saved: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    inputs, weight_XY = saved
    d_inputs = jnp.einsum("...Y,XY->...X", cotangent, weight_XY)
    X, Y = weight_XY.shape
    if X > Y:
        return d_inputs, jnp.einsum("...Y,...X->YX", cotangent, inputs).T
    return d_inputs, jnp.einsum("...X,...Y->XY", inputs, cotangent)


_product.defvjp(_product_forward, _product_backward)


def side_by_side(layer: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """One layer's weights with query, key and value in one matrix, and gate and up: fewer, larger products.

    A decode step has few rows, so that each product costs at least its launch; the key's and value's alone are a
    hundredth of a layer. Inputs are the last axis of every matrix: with few rows a CPU reads it in order then. For
    weights that are not sharded.
    """
    kept = {name: weight for name, weight in layer.items() if "norm" in name}
    D = layer["down_LFD"].shape[-1]
    heads = [layer[name].reshape(D, -1).T for name in ("query_LDNH", "key_LDKH", "value_LDKH")]
    kept["heads_XD"] = jnp.concatenate(heads)
    if "query_bias_LNH" in layer:
        names = ("query_bias_LNH", "key_bias_LKH", "value_bias_LKH")
        kept["heads_bias_AH"] = jnp.concatenate([layer[name] for name in names])
    kept["output_DX"] = layer["output_LNHD"].reshape(-1, D).T
    kept["gate_up_XD"] = jnp.concatenate((layer["gate_LDF"].T, layer["up_LDF"].T))
    kept["down_DF"] = layer["down_LFD"].T
    return kept


def _use(layer: dict[str, jax.Array], name: str, dtype: Any, mesh: Mesh | None) -> jax.Array:
    """One layer's weight in the compute dtype, gathered over fsdp after the cast (half the bytes on the wire)."""
    return gathered(layer[name].astype(dtype), mesh, PARAM_AXES[name][1:])
