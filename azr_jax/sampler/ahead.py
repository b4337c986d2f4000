"""Compiles the sampler's small programs together with the large one before them, so that no later step waits.

The programs that copy rows are compiled for each size of prefill and of cache, and for each number of rows. Which
combinations occur depends on the sampled lengths, so all are compiled as soon as a prefill size is first used.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from azr_jax.sampler import buckets, decoding, programs

if TYPE_CHECKING:
    from azr_jax.sampler.engine import Sampler


def cache_sizes(sampler: Sampler) -> list[tuple[int, int]]:
    """(slots, positions) of every cache that a session may have."""
    if not sampler.elastic:
        return list(dict.fromkeys(sampler.tiers))
    slots = buckets.slot_buckets(sampler.slots, sampler.parts, sampler.draft_slots)
    return [(count, length) for count in slots for length in buckets.length_buckets(sampler.max_length)]


def for_caches(sampler: Sampler) -> None:
    """Compiles the programs that resize caches and move rows, once the session's first caches exist."""
    if not _compiles(sampler, "caches"):
        return
    total = list(dict.fromkeys(slots for slots, _ in cache_sizes(sampler))) if sampler.elastic else [sampler.slots]
    rows = {count: sampler.new_rows(count) for count in total}
    sources = {count: sampler.replicate(np.zeros((count,), np.int32)) for count in total}
    for count in total:
        for more in total:
            sampler.programs.arrange.lower(rows[count], sources[more]).compile()
        for entries in _first_sizes(count):
            integers = sampler.replicate(np.zeros((entries,), np.int32))
            streams = _streams(sampler, entries)
            texts = [np.zeros((entries, sampler.settings.max_prompt_tokens), np.int32)] if sampler.drafts else []
            # The tokens come from `first`; they are placed like the host's arrays.
            sampler.programs.enter.lower(
                rows[count], integers, integers, *streams[2:], integers, *streams[:2], *sampler.replicate(texts)
            ).compile()
    for slots, length in cache_sizes(sampler):
        decoding.init_caches(dataclasses.replace(sampler.model_config, layers=1), slots, length, *_options(sampler))
    for target, source in _changes(sampler):
        for (movers, buffer), (_, larger) in zip(_buffers(sampler, source), _buffers(sampler, target), strict=True):
            if sampler.elastic:
                movers.resize.lower(buffer, sources[target[0]], length=target[1]).compile()
                continue
            for entries in buckets.INSERT_SIZES:
                integers = sampler.replicate(np.zeros((entries,), np.int32))
                movers.move.lower(larger, buffer, integers, integers).compile()


def for_prefill(sampler: Sampler, params: Any, key: jax.Array, prefilled: programs.Prefilled, tokens: int) -> None:
    """Compiles the programs that copy this prefill's rows into any cache and draw their first tokens.

    `tokens` is the length of its rows.
    """
    stacked = prefilled.key_LBTKH
    layer = stacked[0] if isinstance(stacked, list) else stacked
    if not _compiles(sampler, ("prefill", layer.shape, prefilled.hidden_PD.shape)):
        return
    for entries in _first_sizes(sampler.slots):
        hidden_ND = prefilled.hidden_PD[sampler.replicate(np.zeros((entries,), np.int32))]
        sampler.programs.first.lower(params, key, hidden_ND, *_streams(sampler, entries)).compile()
    source = _shape_of(sampler, layer)
    for size in cache_sizes(sampler):
        if size[1] < tokens and not sampler.tuning.packs_prefill:
            continue  # prompts of this bucket need longer slots
        for (movers, buffer), entries in itertools.product(_buffers(sampler, size), buckets.INSERT_SIZES):
            integers = sampler.replicate(np.zeros((entries,), np.int32))
            if not sampler.tuning.packs_prefill:
                movers.insert.lower(buffer, source, 0, integers, integers).compile()
                continue
            for width in _widths(sampler, tokens):
                movers.insert_spans.lower(buffer, source, 0, integers, integers, integers, width=width).compile()


def _compiles(sampler: Sampler, name: Any) -> bool:
    """Whether this is the first time; never for programs that are not compiled (a simulation's)."""
    if not isinstance(sampler.programs, programs.Programs) or name in sampler.compiled:
        return False
    sampler.compiled.add(name)
    return True


def _changes(sampler: Sampler) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """(to, from) of the cache sizes between which rows may be copied."""
    sizes = cache_sizes(sampler)
    if not sampler.elastic:
        yield from {(target, source) for target, source in itertools.combinations(reversed(sampler.tiers), 2)}
        return
    for source in sizes:
        for target in sizes:
            if buckets.worth_resizing(source, target):
                yield target, source


def _widths(sampler: Sampler, tokens: int) -> list[int]:
    """The widths that `Slots` may copy of each prompt of a packed row of `tokens`."""
    most = sampler.settings.max_prompt_tokens
    longest = min(tokens, most)
    return sorted({buckets.packed_bucket(size, most, least=256) for size in (1, *range(256, longest, 256), longest)})


def _first_sizes(slots: int) -> list[int]:
    """Numbers of entries, padded, of one admission."""
    sizes = [buckets.SMALLEST_ROWS]
    while sizes[-1] < slots:
        sizes.append(sizes[-1] * 4)
    return sizes


def _streams(sampler: Sampler, entries: int) -> tuple[Any, ...]:
    """(temperature_N, id_words_N2, prompt_lengths_N) as `slots.streams` makes them."""
    vectors = (np.zeros((entries,), np.float32), np.zeros((entries, 2), np.uint32), np.zeros((entries,), np.int32))
    return sampler.replicate(vectors)


def _buffers(sampler: Sampler, size: tuple[int, int]) -> list[tuple[programs.Movers, Any]]:
    """Of each axis order, its programs and one layer's buffer of a cache of (slots, positions), as a shape."""
    caches = decoding.cache_shapes(sampler.model_config, *size, *_options(sampler))
    by_layout = dict(zip(caches.layouts, (caches.k[0], caches.v[0]), strict=True))
    return [(sampler.programs.movers[layout], buffer) for layout, buffer in by_layout.items()]


def _options(sampler: Sampler) -> tuple[Any, Any, str]:
    """(dtype, mesh, implementation) of the caches."""
    return sampler.compute_dtype, sampler.mesh, sampler.tuning.implementation


def _shape_of(sampler: Sampler, array: jax.Array) -> jax.ShapeDtypeStruct:
    sharding = None if sampler.mesh is None else array.sharding
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
