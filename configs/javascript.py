"""Qwen2.5-Coder-3B learns JavaScript by self-play: the paper's Table 1 (Eq. 3, 500 steps).

Command: `python -m azr_jax.main --config=configs/javascript.py --workdir=runs/javascript`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports MultiPL-E HumanEval 54.0 -> 70.8, MBPP 54.2 -> 60.0. Not reproduced here.
"""

import ml_collections

from configs import paper


def get_config() -> ml_collections.ConfigDict:
    """The paper's recipe, JavaScript."""
    config = paper.get_config()
    config.languages = ("javascript",)
    return config
