"""`ModelConfig`: the numbers that make a Qwen2, Qwen3 or Llama decoder, to and from Hugging Face's config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """The differences between the supported decoders.

    All have RMS norm before attention and feed-forward, rotary embedding of the whole head, grouped queries, SwiGLU.

    Attributes:
      architecture: transformers' class.
      examples: models of the family, for messages.
      qkv_bias: the query, key and value projections add a bias.
      query_key_norms: each head's query and key have an RMS norm before they are rotated.
      head_dim, max_positions: transformers' defaults, for a config.json that leaves them out (0: embed_dim / heads).
      hf: keys of config.json that only this family has, as `to_hf` writes them.
    """

    architecture: str
    examples: str
    qkv_bias: bool = False
    query_key_norms: bool = False
    head_dim: int = 0
    max_positions: int = 32768
    hf: tuple[tuple[str, bool], ...] = ()


# config.json's model_type -> the family.
FAMILIES = {
    "qwen2": Family(
        "Qwen2ForCausalLM", "Qwen2, Qwen2.5, Qwen2.5-Coder", qkv_bias=True, hf=(("use_sliding_window", False),)
    ),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        "Qwen3 0.6B to 32B",
        query_key_norms=True,
        head_dim=128,
        hf=(("use_sliding_window", False), ("attention_bias", False)),
    ),
    "llama": Family(
        "LlamaForCausalLM",
        "Llama, SmolLM2, DeepSeek-Coder",
        max_positions=2048,
        hf=(("attention_bias", False), ("mlp_bias", False)),
    ),
}
# Why other well-known models are not supported, by the beginning of model_type; the first match counts.
_WHY_NOT = {
    "qwen2_moe": "its feed-forward is a mixture of experts",
    "qwen3_moe": "its feed-forward is a mixture of experts",
    "qwen3_next": "most of its layers have linear attention",
    "qwen3_5": "most of its layers have linear attention",
    "qwen2_vl": "it reads images too",
    "qwen2_5_vl": "it reads images too",
    "qwen3_vl": "it reads images too",
    "mixtral": "its feed-forward is a mixture of experts",
    "deepseek": "it has latent attention and a mixture of experts",
    "mistral": "its attention may slide over a window",
    "ministral": "its attention slides over a window",
    "gemma": "its norms, activation and embedding scale differ",
    "phi": "its projections are fused, and its rotary embedding is partial or scaled differently",
    "starcoder2": "it has layer norms with biases and a plain feed-forward",
    "gpt_oss": "its feed-forward is a mixture of experts, and its attention has sinks",
    "smollm3": "some of its layers have no rotary embedding",
    "olmo": "its norms stand elsewhere or have no weights",
    "granite": "its embeddings, residuals and logits are scaled",
    "cohere": "attention and feed-forward stand side by side, and it has layer norms",
    "gpt": "it has layer norms with biases and a plain feed-forward",
}

# transformers' own defaults: a config.json may leave out what equals them.
_DEFAULT_ROPE_THETA = 10000.0
_DEFAULT_RMS_EPSILON = 1e-6
_ROPE_SCALING_KEYS = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class LinearRopeScaling:
    """Positions divided by `factor` (DeepSeek-Coder; transformers' `_compute_linear_scaling_rope_parameters`)."""

    factor: float


@dataclasses.dataclass(frozen=True, slots=True)
class Llama3RopeScaling:
    """The "llama3" stretch of RoPE's wavelengths (Llama 3.1; transformers' `_compute_llama3_parameters`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Shape and constants of one decoder. Sizes in elements, `max_positions` in tokens.

    `masked_ids` are never sampled and have no part in any distribution; config.json lacks them.

    Raises:
      ValueError: heads that do not divide into kv_heads, an odd head_dim, an unknown family, or a size below 1.
    """

    vocab_size: int
    embed_dim: int
    ffn_dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float = 1_000_000.0
    rms_epsilon: float = 1e-6
    tie_embeddings: bool = True
    max_positions: int = 32768
    family: str = "qwen2"
    rope_scaling: LinearRopeScaling | Llama3RopeScaling | None = None
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    masked_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embed_dim", "ffn_dim", "layers", "heads", "kv_heads", "head_dim", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"ModelConfig.{name} is {getattr(self, name)}; it must be at least 1")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"ModelConfig.heads={self.heads} is not a multiple of kv_heads={self.kv_heads}; choose kv_heads among "
                f"{divisors(self.heads)}"
            )
        if self.head_dim % 2:
            raise ValueError(f"ModelConfig.head_dim={self.head_dim} is odd; rotary embedding needs an even head_dim")
        if self.family not in FAMILIES:
            raise ValueError(f"ModelConfig.family={self.family!r} is unknown; choose one of {sorted(FAMILIES)}")

    @property
    def qkv_bias(self) -> bool:
        """Whether the query, key and value projections add a bias."""
        return FAMILIES[self.family].qkv_bias

    @property
    def query_key_norms(self) -> bool:
        """Whether each head's query and key have an RMS norm."""
        return FAMILIES[self.family].query_key_norms

    @property
    def parameters(self) -> int:
        """Number of weights, the tied head counted once."""
        attention = self.embed_dim * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        bias = self.head_dim * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        norms = 2 * self.head_dim if self.query_key_norms else 0
        layer = attention + bias + norms + 3 * self.embed_dim * self.ffn_dim + 2 * self.embed_dim
        tables = self.vocab_size * self.embed_dim * (1 if self.tie_embeddings else 2)
        return self.layers * layer + tables + self.embed_dim

    def with_heads_for(self, tensor: int) -> ModelConfig:
        """As served by groups of `tensor` devices: more devices than key heads have a copy of a head each."""
        copied = tensor > self.kv_heads and not tensor % self.kv_heads and not self.heads % tensor
        return dataclasses.replace(self, kv_heads=tensor) if copied else self

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any]) -> ModelConfig:
        """Reads the mapping in a Hugging Face config.json, of transformers 4 (`rope_theta`) or 5 (`rope_parameters`).

        Raises:
          ValueError: naming the key, its value and the fix, for a model that this decoder would compute wrongly.
        """
        family = _family(hf)
        defaults = FAMILIES[family]
        _check_supported(hf, defaults)
        heads = _required(hf, "num_attention_heads")
        embed_dim = _required(hf, "hidden_size")
        head_dim = _number(hf, "head_dim", defaults.head_dim, int) or embed_dim // max(heads, 1)
        rope_theta, rope_scaling = _rope(hf)
        return cls(
            vocab_size=_required(hf, "vocab_size"),
            embed_dim=embed_dim,
            ffn_dim=_required(hf, "intermediate_size"),
            layers=_required(hf, "num_hidden_layers"),
            heads=heads,
            kv_heads=_number(hf, "num_key_value_heads", 0, int) or heads,
            head_dim=head_dim,
            rope_theta=rope_theta,
            rms_epsilon=_number(hf, "rms_norm_eps", _DEFAULT_RMS_EPSILON, float),
            tie_embeddings=_flag(hf, "tie_word_embeddings"),
            max_positions=_number(hf, "max_position_embeddings", defaults.max_positions, int),
            family=family,
            rope_scaling=rope_scaling,
            bos_id=_id(hf.get("bos_token_id"), "bos_token_id"),
            eos_ids=end_ids(hf.get("eos_token_id")),
        )

    def to_hf(self) -> dict[str, Any]:
        """The mapping for config.json; readable by transformers 4 and 5 and by `from_hf`, which gives back `self`."""
        hf: dict[str, Any] = {
            "architectures": [FAMILIES[self.family].architecture],
            "model_type": self.family,
            "vocab_size": self.vocab_size,
            "hidden_size": self.embed_dim,
            "intermediate_size": self.ffn_dim,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rope_theta": self.rope_theta,
            "rms_norm_eps": self.rms_epsilon,
            "tie_word_embeddings": self.tie_embeddings,
            "max_position_embeddings": self.max_positions,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "use_cache": True,
        }
        if self.bos_id is not None:
            hf["bos_token_id"] = self.bos_id
        if self.eos_ids:
            hf["eos_token_id"] = self.eos_ids[0] if len(self.eos_ids) == 1 else list(self.eos_ids)
        hf |= dict(FAMILIES[self.family].hf)
        if isinstance(self.rope_scaling, LinearRopeScaling):
            hf["rope_scaling"] = {"rope_type": "linear", "factor": self.rope_scaling.factor}
        elif self.rope_scaling is not None:
            hf["rope_scaling"] = {
                "rope_type": "llama3",
                "factor": self.rope_scaling.factor,
                "low_freq_factor": self.rope_scaling.low_freq_factor,
                "high_freq_factor": self.rope_scaling.high_freq_factor,
                "original_max_position_embeddings": self.rope_scaling.original_max_positions,
            }
        return hf


def divisors(number: int) -> list[int]:
    """Every positive divisor, ascending; for error messages that say which values would fit."""
    return [d for d in range(1, number + 1) if number % d == 0]


def end_ids(value: Any, file: str = "config.json") -> tuple[int, ...]:
    """The ids of an eos_token_id: null, one id or a list of them. Raises ValueError for anything else."""
    ids = [] if value is None else value if isinstance(value, list | tuple) else [value]
    checked = (_id(token_id, "eos_token_id", file) for token_id in ids)
    return tuple(token_id for token_id in checked if token_id is not None)


def _id(value: Any, key: str, file: str = "config.json") -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"{file}: {key} is {value!r:.60}; it must be a token's id: use the model's own {file}")
    return value


def _required(hf: Mapping[str, Any], key: str) -> int:
    if isinstance(hf.get(key), bool) or not isinstance(hf.get(key), int):
        raise ValueError(
            f"config.json: {key} is {hf.get(key)!r}; it must be an integer: use the model's own config.json"
        )
    return hf[key]


def _number(hf: Mapping[str, Any], key: str, default: float, kind: type[int] | type[float]) -> Any:
    """A number that may be left out or null."""
    value = default if hf.get(key) is None else hf[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300 or kind(value) != value:
        noun = "an integer" if kind is int else "a number"
        raise ValueError(f"config.json: {key} is {value!r:.60}; it must be {noun}: use the model's own config.json")
    return kind(value)


def _flag(hf: Mapping[str, Any], key: str) -> bool:
    if not isinstance(hf.get(key, False), bool | None):
        raise ValueError(f"config.json: {key} is {hf[key]!r:.60}; it must be true or false")
    return bool(hf.get(key, False))


def _family(hf: Mapping[str, Any]) -> str:
    family = hf.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        supported = "; ".join(f"{name} ({known.examples})" for name, known in FAMILIES.items())
        why = next((why for prefix, why in _WHY_NOT.items() if str(family).startswith(prefix)), "its layers differ")
        raise ValueError(
            f"config.json: model_type is {family!r:.60}, which is not supported ({why}); supported are {supported}: "
            "use a model of one of these"
        )
    architecture = FAMILIES[family].architecture
    architectures = hf.get("architectures") or [architecture]
    if list(architectures) != [architecture]:
        raise ValueError(
            f"config.json: architectures is {architectures!r}; supported is [{architecture!r}]: use the "
            "causal language model's directory"
        )
    return family


def _check_supported(hf: Mapping[str, Any], family: Family) -> None:
    supported = {
        "hidden_act": ("silu",),
        "use_sliding_window": (False, None),
        "attention_bias": (family.qkv_bias, None),
        "mlp_bias": (False, None),
        "quantization_config": (None,),
        "pretraining_tp": (1, None),
    }
    for key, allowed in supported.items():
        value = hf.get(key, allowed[0])
        if value not in allowed:
            raise ValueError(
                f"config.json: {key} is {value!r}; supported is {allowed[0]!r}: use a model without it (for "
                "quantised weights, the original bfloat16 ones)"
            )
    layer_types = hf.get("layer_types") or []
    other = [kind for kind in layer_types if kind != "full_attention"] if isinstance(layer_types, list) else layer_types
    if other:
        raise ValueError(
            f"config.json: layer_types holds {other!r:.60}; supported is 'full_attention' in every layer: "
            "use a model without sliding-window layers"
        )


def _rope(hf: Mapping[str, Any]) -> tuple[float, LinearRopeScaling | Llama3RopeScaling | None]:
    """(theta, scaling) from transformers 5's `rope_parameters` or 4's `rope_theta` and `rope_scaling`."""
    parameters, scaling = (hf.get(key) or {} for key in ("rope_parameters", "rope_scaling"))
    for key, value in (("rope_parameters", parameters), ("rope_scaling", scaling)):
        if not isinstance(value, Mapping):
            raise ValueError(f"config.json: {key} is {value!r:.60}; it must be an object or null")
    scaling = parameters or scaling
    theta = _number({"rope_theta": hf.get("rope_theta"), **parameters}, "rope_theta", _DEFAULT_ROPE_THETA, float)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if scaling.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError(
            f"config.json: partial_rotary_factor is {scaling['partial_rotary_factor']}; supported is 1.0: use a model "
            "that rotates the whole head"
        )
    if kind == "default":
        return theta, None
    if kind not in _ROPE_SCALING_KEYS:
        raise ValueError(
            f"config.json: rope_scaling type is {kind!r}; supported are none, 'linear', 'llama3': remove rope_scaling "
            "(and keep sequences within the original length) or use another model"
        )
    missing = [key for key in _ROPE_SCALING_KEYS[kind] if key not in scaling]
    if missing:
        raise ValueError(
            f"config.json: rope_scaling lacks {missing}; {kind!r} needs them: use the model's own config.json"
        )
    factor = _number(scaling, "factor", 0, float)
    if factor <= 0:
        raise ValueError(f"config.json: factor of rope_scaling is {factor}; it must be above 0: use the model's own")
    if kind == "linear":
        return theta, LinearRopeScaling(factor)
    return theta, Llama3RopeScaling(
        factor=factor,
        low_freq_factor=_number(scaling, "low_freq_factor", 0, float),
        high_freq_factor=_number(scaling, "high_freq_factor", 0, float),
        original_max_positions=_number(scaling, "original_max_position_embeddings", 0, int),
    )
