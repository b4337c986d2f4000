"""The embedded model azr-tiny learns Racket by self-play on a laptop: the demo.

Command: `python -m azr_jax.main --config=configs/tiny.py` (`make demo` sets everything up first)
Hardware: 2 CPU cores, 3 GiB of memory.
Time and expected result: 6 to 8 minutes; 39.2% of 360 held-out problems greedily, from 21.4%: docs/results/learning.md.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """A run of minutes: short prompts, small batches, a learning rate for a model of 1.1 M parameters."""
    config = base.get_config()
    config.steps = 48
    config.model.path = "azr_jax/embedded/azr-tiny"
    config.model.compute_dtype = "float32"
    config.selfplay.update(
        {
            "seed_triplets": 64,
            "seed_problems": 32,
            "references": 2,
            "batch_per_task": 16,
            "estimate_samples": 4,
            "induction_inputs": 6,
            "induction_shown": 4,
            "format": "strict",
            "drop_comments": False,
            "solver_tasks": "after",
            "prompt_template": "brief",
            "max_program_chars": 1024,
        }
    )
    config.sampler.update(
        {
            "max_prompt_tokens": 256,
            "max_response_tokens": 160,
            "slots": 96,
            "chunk": 16,
            "prefill_tokens": 8192,
            "stop": (),
        }
    )
    config.learner.update(
        {"lr": 3e-4, "estimator": "trrpp", "row_tokens": 448, "logit_chunk": 448, "rows_per_microbatch": 16}
    )
    config.reward.switch_step = 20
    config.executor.update({"wall_s": 2.0, "cpu_s": 2.0, "memory_mib": 256, "value_chars": 400})
    config.evaluation.update({"every": 0, "heldout": "azr_jax/embedded/heldout_racket.jsonl", "temperature_samples": 1})
    config.checkpoint.update({"every": 16})
    return config
