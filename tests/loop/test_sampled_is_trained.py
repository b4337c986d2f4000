"""What is trained is what was sampled: token for token, with the sampler's own log-probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from azr_jax.config import from_mapping
from azr_jax.learner.packing import TrainSequence, pack
from azr_jax.loop import learning, stages
from azr_jax.loop.tasks import starting_buffers
from azr_jax.model.transformer import abstract
from azr_jax.sampler.requests import Request
from azr_jax.selfplay.rewards import RewardState
from azr_jax.types import StopReason
from configs import tiny


def test_a_capped_response_says_so_and_has_no_invented_end(opened):
    run = opened
    params = run.engine.load_params()
    prompt = tuple(run.engine.tokenizer.encode("# Task: write a program\n"))
    session = run.player.sampler.session(params, 0)
    session.submit(Request("capped", prompt, 5, 1.0))
    session.submit(Request("free", prompt, 96, 1.0))
    rollouts = {}
    while not session.idle:
        rollouts |= {rollout.request_id: rollout for rollout in session.step()}
    capped = rollouts["capped"]
    assert capped.stop_reason is StopReason.LENGTH
    assert len(capped.token_ids) == len(capped.logprobs) == 5
    assert not set(capped.token_ids) & run.engine.tokenizer.eos_ids
    # What is trained is what was sampled, token for token.
    sequence = TrainSequence("capped", capped.prompt_ids, capped.token_ids, capped.logprobs, 1.0, 0, 1.0)
    batch = pack([sequence], 32, 1, run.engine.tokenizer.pad_id)
    trained = np.asarray(batch.tokens_RT)[0]
    assert trained[: len(prompt) + 5].tolist() == [*capped.prompt_ids, *capped.token_ids]
    assert not set(trained[len(prompt) :].tolist()) & (run.engine.tokenizer.eos_ids - {run.engine.tokenizer.pad_id})


def test_the_log_probabilities_are_of_the_whole_distribution(opened):
    """No top-p and no top-k: the sampler's log-probabilities are the model's own at temperature 1."""
    run = opened
    assert (run.config.sampler.top_p, run.config.sampler.top_k) == (1.0, 0)
    params = run.engine.load_params()
    prompt = tuple(run.engine.tokenizer.encode("# Task: write a program\n"))
    session = run.player.sampler.session(params, 0)
    session.submit(Request("one", prompt, 12, 1.0))
    (rollout,) = [response for _ in range(4) for response in session.step()]
    graphdef, _ = abstract(run.engine.model_config, compute_dtype=jnp.float32, attention_kernel="xla")
    ids = np.array([[*rollout.prompt_ids, *rollout.token_ids]], np.int32)
    model = nnx.merge(graphdef, params)
    positions = np.arange(ids.shape[1], dtype=np.int32)[None]
    logits = model.logits(model.hidden(ids, positions, np.ones_like(ids)))[0]
    log_softmax = np.asarray(jax.nn.log_softmax(logits.astype(jnp.float32)))
    expected = [log_softmax[len(prompt) - 1 + n, token] for n, token in enumerate(rollout.token_ids)]
    np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-4)


@pytest.mark.ci
def test_the_first_ratio_is_one_and_the_mismatch_is_reported(opened):
    run = opened
    state = run.learner.init(run.engine.load_params())
    buffers = starting_buffers(run.config, run.player)
    played = stages.play_step(run.config, run.player, state.params, buffers, 1)
    scored = stages.score(run.config, played, RewardState())
    _, metrics = learning.learn(run.config, run.learner, state, scored, 1, run.engine.tokenizer.pad_id)
    assert metrics["ppo/first_ratio_mean"] == metrics["ppo/first_ratio_max"] == 1.0
    assert 0 < metrics["ppo/mismatch_mean"] < 1e-3
    assert metrics["ppo/mismatch_max"] >= metrics["ppo/mismatch_mean"]
    assert metrics["ppo/importance_weight_mean"] == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match=r"learner\.importance_cap=-1.0"):
        from_mapping({**tiny.get_config().to_dict(), "learner": {**tiny.get_config().learner, "importance_cap": -1.0}})
