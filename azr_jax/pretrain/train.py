"""Supervised training of a small decoder from random weights on packed transcripts."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx

from azr_jax.config import PretrainSettings
from azr_jax.model.configuration import ModelConfig
from azr_jax.pretrain.initialisation import copying_weights


@flax.struct.dataclass
class Rows:
    """Packed documents: `weight_RT` is the loss weight of predicting the token after each position, 0 at ends."""

    tokens_RT: np.ndarray
    positions_RT: np.ndarray
    segment_ids_RT: np.ndarray
    weight_RT: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """Trained parameters and figures of the training; losses are nats a response token."""

    params: Any
    final_loss: float
    heldback_loss: float
    steps: int
    tokens: int
    seconds: float


def rows_of(documents: Sequence[tuple[list[int], list[int]]], row_tokens: int, prompt_weight: float) -> Rows:
    """(prompt ids, response ids) in the given order into rows of `row_tokens`, none split.

    Raises:
      ValueError: a document longer than a row.
    """
    rows: list[list[tuple[list[int], list[int]]]] = []
    free = 0
    for number, (prompt, response) in enumerate(documents):
        length = len(prompt) + len(response)
        if length > row_tokens:
            raise ValueError(f"document {number} has {length} tokens; raise pretrain.row_tokens={row_tokens}")
        if length > free:
            rows.append([])
            free = row_tokens
        rows[-1].append((prompt, response))
        free -= length
    shape = (len(rows), row_tokens)
    tokens, positions, segments = (np.zeros(shape, np.int32) for _ in range(3))
    weight = np.zeros(shape, np.float32)
    for row, packed in enumerate(rows):
        start = 0
        for segment, (prompt, response) in enumerate(packed, start=1):
            end = start + len(prompt) + len(response)
            tokens[row, start:end] = prompt + response
            positions[row, start:end] = np.arange(end - start)
            segments[row, start:end] = segment
            weight[row, start : start + len(prompt) - 1] = prompt_weight
            weight[row, start + len(prompt) - 1 : end - 1] = 1.0
            start = end
    return Rows(tokens, positions, segments, weight)


def copying_documents(
    token_ids: Sequence[int], count: int, length: int, seed: int
) -> list[tuple[list[int], list[int]]]:
    """`count` documents of `length` tokens: a random run of 3 to 40 tokens, repeated; the response repeats it."""
    rng = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        run = rng.choice(np.asarray(token_ids), rng.integers(3, 41))
        tokens = np.resize(run, length).tolist()
        documents.append((tokens[: len(run)], tokens[len(run) :]))
    return documents


def fit(config: ModelConfig, settings: PretrainSettings, phases: Sequence[Rows], heldback: Rows, seed: int) -> Result:
    """One pass over each phase's rows in turn, in a seeded order; AdamW, warm-up and cosine decay over all phases."""
    graphdef, params = copying_weights(config, seed)
    batch = settings.batch_rows
    rng, batches = np.random.default_rng(seed), []
    for rows in phases:
        order = rng.permutation(len(rows.tokens_RT))
        chosen = order[: len(order) // batch * batch].reshape(-1, batch)
        batches += [jax.tree.map(lambda array, places=places: array[places], rows) for places in chosen]
    warmup = min(50, len(batches) // 10)
    peak = settings.learning_rate
    rate = optax.warmup_cosine_decay_schedule(0.0, peak, warmup, len(batches), peak / 20)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, b2=0.98, weight_decay=0.05, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)),
    )
    opt_state = optimizer.init(params)

    def loss_fn(params: Any, batch: Rows) -> jax.Array:
        model = nnx.merge(graphdef, params)
        hidden_BTD = model.hidden(batch.tokens_RT, batch.positions_RT, batch.segment_ids_RT)
        targets_BT = jnp.roll(batch.tokens_RT, -1, axis=1)
        losses_BT = optax.softmax_cross_entropy_with_integer_labels(model.logits(hidden_BTD), targets_BT)
        return jnp.sum(losses_BT * batch.weight_RT) / jnp.sum(batch.weight_RT)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, opt_state: Any, batch: Rows) -> tuple[Any, Any, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    started, recent = time.monotonic(), []
    for step, part in enumerate(batches, start=1):
        params, opt_state, loss = update(params, opt_state, part)
        recent.append(float(loss))
        if step % 50 == 0 or step == len(batches):
            speed = step * batch * settings.row_tokens / (time.monotonic() - started)
            logging.info("step %d/%d  loss %.4f  %.0f tokens/s", step, len(batches), np.mean(recent[-50:]), speed)
    seconds = time.monotonic() - started
    response_only = dataclasses.replace(heldback, weight_RT=(heldback.weight_RT == 1.0).astype(np.float32))
    evaluated = jax.jit(loss_fn)
    slices = [slice(at, at + batch) for at in range(0, len(heldback.tokens_RT) // batch * batch, batch)]
    parts = [evaluated(params, jax.tree.map(lambda array, at=at: array[at], response_only)) for at in slices]
    return Result(
        params=params,
        final_loss=float(np.mean(recent[-50:])),
        heldback_loss=float(np.mean([float(part) for part in parts])),
        steps=len(batches),
        tokens=sum(int((part.segment_ids_RT > 0).sum()) for part in batches),
        seconds=seconds,
    )
