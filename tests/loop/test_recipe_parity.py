"""The paper's recipe against a transcription of it in NumPy: 384 responses, three optimizer steps of a tiny model.

The transcription knows nothing of packing, rows, weights or denominators: it goes over responses and microbatches of 16
as the public AZR trainer does, and gives for each token what the loss's derivative by its log-probability and entropy
is. Only the derivative of these by the weights is JAX's, on responses that are padded, not packed.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from azr_jax.config import from_mapping
from azr_jax.learner.packing import SELFPLAY_GROUPS
from azr_jax.learner.update import make_learner
from azr_jax.loop import learning
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import leaf_name, make_mesh
from azr_jax.model.transformer import abstract
from azr_jax.types import TASK_TYPES, Role, Rollout, Scored, StopReason, Task
from configs import paper

MODEL = ModelConfig(
    vocab_size=32, embed_dim=16, ffn_dim=32, layers=1, heads=2, kv_heads=1, head_dim=8, max_positions=64
)
PROMPT, LONGEST = 4, 24
LR, CLIP, ENTROPY = 3e-3, 0.2, 0.001
# A responses' reward, as Eqs. 2 and 3 have them.
REWARDS = {Role.PROPOSE: (-1.0, -0.5, 0.125, 0.625), Role.SOLVE: (-1.0, -0.5, 1.0)}


def made_step() -> list[Scored]:
    """64 responses of each of the six tasks, in the order of a step, of random lengths and rewards."""
    rng = np.random.default_rng(0)
    scored = []
    for role in Role:
        for kind in TASK_TYPES:
            for number in range(64):
                length = int(rng.integers(1, LONGEST + 1))
                ids = tuple(rng.integers(1, 32, length).tolist())
                prompt = tuple(rng.integers(1, 32, PROMPT).tolist())
                logprobs = tuple((-3.4 + 0.2 * rng.standard_normal(length)).tolist())
                name = f"1/{role}/{kind}/{number}"
                rollout = Rollout(name, prompt, ids, logprobs, "", StopReason.EOS)
                reward = float(rng.choice(REWARDS[role]))
                scored.append(Scored(Task(name, role, kind, "python", ""), rollout, reward, True, True, ""))
    return scored


class Transcription:
    """AZR's update, response by response."""

    def __init__(self, scored: list[Scored]) -> None:
        self.advantages = {}
        for role, kind in SELFPLAY_GROUPS:
            group = [response for response in scored if (response.task.role, response.task.type) == (role, kind)]
            returns = np.concatenate([np.full(len(response.rollout.token_ids), response.reward) for response in group])
            mean, std = returns.mean(), np.sqrt(returns.var(ddof=1) + 1e-8)
            for response in group:
                self.advantages[response.rollout.request_id] = (response.reward - mean) / std
        # In order: abduction, deduction, induction; proposer and solver of each together; 128 at a time.
        ordered = [
            response
            for kind in ("abduction", "deduction", "induction")
            for role in ("propose", "solve")
            for response in scored
            if (response.task.role, response.task.type) == (role, kind)
        ]
        self.minibatches = [ordered[start : start + 128] for start in range(0, 384, 128)]

    def derivatives(self, responses, logprobs, old_logprobs):
        """(by log-probability, by entropy) of one minibatch's loss, token by token."""
        by_logprob, by_entropy = [], []
        for start in range(0, 128, 16):
            microbatch = range(start, start + 16)
            tokens = sum(len(responses[index].rollout.token_ids) for index in microbatch)
            for index in microbatch:
                advantage = self.advantages[responses[index].rollout.request_id]
                ratio = np.exp(logprobs[index] - old_logprobs[index])
                unclipped, clipped = ratio * advantage, np.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage
                # -min(unclipped, clipped): where the clipped one is smaller, nothing flows.
                by_logprob.append(np.where(unclipped <= clipped, -unclipped, 0.0) / tokens / 8)
                by_entropy.append(np.full(len(ratio), -ENTROPY / tokens / 8))
        return by_logprob, by_entropy


def padded(responses):
    ids = np.zeros((len(responses), PROMPT + LONGEST), np.int32)
    for row, response in zip(ids, responses, strict=True):
        rollout = response.rollout
        row[: PROMPT + len(rollout.token_ids)] = [*rollout.prompt_ids, *rollout.token_ids]
    return ids


@pytest.fixture(scope="module")
def model():
    graphdef, shapes = abstract(MODEL, compute_dtype=jnp.float32)
    rng = np.random.default_rng(0)

    def fill(path, shape):
        values = np.ones(shape.shape) if "norm" in leaf_name(path) else 0.3 * rng.standard_normal(shape.shape)
        return jnp.asarray(values, jnp.float32)

    return graphdef, jax.tree_util.tree_map_with_path(fill, shapes)


def scores_of(graphdef, params, ids):
    """(log-probabilities, entropies) of every predicted token, from whole logits."""
    positions = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
    network = nnx.merge(graphdef, params)
    logits = network.logits(network.hidden(ids, positions, jnp.ones_like(ids)))[:, :-1]
    all_logprobs = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(all_logprobs, ids[:, 1:, None], axis=2)[..., 0]
    return chosen, -(jnp.exp(all_logprobs) * all_logprobs).sum(axis=-1)


def recorded_gradients(learner):
    """The gradients that the learner's optimizer gets, step by step; filled while it updates."""
    gradients, apply = [], learner.apply_program

    def recording(state, gradient, statistics):
        gradients.append(jax.tree.map(np.array, gradient["policy"]))
        return apply(state, gradient, statistics)

    learner.apply_program = recording
    return gradients


def test_three_steps_of_the_papers_recipe_have_the_gradients_of_the_transcription(model):
    graphdef, params = model
    config = paper.get_config()
    config.sampler.update({"max_prompt_tokens": 16, "max_response_tokens": LONGEST, "prefill_tokens": 64})
    config.learner.update({"lr": LR, "row_tokens": 64, "logit_chunk": 64, "rows_per_microbatch": 32})
    config = from_mapping(config.to_dict())
    learner = make_learner(graphdef, params, config.learner, make_mesh(devices=jax.devices()[:1]))
    gradients = recorded_gradients(learner)
    scored = made_step()
    state, metrics = learning.learn(config, learner, learner.init(params), scored, 1, 0)
    assert metrics["ppo/steps"] == len(gradients) == 3

    recipe = Transcription(scored)
    scores = jax.jit(lambda params, ids: scores_of(graphdef, params, ids))
    pulled = jax.jit(lambda params, ids, by: jax.vjp(lambda p: scores_of(graphdef, p, ids), params)[1](by)[0])
    weights = params
    moments = [jax.tree.map(lambda x: np.zeros(x.shape), params)] * 2
    clipped = 0
    for number, responses in enumerate(recipe.minibatches):
        ids = padded(responses)
        spans = [slice(PROMPT - 1, PROMPT - 1 + len(response.rollout.token_ids)) for response in responses]

        def of_responses(values, spans=spans):
            return [np.asarray(row, np.float64)[span] for row, span in zip(values, spans, strict=True)]

        old = of_responses(scores(params, ids)[0])
        new = of_responses(scores(weights, ids)[0])
        by_logprob, by_entropy = recipe.derivatives(responses, new, old)
        clipped += sum((np.abs(np.exp(a - b) - 1) > CLIP).sum() for a, b in zip(new, old, strict=True))
        cotangents = [np.zeros((len(ids), ids.shape[1] - 1), np.float32) for _ in range(2)]
        for cotangent, derivatives in zip(cotangents, (by_logprob, by_entropy), strict=True):
            for row, span, values in zip(cotangent, spans, derivatives, strict=True):
                row[span] = values
        gradient = jax.tree.map(np.asarray, pulled(weights, ids, tuple(cotangents)))
        for own, theirs in zip(jax.tree.leaves(gradients[number]), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(own, theirs, atol=1e-5)
        weights, moments = adamw(weights, gradient, moments, number)
    assert clipped > 0  # the later steps have left the old policy far enough behind for the clip to matter
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradients[0])) > 1e-3
    for own, theirs in zip(jax.tree.leaves(state.params), jax.tree.leaves(weights), strict=True):
        np.testing.assert_allclose(own, theirs, atol=2e-4)


def adamw(weights, gradient, moments, step):
    """Torch's AdamW with lr LR, betas 0.9 and 0.999, decay 0.01 on everything, after clipping the global norm at 1."""
    norm = np.sqrt(sum(float((leaf.astype(np.float64) ** 2).sum()) for leaf in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * min(1.0, 1.0 / norm), gradient)
    mu = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    nu = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, moments[1], gradient)

    def moved(p, m, v):
        direction = m / (1 - 0.9 ** (step + 1)) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
        return jnp.asarray(np.asarray(p) * (1 - LR * 0.01) - LR * direction, jnp.float32)

    return jax.tree.map(moved, weights, mu, nu), [mu, nu]


def test_the_transcription_and_another_recipe_differ(model):
    """What base.py has instead gives other advantages: the test above can fail."""
    scored = made_step()
    recipe = Transcription(scored)
    config = from_mapping(paper.get_config().to_dict())
    by_tokens = learning.train_sequences(config, scored, 1)
    np.testing.assert_allclose(
        [sequence.advantage for sequence in by_tokens], [recipe.advantages[s.id] for s in by_tokens], atol=1e-5
    )
    other = dataclasses.replace(config, learner=dataclasses.replace(config.learner, estimator="trrpp"))
    by_responses = learning.train_sequences(other, scored, 1)
    assert max(abs(a.advantage - b.advantage) for a, b in zip(by_tokens, by_responses, strict=True)) > 0.02
