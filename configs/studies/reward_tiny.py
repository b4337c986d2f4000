"""The paper's reward study in miniature, with the embedded model: which proposer reward teaches the solver most.

Command: `python -m azr_jax.study --study=configs/studies/reward_tiny.py --seeds=6 --parallel=2 --languages=racket`
Hardware: 2 CPU cores, 6 GiB of memory.
Time and result: docs/results/reward_study.md.
"""

import ml_collections


def _in(language: str) -> tuple[str, ...]:
    return (f"languages=('{language}',)", f"evaluation.heldout=azr_jax/embedded/heldout_{language}.jsonl")


def get_config() -> ml_collections.ConfigDict:
    """Arms: the paper's schedules, future work and recipe, a curriculum by novelty or by a band, and estimates that are
    sampled greedily or trained on. Steps as in configs/tiny.py.
    """
    return ml_collections.ConfigDict(
        {
            "config": "configs/tiny.py",
            "baseline": "eq3",
            "overrides": (
                "reward.linear_from=10",
                "reward.linear_to=30",
                # The solver's accuracy in training starts near 0.2 and ends near 0.4.
                "reward.adaptive_low=0.2",
                "reward.adaptive_high=0.4",
                "reward.smoothing=0.2",
                # What one core computes fastest: a row's activations stay in its cache.
                "learner.rows_per_microbatch=1",
                "sampler.slots=64",
                "evaluation.every=16",
                "evaluation.temperature_samples=0",
                # Processor time is the limit, so that verdicts do not depend on how busy the machine is.
                "executor.wall_s=20.0",
                "executor.workers=1",
            ),
            "languages": {"racket": (), "javascript": _in("javascript"), "julia": _in("julia")},
            "arms": {
                "eq3": ("reward.proposer=eq3",),
                "eq4": ("reward.proposer=eq4",),
                "switch": ("reward.proposer=switch",),
                "adaptive": ("reward.proposer=adaptive",),
                "paper": (
                    "reward.proposer=eq3",
                    "selfplay.buffers=apart",
                    "selfplay.duplicates=allow",
                    "selfplay.solver_tasks=before",
                    "selfplay.shuffle_new=True",
                    "selfplay.entry_functions=one",
                    "learner.estimator=trrpp_tokens",
                    "learner.minibatches=task_type",
                    "learner.loss_aggregation=microbatch",
                    "learner.importance_cap=0.0",
                    "learner.decay=all",
                ),
                "novelty": ("reward.proposer=eq3", "reward.novelty=1.0"),
                "behaviour": (
                    "reward.proposer=eq3",
                    "reward.novelty=1.0",
                    "reward.novelty_by=behaviour",
                    "reward.novelty_recent=64",
                    "selfplay.probes=8",
                ),
                "composite": (
                    "reward.proposer=eq3",
                    "selfplay.composite_share=0.5",
                    "selfplay.composite_from=8",
                    "selfplay.composite_to=24",
                ),
                "uncertainty": ("reward.proposer=uncertainty",),
                "role": ("reward.proposer=eq3", "learner.estimator=role"),
                "alternating": ("reward.proposer=eq3", "learner.propose_every=4"),
                "band": ("reward.proposer=eq3", "selfplay.band_low=0.3", "selfplay.band_high=0.8"),
                "greedy_estimates": ("reward.proposer=eq3", "selfplay.estimate_temperature=0.0"),
                "linear": ("reward.proposer=linear",),
                "learnability": ("reward.proposer=learnability",),
                "train_on_estimates": ("reward.proposer=eq3", "selfplay.train_on_estimates=True"),
                "graded": ("reward.proposer=eq3", "reward.solver=graded"),
            },
        }
    )
