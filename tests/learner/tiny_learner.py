"""A tiny model, settings and batches for the learner's tests."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from azr_jax.config import LearnerSettings
from azr_jax.learner.packing import Batch, TrainSequence, pack
from azr_jax.learner.state import TrainState
from azr_jax.learner.update import Learner, make_learner
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.sharding import leaf_name, make_mesh
from azr_jax.model.transformer import abstract

CONFIG = ModelConfig(
    vocab_size=32, embed_dim=16, ffn_dim=32, layers=2, heads=4, kv_heads=2, head_dim=4, max_positions=64
)
SETTINGS = LearnerSettings(
    estimator="trrpp",
    lr=1e-2,
    lr_schedule="constant",
    lr_decay_steps=0,
    lr_end=0.0,
    warmup_steps=0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weight_decay=0.01,
    decay="matrices",
    moment_dtype="float32",
    gradient_clip=1.0,
    policy_loss="ppo",
    ratio="token",
    clip_epsilon=0.2,
    clip_epsilon_high=0.0,
    dual_clip=0.0,
    entropy_coef=0.001,
    kl_coef=0.0,
    kl_estimator="k3",
    kl_in="loss",
    gamma=1.0,
    gae_lambda=1.0,
    value_coef=0.5,
    epochs=1,
    minibatches="1",
    microbatch_responses=16,
    propose_every=1,
    row_tokens=24,
    rows_per_microbatch=2,
    logit_chunk=8,
    recompute_old_logprobs=True,
    importance="truncate",
    importance_low=0.5,
    importance_cap=2.0,
    loss_aggregation="token",
    max_nonfinite_updates=3,
)


def settings(**changes) -> LearnerSettings:
    return dataclasses.replace(SETTINGS, **changes)


def transformer(seed: int = 0, compute_dtype=jnp.float32, mesh=None):
    """(graphdef, params): random weights made by NumPy, since making them with JAX compiles for seconds."""
    graphdef, shapes = abstract(CONFIG, compute_dtype=compute_dtype, mesh=mesh)
    rng = np.random.default_rng(seed)

    def fill(path, shape):
        if "norm" in leaf_name(path):
            return jnp.asarray(np.ones(shape.shape, np.float32))
        return jnp.asarray(0.1 * rng.standard_normal(shape.shape, np.float32))

    return graphdef, jax.tree_util.tree_map_with_path(fill, shapes)


def sequences(count: int, seed: int = 0) -> list[TrainSequence]:
    rng = np.random.default_rng(seed)
    responses = []
    for index in range(count):
        length = int(rng.integers(2, 9))
        responses.append(
            TrainSequence(
                id=f"response {index}",
                prompt_ids=rng.integers(1, 32, int(rng.integers(1, 6))).tolist(),
                response_ids=rng.integers(1, 32, length).tolist(),
                sampler_logprobs=(-3.4 + 0.2 * rng.standard_normal(length)).tolist(),
                advantage=float(rng.standard_normal()),
                group=index % 6,
                reward=float(rng.random()),
            )
        )
    return responses


def batch(count: int = 12, seed: int = 0, rows_multiple: int = 2, row_tokens: int = 24) -> Batch:
    return pack(sequences(count, seed), row_tokens, rows_multiple, pad_id=0)


def batches(count: int, parts: int, rows_multiple: int = 2) -> list[Batch]:
    """As many minibatches, of consecutive responses."""
    responses = sequences(count)
    size = count // parts
    return [pack(responses[start : start + size], 24, rows_multiple, pad_id=0) for start in range(0, count, size)]


@functools.cache
def _learner(changed: LearnerSettings, temperature: float, compute_dtype) -> Learner:
    graphdef, params = transformer(compute_dtype=compute_dtype)
    return make_learner(graphdef, params, changed, make_mesh(devices=jax.devices()[:1]), temperature)


def learner(
    changed: LearnerSettings, temperature: float = 1.0, compute_dtype=jnp.float32
) -> tuple[Learner, TrainState]:
    """(learner on one device, compiled once for the whole test run; a fresh state)."""
    trainer = _learner(changed, temperature, compute_dtype)
    return trainer, trainer.init(transformer()[1])


def leaves(tree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
