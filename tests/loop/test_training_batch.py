"""From scored responses to optimizer steps: what is left out, how they are split, what each token weighs."""

import dataclasses

import numpy as np
import pytest

from azr_jax.config import Config, from_mapping
from azr_jax.learner.packing import SELFPLAY_GROUPS, TASK_GROUPS
from azr_jax.loop import learning
from azr_jax.monitor.alerts import alerts
from azr_jax.types import TASK_TYPES, Role, Rollout, Scored, StopReason, Task, TaskType
from configs import base, paper


def config_of(recipe=base, **changes) -> Config:
    config = recipe.get_config()
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return from_mapping(config.to_dict())


def response(number, role, kind, reward=1.0, length=3, stop=StopReason.EOS, prompt=None) -> Scored:
    rollout = Rollout(f"r{number}", (1, 2), tuple(range(length)), (-1.0,) * length, "text", stop)
    task = Task(prompt or f"t{number}", role, kind, "python", "prompt")
    return Scored(task, rollout, reward, True, True, "correct")


def step_of(per_group: int, **changes) -> list[Scored]:
    """`per_group` responses of each of the six tasks, in the order that a step has them, rewards 1 and -1 in turn."""
    groups = [(role, kind) for role, kind in SELFPLAY_GROUPS for _ in range(per_group)]
    return [response(n, role, kind, reward=(-1.0) ** n, **changes) for n, (role, kind) in enumerate(groups)]


def test_one_minibatch_has_all_in_order():
    config, scored = config_of(), step_of(4)
    sequences = learning.train_sequences(config, scored, 1)
    assert [sequence.id for sequence in sequences] == [response.rollout.request_id for response in scored]
    assert learning.minibatches(config, sequences, 1) == [sequences]


def test_minibatches_by_task_type_are_azrs_three_steps():
    sequences = learning.train_sequences(config_of(paper), step_of(64), 1)
    parts = learning.minibatches(config_of(paper), sequences, 1)
    assert [len(part) for part in parts] == [128, 128, 128]
    kinds = [[TASK_GROUPS[sequence.group] for sequence in part] for part in parts]
    for kind, own in zip((TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.INDUCTION), kinds, strict=True):
        assert own == [(Role.PROPOSE, kind)] * 64 + [(Role.SOLVE, kind)] * 64
    # A type without a response is no optimizer step.
    without = [sequence for sequence in sequences if TASK_GROUPS[sequence.group][1] is not TaskType.INDUCTION]
    assert [len(part) for part in learning.minibatches(config_of(paper), without, 1)] == [128, 128]


def test_a_number_of_minibatches_shuffles_and_loses_nothing():
    config = config_of(learner__minibatches="4")
    sequences = learning.train_sequences(config, step_of(3), 1)
    parts = learning.minibatches(config, sequences, 1)
    assert sorted(len(part) for part in parts) == [4, 4, 5, 5]
    assert sorted(sequence.id for part in parts for sequence in part) == sorted(sequence.id for sequence in sequences)
    assert parts == learning.minibatches(config, sequences, 1) != learning.minibatches(config, sequences, 2)
    assert all(len(part) == 1 for part in learning.minibatches(config, sequences[:2], 1))


def test_overlong_responses_are_masked_or_penalised():
    limit = 8096
    scored = [response(n, Role.SOLVE, TaskType.DEDUCTION, 1.0, length) for n, length in enumerate((10, limit - 512))]
    scored.append(response(2, Role.SOLVE, TaskType.DEDUCTION, -1.0, limit, StopReason.LENGTH))
    masked = learning.train_sequences(config_of(reward__overlong="mask"), scored, 1)
    assert [sequence.id for sequence in masked] == ["r0", "r1"]
    assert masked[0].advantage > 0.0  # the masked response still is in the mean
    penalised = learning.train_sequences(config_of(reward__overlong="penalty"), scored, 1)
    # The last 1,024 tokens cost from 0 to 1.
    assert [sequence.reward for sequence in penalised] == [1.0, 0.5, -2.0]
    assert [sequence.reward for sequence in learning.train_sequences(config_of(), scored, 1)] == [1.0, 1.0, -1.0]


def test_a_frozen_proposer_learns_at_every_nth_step_alone():
    config = config_of(learner__propose_every=3)
    roles = [
        {TASK_GROUPS[s.group][0] for s in learning.train_sequences(config, step_of(2), step)} for step in (1, 2, 3)
    ]
    assert roles == [{Role.SOLVE}, {Role.SOLVE}, {Role.PROPOSE, Role.SOLVE}]


def test_an_empty_response_is_left_out():
    scored = [*step_of(2), response(99, Role.SOLVE, TaskType.DEDUCTION, 1.0, length=0)]
    assert "r99" not in {sequence.id for sequence in learning.train_sequences(config_of(), scored, 1)}


class State:
    skipped_updates = 2


def test_a_step_with_nothing_to_learn_from_leaves_the_state():
    state = State()
    kept, metrics = learning.learn(config_of(), None, state, [], 1, 0)  # type: ignore[arg-type]
    assert kept is state and metrics == {"ppo/steps": 0.0, "ppo/nonfinite": 0.0, "ppo/skipped_updates": 2.0}


class CountingLearner:
    rows_per_microbatch = 1

    def update(self, state, *batches, denominators):
        return state, {"ppo/steps": float(len(batches))}


@pytest.mark.parametrize(
    ("rewards", "share"), [((1.0, 1.0, 1.0, 1.0), 1.0), ((0.0, 0.0), 1.0), ((1.0, -1.0, 0.0, 0.0), 0.5), ((1.0,), 1.0)]
)
def test_a_step_whose_rewards_teach_nothing_is_counted_and_alerted(rewards, share):
    """All equal, all zero, half of them the mean, a group of one."""
    config = config_of()
    scored = [response(n, Role.SOLVE, TaskType.DEDUCTION, reward) for n, reward in enumerate(rewards)]
    _, metrics = learning.learn(config, CountingLearner(), State(), scored, 1, 0)  # type: ignore[arg-type]
    assert metrics["ppo/zero_advantage"] == share
    assert [alert.name for alert in alerts(metrics, config)] == (["no_advantage"] if share == 1.0 else [])


@pytest.mark.parametrize("aggregation", ["token", "sequence", "task", "microbatch", "constant"])
def test_estimates_keep_the_balance_of_proposer_and_solver(aggregation):
    """Eq. 1: with eight times as many solver responses the proposer still is half of the loss."""
    changes = {
        "selfplay__train_on_estimates": True,
        "learner__loss_aggregation": aggregation,
        "learner__row_tokens": 20000,
    }
    config = config_of(**changes)
    scored = step_of(4)
    scored += [response(100 + n, Role.SOLVE, kind, 1.0, prompt=f"e{n // 8}") for kind in TASK_TYPES for n in range(32)]
    sequences = learning.train_sequences(config, scored, 1)
    batch, denominator = learning.weighted_batch(config, sequences, 1, 0)
    shares = [batch.weights_RT[(batch.loss_mask_RT == 1) & (batch.group_RT // 3 == role)].sum() for role in (0, 1)]
    np.testing.assert_allclose(shares[0], shares[1], rtol=1e-5)
    expected = 1.0 if aggregation != "constant" else 3 / 8096  # of 3 tokens a response
    np.testing.assert_allclose(sum(shares) / denominator, expected, rtol=1e-5)
    unbalanced = dataclasses.replace(config, selfplay=dataclasses.replace(config.selfplay, train_on_estimates=False))
    if aggregation not in ("task",):
        batch, _ = learning.weighted_batch(unbalanced, sequences, 1, 0)
        proposer = batch.weights_RT[(batch.loss_mask_RT == 1) & (batch.group_RT < 3)].sum()
        np.testing.assert_allclose(proposer / batch.weights_RT.sum(), 0.1, rtol=1e-5)
