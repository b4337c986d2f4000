"""Does the embedded model learn from its rewards? The demo's run, and the same with rewards permuted.

Command: `python -m azr_jax.study --study=configs/studies/learning_tiny.py --seeds=3 --parallel=2`
Hardware: 2 CPU cores, 6 GiB of memory.
Time and expected result: see docs/results/learning.md.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Two arms in Racket, scored on the held-out problems on the way too."""
    return ml_collections.ConfigDict(
        {
            "config": "configs/tiny.py",
            "baseline": "permuted",
            "overrides": ("evaluation.every=24",),
            "languages": {"racket": ()},
            "arms": {"real": (), "permuted": ("reward.permute=True",)},
        }
    )
