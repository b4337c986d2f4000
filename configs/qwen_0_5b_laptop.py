"""Qwen2.5-Coder-0.5B learns Racket on a laptop's 16 GB GPU.

Command: `python -m azr_jax.main --config=configs/qwen_0_5b_laptop.py --workdir=runs/qwen_0_5b_laptop`
Hardware: a laptop GPU of 16 GB (RTX 4090 Laptop); the weights in weights/Qwen2.5-Coder-0.5B.
Time and memory: 123 s a step, 14.0 of 14.9 GiB, by `plan` (docs/small_gpus.md). Not run by this project.
Expected: not known; the paper's results are those of the 3B.
"""

import ml_collections

from configs import qwen_0_5b


def get_config() -> ml_collections.ConfigDict:
    """As qwen_0_5b with shorter texts, half of the tasks and half of the estimation samples."""
    config = qwen_0_5b.get_config()
    config.selfplay.update({"batch_per_task": 32, "estimate_samples": 4})
    config.sampler.update({"max_prompt_tokens": 2048, "max_response_tokens": 2048, "prefill_tokens": 8192})
    config.learner.row_tokens = 4096
    return config
