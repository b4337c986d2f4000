"""The paper's reward study in miniature, with the embedded model: which proposer reward teaches the solver most.

Command: `python -m azr_jax.study --study=configs/studies/reward_tiny.py --seeds=3 --parallel=2`
Hardware: 2 CPU cores, 6 GiB of memory; about ten minutes a run and core.
Expected result: not known; this study has not been run.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The paper's three schedules, the adaptive one, and trap 1 (greedy estimates), in Racket and Julia."""
    return ml_collections.ConfigDict(
        {
            "config": "configs/tiny.py",
            "baseline": "eq3",
            "overrides": ("evaluation.every=24",),
            "languages": {
                "racket": (),
                "julia": ("languages=('julia',)", "evaluation.heldout=azr_jax/embedded/heldout_julia.jsonl"),
            },
            "arms": {
                "eq3": ("reward.proposer=eq3",),
                "eq4": ("reward.proposer=eq4",),
                "switch": ("reward.proposer=switch",),
                "adaptive": ("reward.proposer=adaptive",),
                "greedy_estimates": ("reward.proposer=eq3", "selfplay.estimate_temperature=0.0"),
            },
        }
    )
