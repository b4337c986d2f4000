"""The published Qwen2.5-Coder sizes, for planning and measuring without their weights."""

from __future__ import annotations

from azr_jax.model.configuration import ModelConfig


def _qwen(
    vocab: int, embed: int, ffn: int, layers: int, heads: int, kv_heads: int, head: int, tied: bool
) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab,
        embed_dim=embed,
        ffn_dim=ffn,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head,
        tie_embeddings=tied,
        bos_id=151643,
        eos_ids=(151643,),
    )


# The last part of the model's name -> the numbers of its config.json.
QWEN2_5_CODER: dict[str, ModelConfig] = {
    "Qwen2.5-Coder-0.5B": _qwen(151936, 896, 4864, 24, 14, 2, 64, True),
    "Qwen2.5-Coder-1.5B": _qwen(151936, 1536, 8960, 28, 12, 2, 128, True),
    "Qwen2.5-Coder-3B": _qwen(151936, 2048, 11008, 36, 16, 2, 128, True),
    "Qwen2.5-Coder-7B": _qwen(152064, 3584, 18944, 28, 28, 4, 128, False),
    "Qwen2.5-Coder-14B": _qwen(152064, 5120, 13824, 48, 40, 8, 128, False),
    "Qwen2.5-Coder-32B": _qwen(152064, 5120, 27648, 64, 40, 8, 128, False),
}
