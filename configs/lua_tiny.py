"""The embedded model learns Lua, of which no pretraining text is, by self-play from the identity program alone.

Command: `python -m azr_jax.main --config=configs/lua_tiny.py`
Hardware: 2 CPU cores, 4 GiB of memory.
Time and result: docs/results/zero_resource.md.
"""

import ml_collections

from configs import tiny


def get_config() -> ml_collections.ConfigDict:
    """configs/tiny.py in Lua.

    Few seeds: what the model can't write before it learns, it can't be seeded with. Any tag: asked for Lua it tags its
    programs as languages that it knows; with Lua's own tag alone 2,048 proposals gave not one valid program.
    """
    config = tiny.get_config()
    config.languages = ("lua",)
    config.selfplay.update({"seed_triplets": 16, "seed_problems": 0, "program_tags": "any"})
    config.evaluation.update({"heldout": "azr_jax/embedded/heldout_lua.jsonl", "every": 12})
    return config
