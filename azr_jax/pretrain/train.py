"""Supervised training of a small decoder from random weights on packed transcripts."""

from __future__ import annotations

import dataclasses
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
from azr_jax.model.transformer import Transformer


@flax.struct.dataclass
class Rows:
    """Packed documents: `weight_RT` is the loss weight of predicting the token after each position, 0 at ends."""

    tokens_RT: np.ndarray
    positions_RT: np.ndarray
    segment_ids_RT: np.ndarray
    weight_RT: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """Trained parameters and how they came about; losses are nats a response token."""

    params: Any
    final_loss: float
    heldback_loss: float
    steps: int
    tokens: int
    seconds: float


def pack(documents: Sequence[tuple[list[int], list[int]]], row_tokens: int, prompt_weight: float) -> Rows:
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


def fit(config: ModelConfig, settings: PretrainSettings, rows: Rows, heldback: Rows, seed: int) -> Result:
    """One pass over the rows in a seeded order with AdamW, warm-up and cosine decay; logs every 20 steps."""
    model = Transformer(config, rngs=nnx.Rngs(seed), compute_dtype=jnp.float32, remat="none")
    graphdef, params = nnx.split(model)
    batch = settings.batch_rows
    order = np.random.default_rng(seed).permutation(len(rows.tokens_RT))
    order = order[: len(order) // batch * batch].reshape(-1, batch)
    rate = optax.warmup_cosine_decay_schedule(0.0, settings.learning_rate, 50, len(order), settings.learning_rate / 20)
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

    @jax.jit
    def update(params: Any, opt_state: Any, batch: Rows) -> tuple[Any, Any, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    started, recent = time.monotonic(), []
    for step, chosen in enumerate(order, start=1):
        part = jax.tree.map(lambda array, chosen=chosen: array[chosen], rows)
        params, opt_state, loss = update(params, opt_state, part)
        recent.append(float(loss))
        if step % 20 == 0 or step == len(order):
            speed = step * batch * settings.row_tokens / (time.monotonic() - started)
            logging.info("step %d/%d  loss %.4f  %.0f tokens/s", step, len(order), np.mean(recent[-20:]), speed)
    seconds = time.monotonic() - started
    response_only = heldback.replace(weight_RT=(heldback.weight_RT == 1.0).astype(np.float32))
    evaluated = jax.jit(loss_fn)
    slices = [slice(at, at + batch) for at in range(0, len(heldback.tokens_RT) // batch * batch, batch)]
    parts = [evaluated(params, jax.tree.map(lambda array, at=at: array[at], response_only)) for at in slices]
    return Result(
        params=params,
        final_loss=float(np.mean(recent[-20:])),
        heldback_loss=float(np.mean([float(part) for part in parts])),
        steps=len(order),
        tokens=int((rows.segment_ids_RT[order.ravel()] > 0).sum()),
        seconds=seconds,
    )
