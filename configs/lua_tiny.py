"""The embedded model learns Lua, which its pretraining text lacks, by self-play from the identity program alone.

Command: `python -m azr_jax.main --config=configs/lua_tiny.py`
Hardware: 2 CPU cores, 4 GiB of memory.
Time and result: docs/results/zero_resource.md.
"""

import ml_collections

from configs import tiny


def get_config() -> ml_collections.ConfigDict:
    """configs/tiny.py in Lua.

    Few seeds: the untrained model writes few valid programs. Any tag: asked for Lua, it tags programs as languages that
    it knows; if only Lua's tag is accepted, none of 2,048 proposals is valid.
    """
    config = tiny.get_config()
    config.languages = ("lua",)
    config.selfplay.update({"seed_triplets": 16, "seed_problems": 0, "program_tags": "any"})
    config.evaluation.update({"heldout": "azr_jax/embedded/heldout_lua.jsonl", "every": 12})
    return config
