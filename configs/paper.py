"""The paper's recipe: settings of the public Absolute Zero code for this model where `base.py` recommends others.

Command: none; `racket.py`, `julia.py`, `javascript.py`, `python.py` (Table 1), `racket_eq4.py` and
`racket_switch.py` (Table 2) start from here. docs/recipe.md has both, row by row, and why ours differs.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Table 3 and the recipe around it, Eq. 3, 500 steps; no language chosen."""
    config = base.get_config()
    config.steps = 500
    config.selfplay.update(
        {
            "buffers": "apart",
            "duplicates": "allow",
            "solver_tasks": "before",
            "shuffle_new": True,
            "format": "azr",
            "drop_comments": True,
            "entry_functions": "one",
            "prompt_template": "paper",
        }
    )
    config.sampler.stop = ()
    config.reward.proposer = "eq3"
    config.learner.update(
        {
            "estimator": "trrpp_tokens",
            "minibatches": "task_type",
            "loss_aggregation": "microbatch",
            "microbatch_responses": 16,
            "importance_cap": 0.0,
            "decay": "all",
        }
    )
    config.executor.update({"wall_s": 10.0, "cpu_s": 10.0})
    # Fig. 2: every 64 steps the language's benchmarks are scored and the weights are kept.
    config.evaluation.update({"every": 64, "benchmarks": ("humaneval", "mbpp"), "benchmark_missing": "skip"})
    config.checkpoint.keep_every = 64
    return config
