"""Qwen2.5-Coder-3B learns Racket by self-play, with the settings of the paper's Table 3.

Command: `python -m azr_jax.main --config=configs/racket.py --workdir=runs/racket`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports MultiPL-E HumanEval 50.1 -> 64.6, MBPP 39.0 -> 68.3 (Table 1). Not reproduced here.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Table 3, Racket."""
    config = base.get_config()
    config.languages = ("racket",)
    return config
