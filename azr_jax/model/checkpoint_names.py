"""Which tensor of a Hugging Face file is which parameter: names, shapes and the change of layout between them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np

from azr_jax.model.configuration import ModelConfig
from azr_jax.model.layer import layer_shapes

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"

# Buffers that older exports carry and that config.json determines.
IGNORED = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")

_LAYER_NAMES = {
    "attention_norm_LD": "input_layernorm.weight",
    "query_LDNH": "self_attn.q_proj.weight",
    "query_bias_LNH": "self_attn.q_proj.bias",
    "key_LDKH": "self_attn.k_proj.weight",
    "key_bias_LKH": "self_attn.k_proj.bias",
    "value_LDKH": "self_attn.v_proj.weight",
    "value_bias_LKH": "self_attn.v_proj.bias",
    "query_norm_LH": "self_attn.q_norm.weight",
    "key_norm_LH": "self_attn.k_norm.weight",
    "output_LNHD": "self_attn.o_proj.weight",
    "ffn_norm_LD": "post_attention_layernorm.weight",
    "gate_LDF": "mlp.gate_proj.weight",
    "up_LDF": "mlp.up_proj.weight",
    "down_LFD": "mlp.down_proj.weight",
}


@dataclasses.dataclass(frozen=True, slots=True)
class FileTensor:
    """One tensor of a file: `shape` there, and the parameter (of which `layer`, when stacked) it belongs to.

    Linear weights are [out, in] in a file and [in, out] here, with the heads axis split in two.
    """

    name: str
    shape: tuple[int, ...]
    parameter: str
    layer: int | None
    parameter_shape: tuple[int, ...]
    transposed: bool

    def to_parameter(self, tensor: np.ndarray) -> np.ndarray:
        """From the file's layout to one layer of the parameter (a view where NumPy can)."""
        return (tensor.T if self.transposed else tensor).reshape(self.parameter_shape)

    def from_parameter(self, weight: np.ndarray) -> np.ndarray:
        """The inverse of `to_parameter`, contiguous as a file needs it."""
        if self.transposed:
            return np.ascontiguousarray(weight.reshape(self.shape[::-1]).T)
        return np.ascontiguousarray(weight.reshape(self.shape))


def file_tensors(config: ModelConfig) -> Iterator[FileTensor]:
    """Every tensor of the model's files, in the order of the layers; a tied head is not stored."""
    table = (config.vocab_size, config.embed_dim)
    yield FileTensor(EMBEDDING, table, "embed_VD", None, table, transposed=False)
    shapes = layer_shapes(config)
    for layer in range(config.layers):
        for parameter, suffix in _LAYER_NAMES.items():
            if parameter not in shapes:
                continue
            shape = shapes[parameter][1:]
            name = f"model.layers.{layer}.{suffix}"
            if parameter == "output_LNHD":
                inner, outer = config.heads * config.head_dim, config.embed_dim
            elif "bias" in parameter or "norm" in parameter:
                yield FileTensor(name, (int(np.prod(shape)),), parameter, layer, shape, transposed=False)
                continue
            else:
                inner, outer = shape[0], int(np.prod(shape[1:]))
            yield FileTensor(name, (outer, inner), parameter, layer, shape, transposed=True)
    yield FileTensor("model.norm.weight", (config.embed_dim,), "norm_D", None, (config.embed_dim,), transposed=False)
    if not config.tie_embeddings:
        yield FileTensor(HEAD, table, "head_VD", None, table, transposed=False)
