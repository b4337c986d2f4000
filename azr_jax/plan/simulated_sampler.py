"""The sampler's own session on a device that computes nothing and keeps time.

A simulated step runs `sampler.session.Session` itself: admission, prefills, slots and chunks are those of a run. Only
the programs are replaced: they know the length of each response, return the tokens that a chunk draws, and add the
seconds of `Costs` to a clock. The host waits on the clock when it would wait for the device's arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from azr_jax.model.attention import cache_layouts
from azr_jax.sampler.decoding import LayerCaches
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.programs import Prefilled
from azr_jax.sampler.requests import id_words
from azr_jax.sampler.session import Session

_TOKEN = 0  # drawn until a row ends; any token will do


class Costs(Protocol):
    """Seconds of the device for each kind of work."""

    def prefill_s(self, rows: int, tokens: int, attended: float) -> float:
        """A prefill of `rows` x `tokens`, padding included; `attended` counts (query, key) pairs."""
        ...

    def decode_s(self, tiers: Sequence[tuple[int, int]], context_tokens_C: np.ndarray) -> float:
        """Decode steps over `tiers` of (slots, positions), one for each of `context_tokens_C`: keys of running rows.

        With drafts each token of a slot counts as a slot.
        """
        ...

    def first_s(self, entries: int) -> float:
        """The first tokens of `entries` prompts."""
        ...

    def copy_s(self, slots: int, positions: int) -> float:
        """Copying `slots` of `positions` into a cache, all layers."""
        ...


@dataclasses.dataclass(slots=True)
class Clock:
    """Seconds since the step began: the host's clock, and the time at which the device will have finished its queue."""

    host_s: float = 0.0
    device_free_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    chunks: list[tuple[float, int, int]] = dataclasses.field(default_factory=list)

    def send(self, seconds: float) -> float:
        """Queues work on the device; returns the time at which it is done."""
        self.device_free_s = max(self.device_free_s, self.host_s) + seconds
        return self.device_free_s


class _Array:
    """A device's array: reading it makes the host wait until it is computed."""

    def __init__(self, value: np.ndarray, ready_s: float, clock: Clock) -> None:
        self._value, self._ready_s, self._clock = value, ready_s, clock

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    def block_until_ready(self) -> _Array:
        self._clock.host_s = max(self._clock.host_s, self._ready_s)
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy
        self.block_until_ready()
        return self._value if dtype is None else self._value.astype(dtype)


@dataclasses.dataclass(frozen=True)
class _Buffer:
    """A cache's keys or values: only its shape."""

    shape: tuple[int, ...]

    @classmethod
    def of(cls, layout: str, slots: int, length: int) -> _Buffer:
        """A buffer of this axis order, of one head of one number."""
        return cls(tuple({"B": slots, "S": length}.get(letter, 1) for letter in layout))

    def delete(self) -> None:
        """As jax.Array."""


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The device's state of every slot: tokens that its row will still draw, and the position of the next."""

    left_B: np.ndarray
    ends_B: np.ndarray  # whether the row ends itself, not at `max_tokens`
    position_B: np.ndarray


class _Programs:
    """Stands for `sampler.programs.Programs`: advances the clock instead of computing."""

    def __init__(
        self, sampler: SimulatedSampler, costs: Costs, clock: Clock, lengths: Mapping[tuple[int, int], int]
    ) -> None:
        self._sampler, self._costs, self._clock, self._lengths = sampler, costs, clock, lengths
        self._end = min(sampler.tokenizer.eos_ids)
        self.movers = {layout: _Movers(self, layout) for layout in cache_layouts(sampler.tuning.implementation)}

    def prefill(self, params: Any, tokens_BT: Any, positions_BT: Any, segment_ids_BT: Any, last_P: Any) -> Any:
        del params
        rows, tokens = tokens_BT.shape
        attended = float(((positions_BT + 1) * (segment_ids_BT > 0)).sum())
        seconds = self._costs.prefill_s(rows, tokens, attended)
        self._clock.prefill_s += seconds
        ready_s = self._clock.send(seconds)
        buffer = _Buffer((self._sampler.model_config.layers, rows, tokens, 1, 1))
        hidden: Any = _Hidden(last_P.shape[0], ready_s, self._clock)
        return Prefilled(hidden_PD=hidden, key_LBTKH=buffer, value_LBTKH=buffer)

    def first(self, params: Any, key: Any, hidden: Any, temperature_N: Any, words_N2: Any, lengths_N: Any) -> Any:
        del params, key, hidden, temperature_N
        seconds = self._costs.first_s(len(lengths_N))
        self._clock.prefill_s += seconds
        ready_s = self._clock.send(seconds)
        lengths = [self._lengths.get((int(low), int(high)), 0) for low, high in words_N2]
        tokens_N = np.array([self._end if length == 1 else _TOKEN for length in lengths], np.int32)
        return _Array(tokens_N, ready_s, self._clock), _Array(np.zeros(len(lengths), np.float32), ready_s, self._clock)

    def enter(
        self, rows: _Rows, slots_N: Any, tokens_N: Any, lengths_N: Any, max_tokens_N: Any, temperature_N: Any,
        words_N2: Any, prompts_NT: Any = None,
    ) -> _Rows:  # fmt: skip
        del tokens_N, temperature_N, prompts_NT
        lengths_N2 = np.array([self._lengths.get((int(low), int(high)), 0) for low, high in words_N2])
        inside = slots_N < len(rows.left_B)
        here = slots_N[inside]
        left_B, ends_B, position_B = rows.left_B.copy(), rows.ends_B.copy(), rows.position_B.copy()
        left_B[here] = np.minimum(lengths_N2, max_tokens_N)[inside] - 1
        ends_B[here] = (lengths_N2 <= max_tokens_N)[inside]
        position_B[here] = lengths_N[inside]
        return _Rows(left_B, ends_B, position_B)

    def arrange(self, rows: _Rows, sources_B: np.ndarray) -> _Rows:
        here_B = np.clip(sources_B, 0, len(rows.left_B) - 1)
        left_B = np.where(sources_B >= 0, rows.left_B[here_B], 0)
        return _Rows(left_B, rows.ends_B[here_B], rows.position_B[here_B])

    def decode(self, params: Any, key: Any, caches: tuple[LayerCaches, ...], rows: _Rows) -> Any:
        del params, key
        return self._chunk(caches, rows, 1, 1.0)

    def speculate(self, params: Any, key: Any, caches: tuple[LayerCaches, ...], rows: _Rows) -> Any:
        del params, key
        return self._chunk(caches, rows, self._sampler.drafts + 1, self._sampler.tokens_per_draft_step)

    def _chunk(self, caches: tuple[LayerCaches, ...], rows: _Rows, width: int, rate: float) -> Any:
        """Steps that compute `width` tokens of each slot, of which a running row keeps `rate` on average."""
        most, tuning = self._sampler.settings.chunk // width, self._sampler.tuning
        chunk = most * width
        tiers = [(tier.slots, tier.length) for tier in caches]
        capacity_B = np.concatenate([np.full(slots, length) for slots, length in tiers])
        resting = len(rows.left_B) - len(capacity_B)
        position_B = rows.position_B[resting:]
        drawn_C = np.floor(rate * np.arange(most + 1)).astype(int)  # of a row after so many steps
        drawn_B = np.clip(np.minimum(rows.left_B[resting:], capacity_B - position_B), 0, drawn_C[-1])
        steps_B = np.searchsorted(drawn_C, drawn_B)
        steps = most if tuning.fixed_steps else int(steps_B.max())
        running_CB = np.arange(steps)[:, None] < steps_B[None, :]
        context_CB = position_B[None, :] + drawn_C[:steps, None] + (width + 1) / 2  # mean of a step's tokens
        seconds = self._costs.decode_s(
            [(width * slots, length) for slots, length in tiers], width * (context_CB * running_CB).sum(axis=1)
        )
        self._clock.decode_s += seconds
        ready_s = self._clock.send(seconds)
        self._clock.chunks.append((seconds, int(running_CB[0].sum()) if steps else 0, len(capacity_B)))
        left_B, positions = rows.left_B.copy(), rows.position_B.copy()
        left_B[resting:] -= drawn_B
        positions[resting:] += drawn_B
        tokens_BC = np.where(np.arange(chunk)[None, :] < drawn_B[:, None], _TOKEN, -1).astype(np.int32)
        ended_B = (left_B[resting:] == 0) & (drawn_B > 0) & rows.ends_B[resting:]
        tokens_BC[ended_B, drawn_B[ended_B] - 1] = self._end
        taken = np.array([steps, steps_B.sum(), (width - 1) * steps_B.sum()]) if width > 1 else np.array(steps)
        outputs = (tokens_BC, np.zeros(tokens_BC.shape, np.float32), taken)
        return (
            caches,
            _Rows(left_B, rows.ends_B, positions),
            *(_Array(array, ready_s, self._clock) for array in outputs),
        )

    def copy(self, slots: int, positions: int) -> None:
        """One layer's keys or values: the same for each, so that the copy of all layers is split over the calls."""
        seconds = self._costs.copy_s(slots, positions) / (2 * self._sampler.model_config.layers)
        self._clock.prefill_s += seconds
        self._clock.send(seconds)


@dataclasses.dataclass(frozen=True)
class _Movers:
    """Stands for `sampler.programs.Movers`."""

    programs: _Programs
    layout: str

    def insert(self, buffer: _Buffer, stacked: Any, index: int, rows_N: Any, slots_N: Any, width: int = 0) -> _Buffer:
        del index, rows_N
        self.programs.copy(len(slots_N), width or stacked.shape[2])
        return buffer

    def insert_spans(
        self, buffer: _Buffer, stacked: Any, index: int, rows_N: Any, starts_N: Any, slots_N: Any, width: int
    ) -> _Buffer:
        del starts_N
        return self.insert(buffer, stacked, index, rows_N, slots_N, width)

    def move(self, target: _Buffer, source: _Buffer, slots_N: Any, sources_N: Any) -> _Buffer:
        del sources_N
        self.programs.copy(len(slots_N), max(source.shape[1:]))
        return target

    def resize(self, buffer: _Buffer, sources_B: Any, length: int) -> _Buffer:
        del buffer
        self.programs.copy(len(sources_B), length)
        return _Buffer.of(self.layout, len(sources_B), length)


class _Hidden(_Array):
    """Last hidden states, of which only the entries are looked up."""

    def __init__(self, entries: int, ready_s: float, clock: Clock) -> None:
        super().__init__(np.zeros((entries, 1)), ready_s, clock)

    def __getitem__(self, entries_N: np.ndarray) -> np.ndarray:
        return np.zeros((len(entries_N), 1))


class SimulatedSampler:
    """A Sampler for a Session, with the sizes of a real one and `tiers` of (slots, positions).

    `lengths` are the tokens that each request will draw, by its id; a response ends there or at its `max_tokens`.
    `tokens_per_draft_step`: of a row, drafts kept and its own.
    """

    def __init__(
        self,
        sampler: Sampler,
        tiers: Sequence[tuple[int, int]],
        costs: Costs,
        lengths: Mapping[str, int],
        elastic: bool = False,
        tokens_per_draft_step: float = 1.0,
    ) -> None:
        self.drafts, self.draft_slots = sampler.drafts, sampler.draft_slots
        self.tokens_per_draft_step = min(tokens_per_draft_step, self.drafts + 1.0)
        self.settings, self.tuning, self.tokenizer = sampler.settings, sampler.tuning, sampler.tokenizer
        self.model_config, self.parts, self.max_length = sampler.model_config, sampler.parts, sampler.max_length
        self.tiers, self.elastic, self.clock = tuple(tiers), elastic, Clock()
        words = {id_words(name): tokens for name, tokens in lengths.items()}
        self.programs = _Programs(self, costs, self.clock, words)

    @property
    def slots(self) -> int:
        """Rows decoded together."""
        return sum(slots for slots, _ in self.tiers)

    def session(self) -> Session:
        """A session of the sampler's own code."""
        return Session(cast(Sampler, self), None, 0)

    def new_caches(self, slots: int, length: int) -> LayerCaches:
        """Shapes of caches of one layer's buffers, as many as there are layers."""
        implementation, layers = self.tuning.implementation, self.model_config.layers
        keys, values = ([_Buffer.of(layout, slots, length)] * layers for layout in cache_layouts(implementation))
        return LayerCaches(k=list[Any](keys), v=list[Any](values), implementation=implementation)

    def new_rows(self, slots: int) -> _Rows:
        """The device's state of empty slots."""
        zeros_B = np.zeros(slots, np.int64)
        return _Rows(zeros_B, zeros_B > 0, zeros_B.copy())

    def place_rows(self, tree: Any) -> Any:
        """Host arrays, unchanged."""
        return tree

    def replicate(self, tree: Any) -> Any:
        """Host arrays, unchanged."""
        return tree
