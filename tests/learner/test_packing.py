import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_learner import sequences

from azr_jax.learner.packing import TASK_GROUP_NAMES, TrainSequence, empty_rows, pack, take_rows, task_group
from azr_jax.model.cudnn_attention import MOST_SEGMENTS
from azr_jax.types import ROLES, TASK_TYPES, Role, TaskType


def sequence(**changes) -> TrainSequence:
    response = TrainSequence(
        id="r7",
        prompt_ids=[5, 6],
        response_ids=[7, 8, 9],
        sampler_logprobs=[-1.0, -2.0, -3.0],
        advantage=0.5,
        group=4,
        reward=1.0,
    )
    return dataclasses.replace(response, **changes)


def test_one_row_by_hand():
    short = sequence(id="r8", prompt_ids=[1], response_ids=[2, 3], sampler_logprobs=[-4.0, -5.0], advantage=[1.0, 2.0])
    short = dataclasses.replace(short, weight=0.25)
    batch = pack([short, sequence()], row_tokens=10, rows_multiple=2, pad_id=31)
    expected = {
        "tokens_RT": [5, 6, 7, 8, 9, 1, 2, 3, 31, 31],
        "targets_RT": [6, 7, 8, 9, 31, 2, 3, 31, 31, 31],
        "positions_RT": [0, 1, 2, 3, 4, 0, 1, 2, 0, 0],
        "segment_ids_RT": [1, 1, 1, 1, 1, 2, 2, 2, 0, 0],
        "loss_mask_RT": [0, 1, 1, 1, 0, 1, 1, 0, 0, 0],
        "advantages_RT": [0, 0.5, 0.5, 0.5, 0, 1, 2, 0, 0, 0],
        "sampler_logprobs_RT": [0, -1, -2, -3, 0, -4, -5, 0, 0, 0],
        "group_RT": [0, 4, 4, 4, 0, 4, 4, 0, 0, 0],
        "rewards_RT": [0, 0, 0, 1, 0, 0, 1, 0, 0, 0],
        "weights_RT": [0, 1, 1, 1, 0, 0.25, 0.25, 0, 0, 0],
    }
    assert set(expected) == set(batch._fields)
    for name, row in expected.items():
        np.testing.assert_array_equal(getattr(batch, name)[0], np.asarray(row, getattr(batch, name).dtype), name)
        np.testing.assert_array_equal(getattr(batch, name)[1], getattr(empty_rows(1, 10, 31), name)[0], name)


def test_first_fit_decreasing():
    lengths = [3, 7, 4, 6]
    responses = [
        sequence(id=str(n), prompt_ids=[1], response_ids=[2] * (n - 1), sampler_logprobs=[-1.0] * (n - 1))
        for n in lengths
    ]
    batch = pack(responses, row_tokens=10, rows_multiple=1, pad_id=0)
    # 7 and 3 share a row, 6 and 4 another: nothing is wasted.
    assert batch.tokens_RT.shape == (2, 10)
    assert (batch.segment_ids_RT > 0).all()
    np.testing.assert_array_equal((batch.segment_ids_RT == 1).sum(axis=1), [7, 6])


def test_a_row_takes_no_more_sequences_than_the_kernels_are_launched_for():
    responses = [sequence(id=str(n)) for n in range(MOST_SEGMENTS + 3)]
    batch = pack(responses, row_tokens=5 * len(responses), rows_multiple=1, pad_id=0)
    assert batch.segment_ids_RT.max(axis=1).tolist() == [MOST_SEGMENTS, 3]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 10)), min_size=1, max_size=20), st.integers(1, 4))
def test_every_response_is_there_once(sizes, rows_multiple):
    responses, token = [], 1
    for index, (prompt, response) in enumerate(sizes):
        ids = list(range(token, token + prompt + response))
        token += prompt + response
        responses.append(
            TrainSequence(str(index), ids[:prompt], ids[prompt:], [-float(i) for i in ids[prompt:]], 1.0, 0, 1.0)
        )
    batch = pack(responses, row_tokens=16, rows_multiple=rows_multiple, pad_id=0)
    assert batch.tokens_RT.shape[0] % rows_multiple == 0
    mask = batch.loss_mask_RT == 1
    # Every token is unique here, so the targets under the mask name the responses, and the logprobs go with them.
    assert sorted(batch.targets_RT[mask].tolist()) == sorted(i for response in responses for i in response.response_ids)
    np.testing.assert_array_equal(batch.sampler_logprobs_RT[mask], -batch.targets_RT[mask].astype(np.float32))
    assert sorted(batch.tokens_RT[batch.segment_ids_RT > 0].tolist()) == list(range(1, token))
    np.testing.assert_array_equal(batch.targets_RT[mask], batch.tokens_RT[mask] + 1)
    assert batch.rewards_RT.sum() == len(responses)
    np.testing.assert_array_equal(batch.weights_RT, batch.loss_mask_RT)


def test_packing_is_deterministic():
    first, second = (pack(sequences(20), 24, 2, 0) for _ in range(2))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_ids": []}, "'r7' has an empty prompt"),
        ({"response_ids": [], "sampler_logprobs": []}, "'r7' has an empty response"),
        ({"prompt_ids": [1] * 9}, "'r7' has 9 prompt and 3 response tokens.*at least 12"),
        ({"sampler_logprobs": [-1.0]}, "'r7' has 1 sampler_logprobs for 3"),
        ({"advantage": [1.0, 2.0]}, r"'r7' has advantages of shape \(2,\) for 3"),
        ({"reward": float("nan")}, "'r7' has a reward, advantage or sampler logprob that is not finite"),
        ({"sampler_logprobs": [-1.0, float("-inf"), -1.0]}, "'r7' .*not finite"),
        ({"group": 7}, "'r7' has group=7"),
        ({"weight": -1.0}, "'r7' has weight=-1.0"),
    ],
)
def test_errors_name_the_sequence(changes, message):
    with pytest.raises(ValueError, match=message):
        pack([sequence(id="fine"), sequence(**changes)], row_tokens=10, rows_multiple=1, pad_id=0)


def test_nothing_to_pack():
    with pytest.raises(ValueError, match="nothing to pack"):
        pack([], row_tokens=10, rows_multiple=1, pad_id=0)


def test_task_groups():
    assert [task_group(role, kind) for role in ROLES for kind in TASK_TYPES] == list(range(6))
    assert TASK_GROUP_NAMES[task_group(Role.SOLVE, TaskType.INDUCTION)] == "solve_induction"


def test_take_rows_fills_with_padding():
    taken = take_rows({"x_RT": np.arange(6).reshape(3, 2)}, np.array([2, 0]), 3)
    np.testing.assert_array_equal(taken["x_RT"], [[4, 5], [0, 1], [0, 0]])
