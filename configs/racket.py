"""Qwen2.5-Coder-3B learns Racket by self-play: the paper's Table 1 (Eq. 3, 500 steps).

Command: `python -m azr_jax.main --config=configs/racket.py --workdir=runs/racket`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports MultiPL-E HumanEval 50.1 -> 64.6, MBPP 39.0 -> 68.3. Not reproduced here.
"""

import ml_collections

from configs import paper


def get_config() -> ml_collections.ConfigDict:
    """The paper's recipe, Racket."""
    config = paper.get_config()
    config.languages = ("racket",)
    return config
