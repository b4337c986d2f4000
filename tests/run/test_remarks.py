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
    ],
)
def test_remarks(changes, said):
    lines = remarks(small_config(**changes))
    assert len(lines) == len(said) and all(words in line for words, line in zip(said, lines, strict=True))


@pytest.mark.parametrize("name", ["solve/accuracy", "eval/humaneval/python/pass_at_1", ""])
def test_a_metric_that_steps_have_can_choose_a_save(name):
    check_best_metric(
        small_config(checkpoint__best_metric=name, evaluation__every=2, evaluation__benchmarks=("humaneval",))
    )
