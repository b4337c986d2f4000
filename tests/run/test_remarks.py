"""What is said at a run's start about settings that work and are seldom meant."""

import importlib

import pytest
from conftest import small_config

from azr_jax.config import from_mapping
from azr_jax.flags import built_in_configurations
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
        (
            {"learner__gamma": 0.9, "learner__gae_lambda": 0.95, "learner__value_coef": 0.1},
            ["learner.gamma=0.9", "learner.gae_lambda=0.95", "learner.value_coef=0.1"],
        ),
        ({"learner__estimator": "gae", "learner__gae_lambda": 0.95}, []),
        ({"learner__microbatch_responses": 4}, ["learner.microbatch_responses=4"]),
        ({"learner__microbatch_responses": 4, "learner__loss_aggregation": "microbatch"}, []),
        ({"learner__importance_low": 0.9}, ["learner.importance_low=0.9"]),
        ({"learner__importance_low": 0.9, "learner__importance": "token_mask"}, []),
        ({"reward__overlong_tokens": 8}, ["reward.overlong_tokens=8"]),
        ({"reward__overlong_tokens": 8, "reward__overlong": "penalty"}, []),
        ({"pipeline__early_share": 0.2}, ["pipeline.early_share=0.2"]),
        ({"pipeline__early_share": 0.2, "pipeline__lag": 1}, []),
        ({"selfplay__estimate_temperature": 0.0}, ["estimate_temperature=0.0 acc is 0 or 1"]),
        ({"selfplay__estimate_samples": 1}, ["selfplay.estimate_samples=1"]),
        ({"steps": 20}, ["Eq. 4 would come after step 20, and the run has steps=20"]),
        ({"steps": 21}, []),
        ({"steps": 20, "reward__proposer": "eq3"}, []),
        (
            {"steps": 32, "reward__proposer": "linear"},
            ["reward.proposer='linear' does not have the effect it asks for"],
        ),
        ({"steps": 33, "reward__proposer": "linear"}, []),
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


@pytest.mark.parametrize("name", [name for name in built_in_configurations() if "/" not in name])
def test_a_built_in_configuration_has_no_remark(name):
    assert remarks(from_mapping(importlib.import_module(f"configs.{name}").get_config().to_dict())) == []


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
