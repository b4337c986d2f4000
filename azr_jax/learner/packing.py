"""Packing: the one place where responses become arrays, several to a row of `row_tokens` tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from azr_jax.model.cudnn_attention import MOST_SEGMENTS
from azr_jax.types import ROLES, TASK_TYPES, Role, TaskType

# A pytree's leaves are arrays of NumPy or JAX, and shapes or shardings when it is traced or placed.
Leaf = Any

SELFPLAY_GROUPS: tuple[tuple[Role, TaskType], ...] = tuple((role, kind) for role in ROLES for kind in TASK_TYPES)
TASK_GROUPS = (*SELFPLAY_GROUPS, (Role.SOLVE, TaskType.PROBLEMS))
TASK_GROUP_NAMES: tuple[str, ...] = tuple(f"{role.value}_{kind.value}" for role, kind in TASK_GROUPS)


def task_group(role: Role, kind: TaskType) -> int:
    """The index of a (role, type) pair in TASK_GROUPS."""
    return TASK_GROUPS.index((role, kind))


@dataclasses.dataclass(frozen=True, slots=True)
class TrainSequence:
    """A response to learn from.

    `id` names it in errors. `sampler_logprobs` has one entry per response token, the stop token included where there is
    one. `advantage` is one number, or one a response token. `group` is `task_group(role, type)`. `weight` is that of
    each of its tokens in the loss (aggregation.py).
    """

    id: str
    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    sampler_logprobs: Sequence[float]
    advantage: float | Sequence[float]
    group: int
    reward: float
    weight: float = 1.0


class Batch(NamedTuple):
    """Packed rows, all [R, T]; NumPy arrays on the host, JAX arrays in a program.

    Position t of a row predicts `targets` at t, which is the token at t + 1.
    The response arrays (`loss_mask` to `weights`) have values where the response's tokens are *predicted*: from the
    prompt's last token to the last token but one. They are 0 elsewhere. A response's mask is therefore a run that the
    masked-out last token separates from the next.

    Attributes:
      tokens_RT: int32, `pad_id` where nothing is packed.
      targets_RT: int32.
      positions_RT: int32, from 0 in each sequence.
      segment_ids_RT: int32, from 1 in each row; 0 is padding.
      loss_mask_RT: float32, 1 on response tokens.
      advantages_RT: float32.
      sampler_logprobs_RT: float32.
      group_RT: int32, the index in TASK_GROUPS.
      rewards_RT: float32, the response's reward on its last token.
      weights_RT: float32, the weight of each token in the loss.
    """

    tokens_RT: Leaf
    targets_RT: Leaf
    positions_RT: Leaf
    segment_ids_RT: Leaf
    loss_mask_RT: Leaf
    advantages_RT: Leaf
    sampler_logprobs_RT: Leaf
    group_RT: Leaf
    rewards_RT: Leaf
    weights_RT: Leaf


def pack(sequences: Sequence[TrainSequence], row_tokens: int, rows_multiple: int, pad_id: int) -> Batch:
    """First-fit-decreasing packing: longest first, each into the first row with room. Deterministic.

    A row takes at most MOST_SEGMENTS sequences, the number that the attention kernels are launched for.

    The number of rows is rounded up to a multiple of `rows_multiple`. The update is compiled for `rows_multiple` rows
    and runs once for each group of them, so that the number of rows never causes a compilation.

    Raises:
      ValueError: naming the sequence that has no prompt or no response, is longer than a row, has a number of
        logprobs or advantages other than its response's tokens, a number that is not finite, or an unknown group;
        or no sequence at all.
    """
    if not sequences:
        raise ValueError("sequences=[]: there is nothing to pack; give at least one response")
    for sequence in sequences:
        _check(sequence, row_tokens)
    rows = _first_fit_decreasing([_length(sequence) for sequence in sequences], row_tokens)
    row_count = len(rows) + -len(rows) % rows_multiple
    batch = empty_rows(row_count, row_tokens, pad_id)
    for row, members in enumerate(rows):
        start = 0
        for segment, index in enumerate(members, start=1):
            _write(batch, row, start, segment, sequences[index])
            start += _length(sequences[index])
    return batch


def empty_rows(rows: int, row_tokens: int, pad_id: int) -> Batch:
    """A batch of only padding, [rows, row_tokens]."""
    integers = {"tokens_RT", "targets_RT", "positions_RT", "segment_ids_RT", "group_RT"}
    fills = {"tokens_RT": pad_id, "targets_RT": pad_id}
    return Batch(
        **{
            name: np.full((rows, row_tokens), fills.get(name, 0), np.int32 if name in integers else np.float32)
            for name in Batch._fields
        }
    )


def _length(sequence: TrainSequence) -> int:
    return len(sequence.prompt_ids) + len(sequence.response_ids)


def _check(sequence: TrainSequence, row_tokens: int) -> None:
    name, count = f"sequence {sequence.id!r}", len(sequence.response_ids)
    if not len(sequence.prompt_ids):
        raise ValueError(f"{name} has an empty prompt: give at least one token for the response to follow")
    if not count:
        raise ValueError(f"{name} has an empty response: leave it out, there is nothing to learn from")
    if _length(sequence) > row_tokens:
        raise ValueError(
            f"{name} has {len(sequence.prompt_ids)} prompt and {count} response tokens, more than"
            f" learner.row_tokens={row_tokens}: set learner.row_tokens to at least {_length(sequence)}"
        )
    if len(sequence.sampler_logprobs) != count:
        raise ValueError(
            f"{name} has {len(sequence.sampler_logprobs)} sampler_logprobs for {count} tokens: give one per token"
        )
    if np.ndim(sequence.advantage) and np.shape(sequence.advantage) != (count,):
        raise ValueError(
            f"{name} has advantages of shape {np.shape(sequence.advantage)} for {count} response tokens: give one"
            " number or one per token"
        )
    if not (np.isfinite(sequence.weight) and sequence.weight >= 0.0):
        raise ValueError(f"{name} has weight={sequence.weight}: give a finite number, 0 or above")
    if not np.isfinite([sequence.reward, *np.atleast_1d(sequence.advantage), *sequence.sampler_logprobs]).all():
        raise ValueError(f"{name} has a reward, advantage or sampler logprob that is not finite: fix its computation")
    if not 0 <= sequence.group < len(TASK_GROUPS):
        raise ValueError(f"{name} has group={sequence.group}: use task_group(role, type), 0 to {len(TASK_GROUPS) - 1}")


def _first_fit_decreasing(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Indices of the sequences of each row. Ties in length keep their order, so that the result is reproducible."""
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = (r for r, free in enumerate(room) if free >= lengths[index] and len(rows[r]) < MOST_SEGMENTS)
        row = next(fits, None)
        if row is None:
            rows.append([])
            room.append(row_tokens)
            row = len(rows) - 1
        rows[row].append(index)
        room[row] -= lengths[index]
    return rows


def _write(batch: Batch, row: int, start: int, segment: int, sequence: TrainSequence) -> None:
    ids = np.asarray([*sequence.prompt_ids, *sequence.response_ids], np.int32)
    count = len(sequence.response_ids)
    whole = slice(start, start + len(ids))
    batch.tokens_RT[row, whole] = ids
    batch.targets_RT[row, start : start + len(ids) - 1] = ids[1:]
    batch.positions_RT[row, whole] = np.arange(len(ids), dtype=np.int32)
    batch.segment_ids_RT[row, whole] = segment
    first = start + len(sequence.prompt_ids) - 1
    predicted = slice(first, first + count)
    batch.loss_mask_RT[row, predicted] = 1.0
    batch.advantages_RT[row, predicted] = sequence.advantage
    batch.sampler_logprobs_RT[row, predicted] = sequence.sampler_logprobs
    batch.group_RT[row, predicted] = sequence.group
    batch.rewards_RT[row, first + count - 1] = sequence.reward
    batch.weights_RT[row, predicted] = sequence.weight


def take_rows(arrays: Any, rows: np.ndarray, count: int) -> Any:
    """The chosen rows of every [R, T] array in a tree, filled up to `count` rows with zeros (segment 0: padding)."""

    def take(array_RT: np.ndarray) -> np.ndarray:
        taken_RT = np.zeros((count, *array_RT.shape[1:]), array_RT.dtype)
        taken_RT[: len(rows)] = array_RT[rows]
        return taken_RT

    return jax.tree.map(take, arrays)
