"""SmolLM2-135M-Instruct, a real pretrained model, plays Python on two CPU cores.

Command: `make setup-smollm2` (once), then `python -m azr_jax.main --config=configs/smollm2.py`
Hardware: 2 CPU cores, 10 GiB of memory.
Time: about 50 s a step, 70 of the processors' time.
Expected: the format is learned, and from about step 20 on the proposer writes programs that do nothing with their
input; no accuracy is gained on held-out problems, with Eq. 4 as here or with Eq. 3 (docs/results/smollm2.md).
"""

import ml_collections

from azr_jax.model import smollm2
from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Few tasks, short responses, and worked examples before every prompt: without them it misses the format."""
    config = base.get_config()
    config.languages = ("python",)
    config.steps = 200
    config.model.path = str(smollm2.default_directory())
    config.model.compute_dtype = "float32"
    config.selfplay.update(
        {
            "seed_triplets": 8,
            "seed_problems": 1,
            "references": 2,
            "batch_per_task": 3,
            "estimate_samples": 3,
            "estimate_temperature": 0.7,
            "induction_inputs": 3,
            "induction_shown": 2,
            "max_program_chars": 1024,
            "prompt_template": "brief",
            "worked_examples": "azr_jax/embedded/validation_python.jsonl",
        }
    )
    config.sampler.update(
        {
            "max_prompt_tokens": 512,
            "max_response_tokens": 112,
            "temperature": 0.7,
            "slots": 8,
            "chunk": 16,
            "prefill_tokens": 4096,
        }
    )
    config.learner.update(
        {
            "lr": 3e-5,
            "estimator": "trrpp",
            "row_tokens": 640,
            "logit_chunk": 640,
            "rows_per_microbatch": 1,
            "recompute_old_logprobs": False,
        }
    )
    config.reward.proposer = "eq4"
    config.executor.update({"memory_mib": 256, "value_chars": 400})
    config.evaluation.update({"every": 20, "heldout": "azr_jax/embedded/heldout_python.jsonl", "heldout_limit": 24})
    config.checkpoint.update({"every": 4, "keep": 2})
    return config
