"""Does it learn? Bandits that a policy gradient solves, and one whose credit only a critic can assign."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_learner import CONFIG, learner, settings, transformer

from azr_jax.learner.advantages import sequence_advantages
from azr_jax.learner.packing import TrainSequence, pack

EVEN = np.arange(CONFIG.vocab_size) % 2 == 0


def make_sampler(length: int):
    """(params, prompts_B, key) -> (tokens_BT, logprobs_BT): `length` tokens after a prompt of one token."""
    graphdef, _ = transformer()

    @jax.jit
    def sample(params, prompts_B, key):
        model = nnx.merge(graphdef, params)
        rows = jnp.zeros((len(prompts_B), length + 1), jnp.int32).at[:, 0].set(prompts_B)
        logprobs = jnp.zeros((len(prompts_B), length), jnp.float32)
        positions = jnp.broadcast_to(jnp.arange(length + 1), rows.shape)
        for t in range(length):
            all_logprobs = jax.nn.log_softmax(model.logits(model.hidden(rows, positions, jnp.ones_like(rows))[:, t]))
            chosen = jax.random.categorical(jax.random.fold_in(key, t), all_logprobs)
            rows = rows.at[:, t + 1].set(chosen)
            logprobs = logprobs.at[:, t].set(jnp.take_along_axis(all_logprobs, chosen[:, None], axis=1)[:, 0])
        return rows[:, 1:], logprobs

    return sample


def train(chosen, length: int, reward_of, steps: int, count: int = 32, minibatches: int = 1):
    """Mean rewards and metrics by step, and the final state; half the prompts are task 0, half task 3."""
    trainer, state = learner(chosen)
    sample = make_sampler(length)
    prompts = np.where(np.arange(count) % 2 == 0, 1, 2)
    groups = np.where(prompts == 1, 0, 3)
    means, history = [], []
    for step in range(steps):
        tokens, logprobs = (np.asarray(x) for x in sample(state.params, prompts, jax.random.key(step)))
        rewards = reward_of(prompts, tokens).astype(np.float32)
        advantages = sequence_advantages(
            chosen.estimator, rewards.tolist(), groups.tolist(), list(range(count)), [length] * count
        )
        sequences = [
            TrainSequence(str(i), [int(prompts[i])], tokens[i], logprobs[i], advantages[i], int(groups[i]), rewards[i])
            for i in range(count)
        ]
        parts = [sequences[start::minibatches] for start in range(minibatches)]
        batches = [pack(part, chosen.row_tokens, trainer.rows_per_microbatch, 0) for part in parts]
        state, metrics = trainer.update(state, *batches)
        means.append(float(rewards.mean()))
        history.append(metrics)
    return means, history


@pytest.mark.ci
def test_trrpp_raises_the_reward_of_two_opposite_tasks():
    """Task 0 wants an even token, task 3 an odd one for a hundredth of the reward: whitening makes them equal."""

    def reward_of(prompts, tokens):
        good = EVEN[tokens[:, 0]] == (prompts == 1)
        return np.where(prompts == 1, good * 1.0, good * 0.01)

    means, history = train(settings(lr=3e-2), length=1, reward_of=reward_of, steps=30)
    assert np.mean(means[:3]) < 0.35
    assert np.mean(means[-5:]) > 0.95 * 0.505
    # The sampler here is the trainer's own network: nothing to correct for.
    assert max(metrics["ppo/mismatch_max"] for metrics in history) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("value_coef", "learns"), [(1.0, True), (0.0, False)])
def test_gae_assigns_credit_through_the_critic(value_coef, learns):
    """The reward, on the last of three tokens, depends on the first alone.

    With lambda 0 the first token's advantage is V(s_1) - V(s_0): nothing but the critic can tell it of the reward, and
    without training the critic nothing is learned.
    """

    def reward_of(prompts, tokens):
        del prompts
        return EVEN[tokens[:, 0]] * 1.0

    chosen = settings(estimator="gae", gae_lambda=0.0, lr=2e-2, value_coef=value_coef, entropy_coef=0.0)
    means, history = train(chosen, length=3, reward_of=reward_of, steps=50, minibatches=2)
    assert np.mean(means[:3]) < 0.7
    assert (np.mean(means[-5:]) > 0.9) == learns
    assert all(np.isfinite(list(metrics.values())).all() for metrics in history)
