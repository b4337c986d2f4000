"""Which waiting prompts are prefilled together, and the arrays for it: a row each, or all in one row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from azr_jax.config import SamplerSettings
from azr_jax.model.cudnn_attention import MOST_SEGMENTS
from azr_jax.sampler import buckets
from azr_jax.sampler.slots import Span

Prompt = tuple[int, ...]
# (tokens_BT, positions_BT, segment_ids_BT, last_P), see programs.Programs.prefill.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def in_rows(
    waiting: Iterable[Prompt], settings: SamplerSettings, parts: int, pad_id: int
) -> tuple[list[tuple[Prompt, Span]], Arrays]:
    """The first of `waiting` and others of its length bucket, one row each, up to `prefill_tokens` together."""
    waiting = list(waiting)
    T = buckets.length_bucket(len(waiting[0]), settings.max_prompt_tokens)
    room = max(1, settings.prefill_tokens // T)
    prompts = [ids for ids in waiting if buckets.length_bucket(len(ids), settings.max_prompt_tokens) == T][:room]
    B = buckets.batch_size(len(prompts), room, parts)
    spans = [(ids, Span(row, row, 0, len(ids))) for row, ids in enumerate(prompts[:B])]
    return spans, _arrays(spans, B, T, B, pad_id)


def in_one_row(
    waiting: Iterable[Prompt], settings: SamplerSettings, parts: int, pad_id: int
) -> tuple[list[tuple[Prompt, Span]], Arrays]:
    """The first of `waiting` and those after it that fit into one row of `prefill_tokens`, MOST_SEGMENTS at most.

    A prompt that does not fit is skipped, shorter ones may follow. `parts` is 1: one row is not split.
    """
    assert parts == 1
    spans: list[tuple[Prompt, Span]] = []
    start = 0
    for ids in waiting:
        if start + len(ids) <= settings.prefill_tokens and len(spans) < MOST_SEGMENTS:
            spans.append((ids, Span(len(spans), 0, start, len(ids))))
            start += len(ids)
    T = buckets.packed_bucket(start, settings.prefill_tokens)
    return spans, _arrays(spans, 1, T, MOST_SEGMENTS, pad_id)


def sizes(settings: SamplerSettings, parts: int, packs: bool) -> list[tuple[int, int]]:
    """(rows, tokens per row) of every prefill that `in_rows`, or with `packs` `in_one_row`, may make."""
    if packs:
        most = settings.prefill_tokens
        lengths = {buckets.packed_bucket(tokens, most) for tokens in (*range(1, most, 1024), most)}
        return [(1, length) for length in sorted(lengths)]
    every = []
    for tokens in buckets.length_buckets(settings.max_prompt_tokens):
        room = max(1, settings.prefill_tokens // tokens)
        every += [(rows, tokens) for rows in sorted({buckets.batch_size(n, room, parts) for n in range(1, room + 1)})]
    return every


def _arrays(spans: list[tuple[Prompt, Span]], B: int, T: int, P: int, pad_id: int) -> Arrays:
    tokens_BT = np.full((B, T), pad_id, np.int32)
    positions_BT = np.zeros((B, T), np.int32)
    segment_ids_BT = np.zeros((B, T), np.int32)
    last_P = np.zeros((P,), np.int32)
    segments = [0] * B
    for ids, span in spans:
        part = slice(span.start, span.start + span.tokens)
        segments[span.row] += 1
        tokens_BT[span.row, part] = ids
        positions_BT[span.row, part] = np.arange(span.tokens, dtype=np.int32)
        segment_ids_BT[span.row, part] = segments[span.row]
        last_P[span.entry] = span.row * T + part.stop - 1
    return tokens_BT, positions_BT, segment_ids_BT, last_P
