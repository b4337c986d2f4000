"""What is said at a run's start about settings that work and are seldom meant."""

import pytest
from conftest import small_config

from azr_jax.run.remarks import check_best_metric, remarks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"sampler__top_p": 0.9}, ["sampler.top_p=0.9, top_k=0"]),
        ({"sampler__top_k": 50}, ["sampler.top_p=1.0, top_k=50"]),
        ({"learner__estimator": "rloo"}, ["learner.estimator='rloo'"]),
        ({"learner__estimator": "rloo", "selfplay__train_on_estimates": True}, []),
        ({"checkpoint__best_metric": "eval/humaneval/python/pass_at_1", "evaluation__every": 50}, ["no step is both"]),
        ({"checkpoint__best_metric": "eval/humaneval/python/pass_at_1", "evaluation__every": 4}, []),
        ({"learner__estimator": "grpo", "selfplay__train_on_estimates": True}, ["learner.estimator='grpo'"]),
        ({"learner__clip_epsilon_high": 0.28, "learner__dual_clip": 3.0}, ["clip_epsilon_high=0.28", "dual_clip=3.0"]),
        ({"learner__ratio": "sequence", "learner__policy_loss": "cispo"}, ["learner.ratio", "learner.policy_loss"]),
        ({"learner__ratio": "sequence", "learner__minibatches": "4"}, ["learner.ratio='sequence'"]),
        ({"learner__ratio": "sequence", "learner__minibatches": "4", "learner__clip_epsilon": 3e-4}, []),
        (
            {
                "learner__ratio": "sequence",
                "learner__recompute_old_logprobs": False,
                "learner__clip_epsilon": 3e-4,
            },
            [],
        ),
        ({"learner__importance": "sequence_mask"}, ["hardly leaves 0.5 to 2.0"]),
        (
            {
                "learner__importance": "sequence_mask",
                "learner__importance_low": 0.999,
                "learner__importance_cap": 1.001,
            },
            [],
        ),
        ({"learner__importance": "token_mask", "learner__recompute_old_logprobs": False}, ["learner.importance="]),
        ({"learner__kl_in": "reward"}, ["learner.kl_in='reward'"]),
        ({"learner__lr_end": 0.1, "learner__lr_decay_steps": 9}, ["learner.lr_end=0.1", "learner.lr_decay_steps=9"]),
        ({"reward__novelty_by": "behaviour", "selfplay__probes": 4}, ["reward.novelty_by='behaviour'"]),
        ({"reward__novelty_recent": 9}, ["reward.novelty_recent=9"]),
        ({"reward__novelty_recent": 9, "selfplay__probes": 4}, []),
        ({"learner__propose_every": 1000}, ["learner.propose_every=1000"]),
        ({"learner__warmup_steps": 1000}, ["learner.warmup_steps=1000"]),
        ({"selfplay__seed_problems": 0, "learner__minibatches": "task_type"}, ["selfplay.seed_problems=0"]),
        ({"learner__kl_estimator": "k2"}, ["learner.kl_estimator='k2'"]),
        ({"learner__kl_estimator": "k2", "learner__kl_coef": 0.1}, []),
        (
            {"learner__kl_estimator": "k2", "learner__kl_coef": 0.1, "learner__kl_in": "reward"},
            ["learner.kl_estimator='k2' does not have the effect it asks for: learner.kl_in='reward' takes k1"],
        ),
        ({"selfplay__composite_to": 9}, ["selfplay.composite_to=9"]),
        ({"selfplay__composite_to": 9, "selfplay__composite_share": 0.5}, []),
        (
            {"selfplay__composite_share": 0.5, "selfplay__composite_from": 900, "selfplay__composite_to": 950},
            ["selfplay.composite_share=0.5"],
        ),
        ({"selfplay__band_low": 0.3}, ["selfplay.solver_tasks='after': a step's new tasks"]),
        ({"selfplay__band_low": 0.3, "selfplay__solver_tasks": "before"}, []),
    ],
)
def test_remarks(changes, said):
    lines = remarks(small_config(**changes))
    assert len(lines) == len(said) and all(words in line for words, line in zip(said, lines, strict=True))


@pytest.mark.parametrize(
    ("steps", "minibatches", "problems", "said"),
    [
        (500, "1", "", []),
        (500, "task_type", "", ["learner.lr_decay_steps=500: there are 1500 optimizer steps, and the rate is 0"]),
        (500, "task_type", "problems.jsonl", ["there are 2000 optimizer steps"]),
        (166, "task_type", "", []),
    ],
)
def test_a_rate_that_ends_before_the_run_does_is_said(steps, minibatches, problems, said):
    changes = {"learner__lr_schedule": "cosine", "learner__lr_decay_steps": 500, "learner__minibatches": minibatches}
    lines = remarks(small_config(steps=steps, problems__path=problems, **changes))
    assert len(lines) == len(said) and all(words in line for words, line in zip(said, lines, strict=True))
    assert remarks(small_config(steps=steps, problems__path=problems, learner__lr_end=0.1, **changes)) == []


@pytest.mark.parametrize("name", ["solve/accuracy", "eval/humaneval/python/pass_at_1", ""])
def test_a_metric_that_steps_have_can_choose_a_save(name):
    check_best_metric(
        small_config(checkpoint__best_metric=name, evaluation__every=2, evaluation__benchmarks=("humaneval",))
    )
