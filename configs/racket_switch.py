"""Qwen2.5-Coder-3B learns Racket, with Eq. 3 up to step 64 and Eq. 4 after it: the paper's Table 2 (256 steps).

Command: `python -m azr_jax.main --config=configs/racket_switch.py --workdir=runs/racket_switch`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports MultiPL-E HumanEval 66.5, MBPP 72.5, where Eq. 3 alone has 64.6 and 68.3. Not reproduced
here.
"""

import ml_collections

from configs import racket


def get_config() -> ml_collections.ConfigDict:
    """configs/racket.py with Eq. 3 up to step 64, Eq. 4 after it."""
    config = racket.get_config()
    config.steps = 256
    config.reward.proposer = "switch"
    return config
