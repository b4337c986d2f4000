"""Which row of a session has which slot, on the host and on the device, and how large the caches are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from azr_jax.sampler import ahead, buckets, programs
from azr_jax.sampler.decoding import LayerCaches
from azr_jax.sampler.requests import Request, id_words

if TYPE_CHECKING:
    from azr_jax.sampler.engine import Sampler


@dataclasses.dataclass(slots=True, eq=False)
class Row:
    """A request in flight. `sent` counts tokens at most that the device may have drawn and the host has not seen."""

    request: Request
    slot: int
    token_ids: list[int]
    logprobs: list[float]
    sent: int = 0
    ended: bool = False

    def needed(self, more: int) -> int:
        """Cache positions the row may have written after `more` tokens in addition to those sent."""
        prompt = len(self.request.prompt_ids)
        return min(prompt + len(self.token_ids) + self.sent + more, prompt + self.request.max_tokens)

    @property
    def may_live(self) -> bool:
        """Whether the device may still draw a token for it."""
        return not self.ended and len(self.token_ids) + self.sent < self.request.max_tokens


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Where a prefilled prompt is: `row` of the prefill, from token `start` on; `entry` in its hidden states."""

    entry: int
    row: int
    start: int
    tokens: int


class Slots:
    """The caches of a session, by tiers (see decoding.py), and the rows in them.

    Slots are numbered over all tiers, shortest first. Either there is one tier, which follows the load in slots and
    positions (`Sampler.elastic`), or all tiers are made at once and rows move up as they grow.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.rows: list[Row | None] = []
        self.caches: tuple[LayerCaches, ...] = ()
        self._sampler = sampler
        self._bounds: list[int] = [0]
        self._device: programs.Rows | None = None
        self._first_tier = 0

    @property
    def live(self) -> list[Row]:
        """Rows that have a slot, by slot."""
        return [row for row in self.rows if row is not None]

    @property
    def shape(self) -> tuple[int, int]:
        """(slots, positions of the longest) now; (0, 0) before the first fit."""
        return (len(self.rows), self.caches[-1].length) if self.caches else (0, 0)

    # Sizes.

    def fit(self, wanted: int, needs: Sequence[int], more: int) -> None:
        """Gives caches and rows the sizes and places that the current work needs.

        Args:
          wanted: rows in flight and waiting.
          needs: positions that rows about to enter need.
          more: tokens that the next chunk may add to each row.
        """
        if self._sampler.elastic:
            self._resize(wanted, needs, more)
            return
        if not self.caches:
            self._make(self._sampler.tiers)
        self._move_up(wanted, more)

    def _make(self, tiers: Sequence[tuple[int, int]]) -> None:
        self.caches = tuple(self._sampler.new_caches(slots, length) for slots, length in tiers)
        self._bounds = [0, *np.cumsum([slots for slots, _ in tiers]).tolist()]
        self.rows = [None] * self._bounds[-1]
        self._device = self._sampler.new_rows(len(self.rows))
        ahead.for_caches(self._sampler)

    def _resize(self, wanted: int, needs: Sequence[int], more: int) -> None:
        sampler, live = self._sampler, self.live
        longest = max([row.needed(more) for row in live] + list(needs), default=1)
        length = buckets.length_bucket(longest, sampler.max_length)
        slots = buckets.slot_bucket(min(wanted, sampler.slots), sampler.slots, sampler.parts, sampler.draft_slots)
        if not self.caches:
            self._make([(slots, length)])
            return
        if not buckets.worth_resizing(self.shape, (slots, length)):
            return
        sources_B = np.full((slots,), -1, np.int32)
        for slot, row in enumerate(live):
            sources_B[slot] = row.slot
            row.slot = slot
        sources_B = sampler.replicate(sources_B)
        movers = sampler.programs.movers
        resized = (
            tier.map(lambda buffer, layout: movers[layout].resize(buffer, sources_B, length=length))
            for tier in self.caches
        )
        self.caches = tuple(resized)
        self._device = sampler.programs.arrange(self._device, sources_B)
        self.rows = [*live, *[None] * (slots - len(live))]
        self._bounds = [0, slots]

    def _move_up(self, wanted: int, more: int) -> None:
        """Moves rows that outgrow their slots to longer ones, and all out of tiers that the load no longer needs."""
        tiers = len(self.caches)
        leaving = 0
        while leaving < tiers - 1 and wanted <= len(self.rows) - self._bounds[leaving + 1]:
            leaving += 1
        moves: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for row in self.live:
            tier = self._tier(row.slot)
            short = row.needed(more) > self.caches[tier].length
            if tier < leaving or short:
                slot = self._free(row.needed(more), max(tier + 1, leaving))
                if slot is None and tier < leaving:
                    leaving = tier  # its slot is still needed
                if slot is not None:
                    moves.setdefault((tier, self._tier(slot)), []).append((row.slot, slot))
                    self.rows[row.slot], self.rows[slot], row.slot = None, row, slot
        self._first_tier = leaving
        if moves:
            self._move(moves)

    def _move(self, moves: dict[tuple[int, int], list[tuple[int, int]]]) -> None:
        sampler = self._sampler
        sources_B = np.arange(len(self.rows), dtype=np.int32)
        for pairs in moves.values():
            sources_B[[old for old, _ in pairs]] = -1
        together = buckets.INSERT_SIZES[-1]
        for (here, there), pairs in moves.items():
            for old, new in pairs:
                sources_B[new] = old
            for start in range(0, len(pairs), together):
                self._copy(here, there, pairs[start : start + together])
        self._device = sampler.programs.arrange(self._device, sampler.replicate(sources_B))

    def _copy(self, here: int, there: int, pairs: Sequence[tuple[int, int]]) -> None:
        """Copies rows between two tiers; `pairs` of their (old, new) slots."""
        sampler, source, target = self._sampler, self.caches[here], self.caches[there]
        pad = buckets.insert_size(len(pairs)) - len(pairs)
        sources = [old - self._bounds[here] for old, _ in pairs] + [0] * pad
        slots = [new - self._bounds[there] for _, new in pairs] + [target.slots] * pad
        slots_N, sources_N = sampler.replicate((np.array(slots, np.int32), np.array(sources, np.int32)))
        for name, layout in zip(("k", "v"), target.layouts, strict=True):
            buffers, movers = getattr(target, name), sampler.programs.movers[layout]
            for layer, buffer in enumerate(getattr(source, name)):
                buffers[layer] = movers.move(buffers[layer], buffer, slots_N, sources_N)

    def _tier(self, slot: int) -> int:
        return next(tier for tier in range(len(self.caches)) if slot < self._bounds[tier + 1])

    def _free(self, needed: int, first_tier: int) -> int | None:
        """An empty slot of `needed` positions in the shortest tier from `first_tier` on that has one."""
        for tier in range(first_tier, len(self.caches)):
            if self.caches[tier].length >= needed:
                for slot in range(self._bounds[tier], self._bounds[tier + 1]):
                    if self.rows[slot] is None:
                        return slot
        return None

    # Rows in and out.

    @property
    def room(self) -> int:
        """Positions of the longest empty slot, 0 if there is none; max_length if caches are resized with the load."""
        if self._sampler.elastic or not self.caches:
            return self._sampler.max_length
        tiers = [self._tier(slot) for slot, row in enumerate(self.rows) if row is None]
        return max((self.caches[tier].length for tier in tiers if tier >= self._first_tier), default=0)

    def take(self, request: Request, more: int) -> Row | None:
        """A slot for a request whose prompt is prefilled, or None if there is none of the length it needs."""
        slot = self._free(positions_needed(request, more), self._first_tier)
        if slot is None:
            return None
        row = self.rows[slot] = Row(request, slot, [], [])
        return row

    def enter(self, entering: Sequence[tuple[Row, Span]], prefilled: programs.Prefilled, tokens_N: jax.Array) -> None:
        """Copies prefilled prompts into their rows' slots; `tokens_N` are their first tokens, padded."""
        for tier in range(len(self.caches)):
            here = [(row, span) for row, span in entering if self._tier(row.slot) == tier]
            together = buckets.INSERT_SIZES[-1]
            for start in range(0, len(here), together):
                self._insert(tier, here[start : start + together], prefilled)
        requests = [row.request for row, _ in entering]
        pad = tokens_N.shape[0] - len(requests)
        slots_N = np.array([row.slot for row, _ in entering] + [len(self.rows)] * pad, np.int32)
        max_tokens_N = np.array([request.max_tokens for request in requests] + [0] * pad, np.int32)
        temperature_N, id_words_N2, lengths_N = streams(requests, pad)
        slots_N, lengths_N, max_tokens_N, temperature_N, id_words_N2 = self._sampler.replicate(
            (slots_N, lengths_N, max_tokens_N, temperature_N, id_words_N2)
        )
        self._device = self._sampler.programs.enter(
            self._device,
            slots_N,
            tokens_N,
            lengths_N,
            max_tokens_N,
            temperature_N,
            id_words_N2,
            *self._texts(requests, pad),
        )
        for row, _ in entering:
            row.sent = 1

    def _texts(self, requests: Sequence[Request], pad: int) -> tuple[jax.Array, ...]:
        """The prompts, padded, in which drafts are looked up; nothing without drafts."""
        if not self._sampler.drafts:
            return ()
        prompts_NT = np.zeros((len(requests) + pad, self._sampler.settings.max_prompt_tokens), np.int32)
        for row_T, request in zip(prompts_NT, requests, strict=False):
            row_T[: len(request.prompt_ids)] = request.prompt_ids
        return (self._sampler.replicate(prompts_NT),)

    def _insert(self, tier: int, here: Sequence[tuple[Row, Span]], prefilled: programs.Prefilled) -> None:
        sampler = self._sampler
        # Pad entries go to a slot past the last, which drops them.
        pad = buckets.insert_size(len(here)) - len(here)
        slots = [row.slot - self._bounds[tier] for row, _ in here] + [self.caches[tier].slots] * pad
        spans = [span for _, span in here] + [here[0][1]] * pad
        rows_N, starts_N, slots_N = sampler.replicate(
            tuple(np.array(values, np.int32) for values in ([s.row for s in spans], [s.start for s in spans], slots))
        )
        width = buckets.packed_bucket(max(span.tokens for span in spans), sampler.settings.max_prompt_tokens, least=256)
        caches = self.caches[tier]
        for buffers, source, layout in zip(
            (caches.k, caches.v), (prefilled.key_LBTKH, prefilled.value_LBTKH), caches.layouts, strict=True
        ):
            movers = sampler.programs.movers[layout]
            for layer, buffer in enumerate(buffers):
                stacked, index = (source[layer], 0) if isinstance(source, list) else (source, layer)
                if sampler.tuning.packs_prefill:
                    buffers[layer] = movers.insert_spans(buffer, stacked, index, rows_N, starts_N, slots_N, width=width)
                else:
                    buffers[layer] = movers.insert(buffer, stacked, index, rows_N, slots_N)

    def release(self, row: Row, known_to_device: bool) -> None:
        """Frees a row's slot. If a stop string ended the row, this tells the device."""
        row.ended = True
        self.rows[row.slot] = None
        if not known_to_device:
            sources_B = np.arange(len(self.rows), dtype=np.int32)
            sources_B[row.slot] = -1
            self._device = self._sampler.programs.arrange(self._device, self._sampler.replicate(sources_B))

    def close(self) -> None:
        """Frees the caches' memory now, even if something still refers to them."""
        for tier in self.caches:
            for buffer in (*tier.k, *tier.v):
                buffer.delete()
        self.caches, self._device = (), None

    # Decoding.

    def decode(self, params: Any, key: jax.Array) -> tuple[dict[int, Row], list[jax.Array]]:
        """Sends a chunk: (the rows by their place in its outputs, [tokens_BC, logprobs_BC, steps] on the device).

        With drafts where few slots are computed: [..., counts_3].
        """
        sampler, first = self._sampler, self._first_tier
        few = len(self.rows) - self._bounds[first] <= sampler.draft_slots
        decode = sampler.programs.speculate if few else sampler.programs.decode
        caches, self._device, *outputs = decode(params, key, self.caches[first:], self._device)
        self.caches = (*self.caches[:first], *caches)
        start = self._bounds[first]
        rows = {row.slot - start: row for row in self.live if row.slot >= start}
        for row in rows.values():
            row.sent += outputs[0].shape[1]
        return rows, outputs


def positions_needed(request: Request, more: int) -> int:
    """Positions of a slot in which a request may begin, with a chunk of `more` tokens."""
    return len(request.prompt_ids) + min(more, request.max_tokens)


def streams(requests: Sequence[Request], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(temperature_N, id_words_N2, prompt_lengths_N) with `pad` greedy entries at the end."""
    return (
        np.array([request.temperature for request in requests] + [0.0] * pad, np.float32),
        np.array([id_words(request.id) for request in requests] + [(0, 0)] * pad, np.uint32),
        np.array([len(request.prompt_ids) for request in requests] + [0] * pad, np.int32),
    )
