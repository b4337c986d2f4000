"""Published models' sizes by name, for planning and measuring without their weights."""

from __future__ import annotations

from azr_jax.model.configuration import ModelConfig

# (vocabulary, embedding, feed-forward, layers, heads, key-value heads, head size, tied) of each config.json.
_QWEN2_5 = {
    "0.5B": (151936, 896, 4864, 24, 14, 2, 64, True),
    "1.5B": (151936, 1536, 8960, 28, 12, 2, 128, True),
    "3B": (151936, 2048, 11008, 36, 16, 2, 128, True),
    "7B": (152064, 3584, 18944, 28, 28, 4, 128, False),
    "14B": (152064, 5120, 13824, 48, 40, 8, 128, False),
    "32B": (152064, 5120, 27648, 64, 40, 8, 128, False),
}
_QWEN3 = {
    "0.6B": (151936, 1024, 3072, 28, 16, 8, 128, True),
    "1.7B": (151936, 2048, 6144, 28, 16, 8, 128, True),
    "4B": (151936, 2560, 9728, 36, 32, 8, 128, True),
    "8B": (151936, 4096, 12288, 36, 32, 8, 128, False),
    "14B": (151936, 5120, 17408, 40, 40, 8, 128, False),
    "32B": (151936, 5120, 25600, 64, 64, 8, 128, False),
}


def _qwen(family: str, numbers: tuple[int, int, int, int, int, int, int, bool]) -> ModelConfig:
    return ModelConfig(*numbers[:7], tie_embeddings=numbers[7], family=family, bos_id=151643, eos_ids=(151643,))


# The last part of the model's name -> the numbers of its config.json.
PUBLISHED: dict[str, ModelConfig] = {
    **{f"Qwen2.5-Coder-{size}": _qwen("qwen2", numbers) for size, numbers in _QWEN2_5.items()},
    **{f"Qwen2.5-{size}": _qwen("qwen2", numbers) for size, numbers in _QWEN2_5.items()},
    **{f"Qwen3-{size}": _qwen("qwen3", numbers) for size, numbers in _QWEN3.items()},
    "SmolLM2-135M": ModelConfig(
        *(49152, 576, 1536, 30, 9, 3, 64),
        rope_theta=100_000.0,
        rms_epsilon=1e-5,
        max_positions=8192,
        family="llama",
        bos_id=0,
        eos_ids=(0,),
    ),
}


def published(name: str) -> ModelConfig | None:
    """The sizes of a model by its name, with or without "-Base" or "-Instruct"; None if it is not known."""
    return PUBLISHED.get(name.removesuffix("-Base").removesuffix("-Instruct"))
