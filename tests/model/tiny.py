"""Small random models, in transformers and here, that the model's tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from flax import nnx

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.transformer import Transformer, abstract

QWEN = ModelConfig(
    vocab_size=160, embed_dim=32, ffn_dim=48, layers=3, heads=4, kv_heads=2, head_dim=8, eos_ids=(3,), max_positions=64
)


def torch_model(config: ModelConfig, seed: int = 0) -> Any:
    """A transformers model with every weight random, biases and norms included."""
    hf = config.to_hf()
    family = {
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "llama": transformers.LlamaConfig,
    }[config.family]
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(family.from_dict(hf), attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(1 + 0.3 * noise if "norm" in name else 0.2 * noise)
    return model.eval()


def write_torch(config: ModelConfig, path: Path, **save_options: Any) -> Any:
    """`torch_model` saved as a Hugging Face directory."""
    model = torch_model(config)
    model.save_pretrained(path, **save_options)
    return model


def build(config: ModelConfig, seed: int = 0, **options: Any) -> tuple[Any, nnx.State]:
    """(graphdef, params) with float32 compute and larger weights than the initial ones, so that errors show."""
    options = {"compute_dtype": jnp.float32, "attention_kernel": "xla"} | options
    graphdef, shapes = abstract(config, **options)
    keys = iter(jax.random.split(jax.random.key(seed), 64))

    def one(shape: jax.ShapeDtypeStruct) -> jax.Array:
        return 0.2 * jax.random.normal(next(keys), shape.shape, shape.dtype)

    return graphdef, jax.tree.map(one, shapes)


def merged(graphdef: Any, params: nnx.State) -> Transformer:
    """The module; inside or outside of a jitted function."""
    return nnx.merge(graphdef, params)


def rows(config: ModelConfig, B: int, T: int, seed: int = 0) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random (tokens_BT, positions_BT, segment_ids_BT) of one full segment a row."""
    tokens_BT = np.random.default_rng(seed).integers(0, config.vocab_size, (B, T))
    positions_BT = np.tile(np.arange(T), (B, 1))
    return (
        jnp.asarray(tokens_BT, jnp.int32),
        jnp.asarray(positions_BT, jnp.int32),
        jnp.ones((B, T), jnp.int32),
    )
