"""The reward study in less time: fewer steps, smaller batches, the main arms.

Command: `python -m azr_jax.study --study=configs/studies/reward_quick.py --seeds=3 --parallel=2`
Hardware: 2 CPU cores, 6 GiB of memory; Node starts programs ten times faster than Racket.
Time and result: docs/results/reward_study.md.
"""

import ml_collections

from configs.studies import reward_tiny

ARMS = ("eq3", "eq4", "switch", "adaptive", "greedy_estimates", "train_on_estimates")
# JavaScript's solver starts near 0.1 in training, Racket's near 0.2.
JAVASCRIPT_RANGE = ("reward.adaptive_low=0.1", "reward.adaptive_high=0.3")


def get_config() -> ml_collections.ConfigDict:
    """configs/studies/reward_tiny.py with a third of configs/tiny.py's steps; keys that count steps are cut alike."""
    study = reward_tiny.get_config()
    study.overrides = (
        "steps=16",
        "selfplay.batch_per_task=10",
        "reward.switch_step=7",
        "reward.linear_from=3",
        "reward.linear_to=10",
        "reward.adaptive_low=0.2",
        "reward.adaptive_high=0.4",
        "reward.smoothing=0.3",
        "evaluation.every=0",
        "evaluation.temperature_samples=0",
        "checkpoint.every=16",
        "checkpoint.export_at_end=False",
        "metrics.tensorboard=False",
        "executor.wall_s=20.0",
        "executor.workers=1",
    )
    full = study.languages.to_dict()
    study.languages = ml_collections.ConfigDict(
        {"javascript": (*full["javascript"], *JAVASCRIPT_RANGE), "racket": full["racket"]}
    )
    study.arms = ml_collections.ConfigDict({name: study.arms[name] for name in ARMS})
    return study
