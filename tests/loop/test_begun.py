"""Proposals begun a step early: what is sampled, by which weights, and that time has no part in it."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small_config
from flax import nnx

from azr_jax.loop import stages
from azr_jax.loop.begun import Begun, continued, early_tokens, lag_metrics
from azr_jax.loop.tasks import proposer_tasks, starting_buffers
from azr_jax.model.transformer import abstract
from azr_jax.selfplay.buffers import Buffers
from azr_jax.types import TASK_TYPES, Role, Rollout, Scored, StopReason, Task, TaskType, Triplet

LAG = {"pipeline__lag": 1, "pipeline__early_share": 0.25}


def letters(tokens) -> str:
    return "".join(chr(token) for token in tokens)


def response(text: str, reason: StopReason, prompt: str = "p") -> Rollout:
    ids, prompt_ids = (tuple(map(ord, part)) for part in (text, prompt))
    return Rollout("r", prompt_ids, ids, tuple(-float(token) for token in ids), text, reason)


@pytest.mark.parametrize(
    ("rest", "reason", "stop", "text", "tokens", "ends"),
    [
        ("cd", StopReason.LENGTH, (), "abcd", "abcd", StopReason.LENGTH),
        ("cd.", StopReason.EOS, ("<",), "abcd", "abcd.", StopReason.EOS),
        # A stop string that began in the first part: the sampler, which saw the second, went on.
        ("bcd", StopReason.LENGTH, ("abb",), "abb", "abb", StopReason.STOP_STRING),
        ("cd", StopReason.STOP_STRING, ("cd",), "abcd", "abcd", StopReason.STOP_STRING),
    ],
)
def test_a_continued_response_is_one(rest, reason, stop, text, tokens, ends):
    begun, after = response("ab", StopReason.LENGTH), response(rest, reason, "pab")
    whole = continued(begun, after, stop, letters)
    assert (whole.text, letters(whole.token_ids), whole.stop_reason) == (text, tokens, ends)
    assert whole.logprobs == tuple(-float(ord(letter)) for letter in tokens)
    assert (whole.prompt_ids, whole.earlier_tokens) == (begun.prompt_ids, 2)


def test_a_save_keeps_what_is_begun():
    begun = Begun({"r": response("ab\ud800", StopReason.STOP_STRING)}, updates=3.0)
    assert Begun.from_json(json.loads(json.dumps(begun.to_json()))) == begun
    prompt, settings = (ord("p"),), small_config().sampler
    assert begun.of("r", prompt, settings) == begun.rollouts["r"]
    assert begun.of("r", (1,), settings) is None and begun.of("other", prompt, settings) is None
    for shorter in ({"max_response_tokens": 2}, {"max_prompt_tokens": 3}):
        assert begun.of("r", prompt, dataclasses.replace(settings, **shorter)) is None, "it fits no more"


def test_the_share_of_older_tokens_is_of_all_tokens():
    task = Task("t", Role.PROPOSE, TaskType.DEDUCTION, "python", "prompt")
    rollouts = [dataclasses.replace(response("abcd", StopReason.EOS), earlier_tokens=count) for count in (0, 4, 1)]
    scored = [Scored(task, rollout, 0.0, True, True, "valid") for rollout in rollouts]
    metrics = lag_metrics(scored, 3.0)
    assert metrics == {"sample/lag_tokens": 5 / 12, "sample/lag_mixed": 1 / 3, "sample/lag_updates": 3.0}
    assert lag_metrics(scored, None) == {}


@pytest.fixture(scope="module")
def two_steps(opened):
    """(config, parameters, buffers, step 1, other parameters, step 2) with a lag, from one triplet."""
    config = dataclasses.replace(opened.config, pipeline=small_config(**LAG).pipeline)
    params = opened.engine.load_params()
    updated = jax.tree.map(lambda leaf: leaf * 1.01, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened.player, "config", config)
        buffers = starting_buffers(config, opened.player)
        first = stages.play_step(config, opened.player, params, buffers, 1)
        second = stages.play_step(config, opened.player, updated, first.buffers, 2, first.begun)
    return config, params, buffers, first, updated, second


def test_a_step_with_a_lag_samples_its_own_responses_as_without(opened, two_steps):
    _, params, buffers, first, *_ = two_steps
    without = stages.play_step(opened.config, opened.player, params, buffers, 1)
    assert stages.rollouts(first) == stages.rollouts(without)
    assert first.buffers.to_json() == without.buffers.to_json()
    assert not without.begun.rollouts and (without.lag_updates, first.lag_updates) == (None, 0.0)


def test_proposals_are_begun_with_the_prompts_of_their_own_step(opened, two_steps):
    """Each is the proposal that its step would ask for, as far as it goes; a long one goes on with the new weights."""
    config, _, _, first, _, second = two_steps
    tasks = [proposal.task for proposal in second.proposals]
    assert tasks == proposer_tasks(opened.config, opened.player, first.buffers, "2", TASK_TYPES)
    assert set(first.begun.rollouts) == {task.id for task in tasks}
    mixed = 0
    for proposal in second.proposals:
        begun, rollout = first.begun.rollouts[proposal.task.id], proposal.rollout
        count = len(begun.token_ids)
        assert count <= early_tokens(config, len(begun.prompt_ids)) and rollout.earlier_tokens == count
        assert rollout.prompt_ids == proposal.task.prompt_ids
        assert (rollout.token_ids[:count], rollout.logprobs[:count]) == (begun.token_ids, begun.logprobs)
        mixed += len(rollout.token_ids) > count
    assert mixed
    counted = [*stages.rollouts(first), *stages.rollouts(second)]
    counted += [begun for begun in second.begun.rollouts.values() if opened.player._is_whole(begun)]
    assert first.clock.responses + second.clock.responses == len(counted)
    assert first.clock.prompt_tokens + second.clock.prompt_tokens == sum(len(rollout.prompt_ids) for rollout in counted)
    assert not any(solution.rollout.earlier_tokens for solution in second.solutions)


def test_each_token_has_the_log_probability_of_the_weights_that_sampled_it(opened, two_steps):
    _, params, _, _, updated, second = two_steps
    rollout = max((proposal.rollout for proposal in second.proposals), key=lambda rollout: len(rollout.token_ids))
    early, prompt = rollout.earlier_tokens, len(rollout.prompt_ids)
    assert 0 < early < len(rollout.token_ids)
    graphdef, _ = abstract(opened.engine.model_config, compute_dtype=jnp.float32, attention_kernel="xla")
    ids = np.array([[*rollout.prompt_ids, *rollout.token_ids]], np.int32)
    positions = np.arange(ids.shape[1], dtype=np.int32)[None]
    sampled = np.array(rollout.logprobs)
    parts = slice(early), slice(early, None)
    for weights, own, other in ((params, *parts), (updated, *reversed(parts))):
        model = nnx.merge(graphdef, weights)
        logits = model.logits(model.hidden(ids, positions, np.ones_like(ids)))[0].astype(jnp.float32)
        expected = np.asarray(jax.nn.log_softmax(logits))[np.arange(prompt - 1, ids.shape[1] - 1), ids[0, prompt:]]
        np.testing.assert_allclose(sampled[own], expected[own], atol=1e-4)
        assert np.abs(sampled[other] - expected[other]).max() > 1e-3


@pytest.mark.ci
def test_what_is_begun_does_not_depend_on_when_verdicts_come(opened, two_steps, monkeypatch):
    config, params, buffers, first, *_ = two_steps
    execute, seconds = opened.player.execute, iter([0.3, 0.0, 0.6, 0.1] * 100)

    async def late(language, job):
        verdict = await execute(language, job)
        await asyncio.sleep(next(seconds))
        return verdict

    monkeypatch.setattr(opened.player, "execute", late)
    monkeypatch.setattr(opened.player, "config", config)
    assert stages.play_step(config, opened.player, params, buffers, 1).begun == first.begun


def test_nothing_is_begun_for_a_step_after_the_last(opened):
    config = small_config(**LAG, steps=1)
    assert asyncio.run(stages._begin(config, opened.player, Buffers({}), 2)) == Begun()


def test_a_prompt_without_room_for_early_tokens_waits_for_its_step(opened, monkeypatch):
    config = small_config(**LAG)
    monkeypatch.setattr(opened.player, "config", config)
    assert early_tokens(config, config.sampler.max_prompt_tokens - 10) == 10
    long = tuple(range(5, 5 + config.sampler.max_prompt_tokens))
    task = Task("t", Role.PROPOSE, TaskType.DEDUCTION, "python", "prompt", Triplet("python", "p", "1", "1"), long)
    assert asyncio.run(opened.player.begin(task, 1.0)) is None
