"""Qwen2.5-Coder-0.5B learns Racket on one 24 GB GPU.

Command: `python -m azr_jax.main --config=configs/qwen_0_5b.py --workdir=runs/qwen_0_5b`
Hardware: one GPU of 24 GB (RTX 4090, L4); the weights in weights/Qwen2.5-Coder-0.5B.
Time and memory: 166 s a step, 20.7 of 22.4 GiB on an RTX 4090, by `plan` (docs/small_gpus.md). Not run by this project.
Expected: not known; the paper's results are those of the 3B.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """What we recommend, with prompts and responses of at most 4,096 tokens, 256 steps."""
    config = base.get_config()
    config.languages = ("racket",)
    config.steps = 256
    config.model.path = "weights/Qwen2.5-Coder-0.5B"
    config.sampler.update({"max_prompt_tokens": 4096, "max_response_tokens": 4096})
    config.learner.row_tokens = 8192
    return config
