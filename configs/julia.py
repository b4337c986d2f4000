"""Qwen2.5-Coder-3B learns Julia by self-play: the paper's Table 1 (Eq. 3, 500 steps).

Command: `python -m azr_jax.main --config=configs/julia.py --workdir=runs/julia`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports MultiPL-E HumanEval 38.4 -> 50.3, MBPP 39.5 -> 61.8. Not reproduced here.
"""

import ml_collections

from configs import paper


def get_config() -> ml_collections.ConfigDict:
    """The paper's recipe, Julia."""
    config = paper.get_config()
    config.languages = ("julia",)
    return config
