"""Qwen2.5-Coder-1.5B learns Racket on one RTX 4090, 24 GB.

Command: `python -m azr_jax.main --config=configs/qwen_1_5b.py --workdir=runs/qwen_1_5b`
Hardware: an RTX 4090 or two L4, 32 GiB of the host's memory; the weights in weights/Qwen2.5-Coder-1.5B.
Time and memory: 336 s a step, 22.2 of 22.4 GiB on an RTX 4090, by `plan` (docs/small_gpus.md). Not run by this project.
Expected: not known; the paper's results are those of the 3B.
"""

import ml_collections

from configs import qwen_0_5b


def get_config() -> ml_collections.ConfigDict:
    """As qwen_0_5b with shorter texts and a first moment of half the bytes: weights, sums and moments fill the card."""
    config = qwen_0_5b.get_config()
    config.model.path = "weights/Qwen2.5-Coder-1.5B"
    config.mesh.resting_state = "host"
    config.sampler.update({"max_prompt_tokens": 2048, "max_response_tokens": 2048, "prefill_tokens": 8192})
    config.learner.update({"row_tokens": 4096, "moment_dtype": "bfloat16"})
    return config
