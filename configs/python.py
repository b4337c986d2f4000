"""Qwen2.5-Coder-3B learns Python by self-play, with the settings of the paper's Table 3.

Command: `python -m azr_jax.main --config=configs/python.py --workdir=runs/python`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports HumanEval+ 67.1 -> 71.3, MBPP+ 65.9 -> 69.0 (Table 1, the reference). Not reproduced here.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Table 3, Python."""
    config = base.get_config()
    config.languages = ("python",)
    return config
