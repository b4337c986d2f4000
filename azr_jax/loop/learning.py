"""From a step's scored responses to optimizer steps: rewards, advantages, minibatches, token weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from azr_jax.config import Config
from azr_jax.learner.advantages import sequence_advantages
from azr_jax.learner.aggregation import LOSS_AGGREGATIONS, balanced_shares
from azr_jax.learner.packing import TASK_GROUPS, Batch, TrainSequence, pack, task_group
from azr_jax.learner.state import TrainState
from azr_jax.learner.update import Learner
from azr_jax.selfplay import rewards
from azr_jax.selfplay.randomness import stream
from azr_jax.types import Role, Scored, StopReason, TaskType

# The order in which AZR's trainer updates on the task types; problems, which it does not have, come last.
_TYPE_ORDER = (TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.INDUCTION, TaskType.PROBLEMS)


def learn(
    config: Config, learner: Learner, state: TrainState, scored: Sequence[Scored], step: int, pad_id: int
) -> tuple[TrainState, dict[str, float]]:
    """The PPO update of a step over its scored responses; `ppo/...` metrics.

    Without responses to learn from (the executors failed on all) the state stays and no optimizer step is counted.
    """
    sequences = train_sequences(config, scored, step)
    if not sequences:
        return state, {"ppo/steps": 0.0, "ppo/nonfinite": 0.0, "ppo/skipped_updates": float(state.skipped_updates)}
    batches, denominators = [], []
    for members in minibatches(config, sequences, step):
        batch, denominator = weighted_batch(config, members, learner.rows_per_microbatch, pad_id)
        batches.append(batch)
        denominators.append(denominator)
    state, metrics = learner.update(state, *batches, denominators=denominators)
    if config.learner.estimator != "gae":
        zero = sum(not np.any(sequence.advantage) for sequence in sequences)
        metrics["ppo/zero_advantage"] = zero / len(sequences)
    return state, metrics


def train_sequences(config: Config, scored: Sequence[Scored], step: int) -> list[TrainSequence]:
    """The responses to learn from, with rewards and advantages, in the order of `scored`.

    Leaves out responses without a token, those cut at the length limit with `reward.overlong=mask`, and proposals in
    steps that `learner.propose_every` skips. Their rewards still count in the others' baselines.
    """
    groups = [task_group(response.task.role, response.task.type) for response in scored]
    values = [_reward(config, response) for response in scored]
    if config.reward.permute:
        values = rewards.permuted(values, groups, stream(config.seed, step, "permute"))
    numbers: dict[str, int] = {}
    prompts = [numbers.setdefault(response.task.id, len(numbers)) for response in scored]
    lengths = [len(response.rollout.token_ids) for response in scored]
    advantages = sequence_advantages(config.learner.estimator, values, groups, prompts, lengths)
    lambda_solve = config.reward.lambda_solve
    return [
        TrainSequence(
            id=response.rollout.request_id,
            prompt_ids=response.rollout.prompt_ids,
            response_ids=response.rollout.token_ids,
            sampler_logprobs=response.rollout.logprobs,
            advantage=rewards.weighted(response.task.role, float(advantage), lambda_solve),
            group=group,
            reward=rewards.weighted(response.task.role, value, lambda_solve),
        )
        for response, advantage, group, value in zip(scored, advantages, groups, values, strict=True)
        if _is_learned(config, response, step)
    ]


def _is_learned(config: Config, response: Scored, step: int) -> bool:
    if not response.rollout.token_ids:
        return False
    if config.reward.overlong == "mask" and response.rollout.stop_reason is StopReason.LENGTH:
        return False
    return response.task.role is Role.SOLVE or step % config.learner.propose_every == 0


def _reward(config: Config, response: Scored) -> float:
    if config.reward.overlong != "penalty":
        return response.reward
    limit, last = config.sampler.max_response_tokens, config.reward.overlong_tokens
    return response.reward + rewards.overlong_penalty(len(response.rollout.token_ids), limit, last)


def minibatches(config: Config, sequences: Sequence[TrainSequence], step: int) -> list[list[TrainSequence]]:
    """The responses of each optimizer step; none is empty.

    `learner.minibatches=task_type`: one for each task type that has a response, in AZR's order (abduction, deduction,
    induction), proposals before solutions, and a last one for problems. A number n: n of nearly equal size, shuffled;
    1: all, in order.
    """
    settings = config.learner
    if settings.minibatches == "task_type":
        by_type = [[task_group(*group) for group in TASK_GROUPS if group[1] is kind] for kind in _TYPE_ORDER]
        parts = [[seq for group in groups for seq in sequences if seq.group == group] for groups in by_type]
        return [part for part in parts if part]
    order = list(range(len(sequences)))
    if settings.minibatch_count > 1:
        stream(config.seed, step, "minibatches").shuffle(order)
    parts = np.array_split(np.array(order), min(settings.minibatch_count, len(order)))
    return [[sequences[index] for index in part] for part in parts]


def weighted_batch(
    config: Config, sequences: Sequence[TrainSequence], rows_multiple: int, pad_id: int
) -> tuple[Batch, float]:
    """One minibatch as rows with `learner.loss_aggregation`'s weights, and the denominator of its loss.

    With `selfplay.train_on_estimates` shares keep Eq. 1's balance of proposer and solver.
    """
    aggregation = config.learner.loss_aggregation
    groups_B = np.array([sequence.group for sequence in sequences])
    lengths_B = np.array([len(sequence.response_ids) for sequence in sequences], np.float64)
    balanced = config.selfplay.train_on_estimates
    shares_B = balanced_shares(groups_B) if balanced else np.ones(len(sequences))
    sizes = {"microbatch": config.learner.microbatch_responses, "constant": config.sampler.max_response_tokens}
    weights_B, denominator = LOSS_AGGREGATIONS[aggregation](lengths_B, groups_B, shares_B, sizes.get(aggregation, 0))
    weighted = [
        dataclasses.replace(sequence, weight=float(weight))
        for sequence, weight in zip(sequences, weights_B, strict=True)
    ]
    return pack(weighted, config.learner.row_tokens, rows_multiple, pad_id), denominator
