"""Qwen2.5-Coder-3B learns Racket, with Eq. 4 from the start: the paper's Table 2 (256 steps).

Command: `python -m azr_jax.main --config=configs/racket_eq4.py --workdir=runs/racket_eq4`
Hardware: a TPU slice or one 80 GB GPU; the weights in weights/Qwen2.5-Coder-3B.
Time: not measured by this project.
Expected: the paper reports MultiPL-E HumanEval 41.6, MBPP 60.5, where Eq. 3 has 64.6 and 68.3. Not reproduced
here.
"""

import ml_collections

from configs import racket


def get_config() -> ml_collections.ConfigDict:
    """configs/racket.py with Eq. 4 from the start."""
    config = racket.get_config()
    config.steps = 256
    config.reward.proposer = "eq4"
    return config
