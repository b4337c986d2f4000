"""Problems with tests beside self-play: configs/tiny.py for 4 steps with a share of azr_jax/embedded/problems.jsonl.

Command: `python -m azr_jax.main --config=configs/tiny_problems.py`
Hardware: 2 CPU cores, 3 GiB of memory.
Time and expected result: 4 minutes on 2 busy cores. It shows the mechanism and teaches nothing: the embedded model has
seen no statement in English and no program that reads input, and passed none of the tests. What moved is the share of
answers in the format, from 50% of 16 in step 1 to all in step 4 (seed 0).
"""

import ml_collections

from configs import tiny


def get_config() -> ml_collections.ConfigDict:
    """configs/tiny.py with a seventh kind of task, rewarded for each test that passes."""
    config = tiny.get_config()
    config.steps = 4
    config.reward.proposer = "eq3"
    config.problems.update({"path": "azr_jax/embedded/problems.jsonl", "share": 0.25, "reward": "share"})
    config.evaluation.heldout = ""
    return config
