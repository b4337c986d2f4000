"""Problems with tests beside self-play: configs/tiny.py for 4 steps with a share of azr_jax/embedded/problems.jsonl.

Command: `python -m azr_jax.main --config=configs/tiny_problems.py`
"""

import ml_collections

from configs import tiny


def get_config() -> ml_collections.ConfigDict:
    """configs/tiny.py with a seventh kind of task, rewarded for each test that passes."""
    config = tiny.get_config()
    config.steps = 4
    config.problems.update({"path": "azr_jax/embedded/problems.jsonl", "share": 0.25, "reward": "share"})
    config.evaluation.heldout = ""
    return config
