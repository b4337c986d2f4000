"""Qwen2.5-Coder-3B learns Python by self-play: the paper's Table 1 (Eq. 3, 500 steps).

Command: `python -m azr_jax.main --config=configs/python.py --workdir=runs/python`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports HumanEval+ 67.1 -> 71.3, MBPP+ 65.9 -> 69.0 (the reference). Not reproduced here.
"""

import ml_collections

from configs import paper


def get_config() -> ml_collections.ConfigDict:
    """The paper's recipe, Python."""
    config = paper.get_config()
    config.languages = ("python",)
    return config
