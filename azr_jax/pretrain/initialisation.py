"""Starting weights of a small decoder that can copy from its context before it has learned anything.

Copying needs two layers that work together (an induction head: Olsson et al., arXiv 2209.11895): one writes each
token's predecessor to its place, the next looks for places whose predecessor is the current token. Random weights find
this pair late: on 2 cores, 3 million tokens of the corpus were not enough. Here half the heads start as such pairs, in
random subspaces; everything else starts at random, and all of it is trained.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.layer import rope_frequencies
from azr_jax.model.transformer import Transformer

MATRIX_SCALE = 2.5  # times transformers' 0.02: near 1 / sqrt(D) for D of a hundred or two
_POSITION_STRENGTH = 7.0
_POSITION_PAIRS = 4  # rotary pairs of the highest frequencies, which tell neighbours apart
_REACH = 3  # predecessors to match: one digit or space alone is ambiguous
_PREVIOUS_GAIN = 0.1
_MATCH_GAIN = 2.0
_COPY_GAIN = 0.3


def copying_weights(config: ModelConfig, seed: int) -> tuple[Any, Any]:
    """(graphdef, float32 parameters) of a Transformer with heads that copy; compute dtype float32.

    Raises:
      ValueError: grouped-query heads or a single layer, which have no room for such pairs of heads.
    """
    if config.kv_heads != config.heads or config.layers < 2:
        raise ValueError(
            f"pretrain.heads={config.heads}, kv_heads={config.kv_heads}, layers={config.layers}: copying heads need as"
            " many kv_heads as heads and two layers or more"
        )
    model = Transformer(config, rngs=nnx.Rngs(seed), compute_dtype=jnp.float32, remat="none")
    graphdef, params = nnx.split(model)
    scaled = jax.tree_util.tree_map_with_path(_scale, params)
    layers = scaled["layers"]
    arrays = {name: np.array(layers[name][...]) for name in layers}
    _place_heads(config, arrays, np.random.default_rng(seed))
    for name, array in arrays.items():
        layers[name][...] = jnp.asarray(array)
    return graphdef, scaled


def _scale(path: Any, leaf: jax.Array) -> jax.Array:
    name = jax.tree_util.keystr(path)
    return leaf if "norm" in name or "bias" in name else leaf * MATRIX_SCALE


def _place_heads(config: ModelConfig, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    D, H = config.embed_dim, config.head_dim
    reach = min(_REACH, config.heads, D // H - 1)
    read_DH = _orthonormal(rng, D, H)
    written = np.split(_orthonormal(rng, D, reach * H), reach, axis=1)
    # Layer 0, head i: look i + 1 tokens back by position alone, and write that token into a separate subspace.
    for head, write_DH in enumerate(written):
        _look_back(config, arrays, head, distance=head + 1)
        arrays["value_LDKH"][0, :, head] = read_DH
        arrays["output_LNHD"][0, head] = _PREVIOUS_GAIN * write_DH.T
    # Later layers: find where the predecessors are the current token and its predecessors, and copy the token there.
    # Head 0 matches one token, head 1 a run of `reach`; rotations keep the summands of one score apart.
    turns = [np.eye(H, dtype=np.float32), *(_orthonormal(rng, H, H) for _ in range(reach - 1))]
    for layer in range(1, config.layers):
        for head, order in enumerate((1, reach)[: config.heads]):
            copied_DH = _orthonormal(rng, D, H)
            wanted = [read_DH, *written][:order]
            query_DH = np.sum([part @ turn for part, turn in zip(wanted, turns, strict=False)], axis=0)
            key_DH = np.sum([part @ turn for part, turn in zip(written[:order], turns, strict=False)], axis=0)
            arrays["query_LDNH"][layer, :, head] = _MATCH_GAIN * query_DH
            arrays["key_LDKH"][layer, :, head] = _MATCH_GAIN * key_DH
            arrays["value_LDKH"][layer, :, head] = copied_DH
            arrays["output_LNHD"][layer, head] = _COPY_GAIN * copied_DH.T


def _look_back(config: ModelConfig, arrays: dict[str, np.ndarray], head: int, distance: int) -> None:
    """Makes a head of layer 0 attend to the token `distance` before, through rotary biases alone."""
    turned = distance * rope_frequencies(config)[:_POSITION_PAIRS]
    for name in ("query_LDNH", "key_LDKH"):
        arrays[name][0, :, head] = 0.0
    second = slice(config.head_dim // 2, config.head_dim // 2 + _POSITION_PAIRS)
    arrays["query_bias_LNH"][0, head, :_POSITION_PAIRS] = _POSITION_STRENGTH
    arrays["key_bias_LKH"][0, head, :_POSITION_PAIRS] = _POSITION_STRENGTH * np.cos(turned)
    arrays["key_bias_LKH"][0, head, second] = _POSITION_STRENGTH * np.sin(turned)


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0].astype(np.float32)
