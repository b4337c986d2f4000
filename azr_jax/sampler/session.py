"""One session of continuous batching: waiting requests enter slots as rows leave them, between decode chunks."""

from __future__ import annotations

import collections
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from azr_jax.sampler import buckets, programs, stopping
from azr_jax.sampler.decoding import LayerCaches
from azr_jax.sampler.requests import Request, check, id_words
from azr_jax.types import Rollout, StopReason

if TYPE_CHECKING:
    from azr_jax.sampler.engine import Sampler


@dataclasses.dataclass(frozen=True, slots=True)
class SessionMetrics:
    """Counts and wall seconds since the session began.

    `prompt_tokens` counts a shared prefill once, `padded_tokens` what the prefills computed. `occupancy` is the mean
    share of slots that produced a token in a decode step.
    """

    requests: int = 0
    finished: int = 0
    length_capped: int = 0
    prompt_tokens: int = 0
    padded_tokens: int = 0
    generated_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    host_s: float = 0.0
    decode_steps: int = 0
    slot_steps: int = 0
    occupancy: float = 0.0


@dataclasses.dataclass(slots=True)
class _Row:
    request: Request
    slot: int
    token_ids: list[int]
    logprobs: list[float]
    words: tuple[int, int]

    def needed(self, chunk: int) -> int:
        """Cache positions the row may have written after another chunk."""
        prompt = len(self.request.prompt_ids)
        return min(prompt + len(self.token_ids) + chunk, prompt + self.request.max_tokens)


class Session:
    """Made by `Sampler.session`. `submit` at any time; `step` until `idle`."""

    def __init__(self, sampler: Sampler, params: Any, seed: int) -> None:
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed={seed} must be from 0 to 2**32 - 1")
        self._sampler = sampler
        self._params = params
        self._key = jax.random.key(seed)
        self._waiting: dict[tuple[int, ...], collections.deque[Request]] = {}
        self._waiting_count = 0
        self._prefilled: programs.Prefilled | None = None
        self._entering: collections.deque[tuple[int, Request]] = collections.deque()
        self._caches: LayerCaches | None = None
        self._rows: list[_Row | None] = []
        self._ids: set[str] = set()
        self._counts: collections.Counter[str] = collections.Counter()
        self._seconds: collections.defaultdict[str, float] = collections.defaultdict(float)

    def submit(self, request: Request) -> None:
        """Queues a request.

        Raises:
          ValueError: an id submitted before in this session, or what `requests.check` refuses.
        """
        check(request, self._sampler.settings, self._sampler.model_config.vocab_size)
        if request.id in self._ids:
            raise ValueError(
                f"request {request.id!r} was submitted twice; an id names one random stream, give each its own"
            )
        self._ids.add(request.id)
        self._waiting.setdefault(request.prompt_ids, collections.deque()).append(request)
        self._waiting_count += 1

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not (self._waiting_count or self._entering or any(row is not None for row in self._rows))

    @property
    def metrics(self) -> SessionMetrics:
        """What the session has done so far."""
        counts, seconds, slot_steps = self._counts, self._seconds, self._counts["slot_steps"]
        return SessionMetrics(
            requests=len(self._ids),
            finished=counts["finished"],
            length_capped=counts["length_capped"],
            prompt_tokens=counts["prompt_tokens"],
            padded_tokens=counts["padded_tokens"],
            generated_tokens=counts["generated_tokens"],
            prefill_s=seconds["prefill_s"],
            decode_s=seconds["decode_s"],
            host_s=seconds["host_s"],
            decode_steps=counts["decode_steps"],
            slot_steps=slot_steps,
            occupancy=counts["decoded_tokens"] / slot_steps if slot_steps else 0.0,
        )

    @property
    def cache_shape(self) -> tuple[int, int]:
        """(slots, positions) that the caches have now; (0, 0) before the first step."""
        return (0, 0) if self._caches is None else (len(self._rows), self._caches.length)

    def step(self) -> list[Rollout]:
        """Fills free slots, decodes one chunk and returns the rows that finished."""
        started, device_s = time.perf_counter(), self._seconds["prefill_s"] + self._seconds["decode_s"]
        finished = self._admit_waiting()
        if self._live():
            finished += self._decode_chunk()
        device_s = self._seconds["prefill_s"] + self._seconds["decode_s"] - device_s
        self._seconds["host_s"] += time.perf_counter() - started - device_s
        return finished

    def _live(self) -> list[_Row]:
        return [row for row in self._rows if row is not None]

    # Admission.

    def _admit_waiting(self) -> list[Rollout]:
        finished: list[Rollout] = []
        while self._entering or self._waiting_count:
            live = self._live()
            if len(live) == self._sampler.slots:
                break
            if not self._entering:
                self._prefill()
            self._fit_slots(len(live) + len(self._entering) + self._waiting_count)
            finished += self._enter()
        return finished

    def _prefill(self) -> None:
        """Prefills the longest-waiting prompt and others of its length bucket; all their requests may then enter."""
        started = time.perf_counter()
        sampler = self._sampler
        most = sampler.settings.max_prompt_tokens
        T = buckets.length_bucket(len(next(iter(self._waiting))), most)
        room = max(1, sampler.settings.prefill_tokens // T)
        prompts = []
        for prompt_ids in self._waiting:
            if buckets.length_bucket(len(prompt_ids), most) == T:
                prompts.append(prompt_ids)
            if len(prompts) == room:
                break
        B = buckets.batch_size(len(prompts), room, sampler.parts)
        prompts = prompts[:B]
        tokens_BT = np.full((B, T), sampler.tokenizer.pad_id, np.int32)
        lengths_B = np.zeros((B,), np.int32)
        for row, prompt_ids in enumerate(prompts):
            tokens_BT[row, : len(prompt_ids)] = prompt_ids
            lengths_B[row] = len(prompt_ids)
            requests = self._waiting.pop(prompt_ids)
            self._waiting_count -= len(requests)
            self._entering.extend((row, request) for request in requests)
        prefilled = sampler.programs.prefill(self._params, *sampler.place_rows((tokens_BT, lengths_B)))
        self._prefilled = jax.block_until_ready(prefilled)
        self._counts["prompt_tokens"] += int(lengths_B.sum())
        self._counts["padded_tokens"] += B * T
        self._seconds["prefill_s"] += time.perf_counter() - started

    def _enter(self) -> list[Rollout]:
        """Moves prefilled requests to free slots and draws their first tokens."""
        assert self._caches is not None and self._prefilled is not None
        started = time.perf_counter()
        sampler, prefilled = self._sampler, self._prefilled
        free = [slot for slot, row in enumerate(self._rows) if row is None]
        entering = [self._entering.popleft() for _ in range(min(len(free), len(self._entering)))]
        requests = [request for _, request in entering]
        # Pad entries go to a slot past the last, which drops them.
        pad = buckets.padded_count(len(entering)) - len(entering)
        rows = [row for row, _ in entering]
        rows_N = np.array(rows + [0] * pad, np.int32)
        slots_N = np.array(free[: len(entering)] + [len(self._rows)] * pad, np.int32)
        rows_N, slots_N = sampler.replicate((rows_N, slots_N))
        drawn_pad = buckets.padded_count(len(entering), least=buckets.SMALLEST_ROWS) - len(entering)
        drawn = sampler.programs.first(
            self._params,
            self._key,
            prefilled.hidden_BD[sampler.replicate(np.array(rows + [0] * drawn_pad, np.int32))],
            *sampler.replicate(_streams(requests, drawn_pad)),
        )
        for name, source_LBTKH in (("k", prefilled.key_LBTKH), ("v", prefilled.value_LBTKH)):
            buffers = getattr(self._caches, name)
            for layer, buffer in enumerate(buffers):
                buffers[layer] = sampler.programs.insert(buffer, source_LBTKH, layer, rows_N, slots_N)
        if not self._entering:
            self._prefilled = None
        tokens_N, logprobs_N = jax.device_get(drawn)
        self._seconds["prefill_s"] += time.perf_counter() - started
        finished = []
        for index, request in enumerate(requests):
            row = _Row(request, free[index], [], [], id_words(request.id))
            self._rows[row.slot] = row
            finished += self._extend(row, tokens_N[index : index + 1], logprobs_N[index : index + 1])
        return finished

    # Decoding.

    def _decode_chunk(self) -> list[Rollout]:
        sampler = self._sampler
        self._fit_slots(len(self._live()) + len(self._entering) + self._waiting_count)
        started = time.perf_counter()
        rows = sampler.place_rows(_device_rows(self._rows))
        self._caches, *outputs = sampler.programs.decode(self._params, self._key, self._caches, rows)
        tokens_BC, logprobs_BC, steps = jax.device_get(outputs)
        self._seconds["decode_s"] += time.perf_counter() - started
        counts_B = (tokens_BC >= 0).sum(axis=1)
        self._counts["decode_steps"] += int(steps)
        self._counts["slot_steps"] += int(steps) * len(self._rows)
        self._counts["decoded_tokens"] += int(counts_B.sum())
        finished = []
        for row in self._live():
            count = counts_B[row.slot]
            finished += self._extend(row, tokens_BC[row.slot, :count], logprobs_BC[row.slot, :count])
        return finished

    def _extend(self, row: _Row, tokens_C: np.ndarray, logprobs_C: np.ndarray) -> list[Rollout]:
        """Appends new tokens; the rollout, in a list, when they end the row, whose slot is then free."""
        row.token_ids += tokens_C.tolist()
        row.logprobs += logprobs_C.tolist()
        request, tokenizer = row.request, self._sampler.tokenizer
        stopped = stopping.cut(row.token_ids, len(tokens_C), request.stop, tokenizer.decode)
        if stopped is not None:
            kept, text = stopped
            reason = StopReason.STOP_STRING
        elif row.token_ids[-1] in tokenizer.eos_ids:
            kept, text, reason = len(row.token_ids), tokenizer.decode(row.token_ids[:-1]), StopReason.EOS
        elif len(row.token_ids) == request.max_tokens:
            kept, text, reason = len(row.token_ids), tokenizer.decode(row.token_ids), StopReason.LENGTH
        else:
            return []
        self._rows[row.slot] = None
        self._counts["finished"] += 1
        self._counts["length_capped"] += reason is StopReason.LENGTH
        self._counts["generated_tokens"] += kept
        return [
            Rollout(
                request_id=request.id,
                prompt_ids=request.prompt_ids,
                token_ids=tuple(row.token_ids[:kept]),
                logprobs=tuple(row.logprobs[:kept]),
                text=text,
                stop_reason=reason,
            )
        ]

    # Sizes.

    def _fit_slots(self, wanted: int) -> None:
        """Gives the slots the size that the work at hand needs (`wanted` rows, in flight and waiting).

        Where moving rows is cheap (see `Sampler.elastic`), slots and positions follow the load: more as soon as they
        are needed, fewer when half would do. Elsewhere all are made at once and stay.
        """
        sampler = self._sampler
        if not sampler.elastic:
            if self._caches is None:
                self._caches = sampler.new_caches(sampler.slots, sampler.max_length)
                self._rows = [None] * sampler.slots
            return
        live = self._live()
        chunk = sampler.settings.chunk
        needs = [row.needed(chunk) for row in live]
        needs += [len(request.prompt_ids) + min(chunk, request.max_tokens) for _, request in self._entering]
        length = buckets.length_bucket(max(needs, default=1), sampler.max_length)
        slots = buckets.slot_bucket(min(wanted, sampler.slots), sampler.slots, sampler.parts)
        if self._caches is None:
            self._caches, self._rows = sampler.new_caches(slots, length), [None] * slots
            return
        now_slots, now_length = len(self._rows), self._caches.length
        if slots <= now_slots and length <= now_length and 2 * slots > now_slots and 2 * length > now_length:
            return
        sources_B = np.full((slots,), -1, np.int32)
        for slot, row in enumerate(live):
            sources_B[slot] = row.slot
            row.slot = slot
        sources_B = sampler.replicate(sources_B)
        self._caches = jax.tree.map(
            lambda buffer: sampler.programs.resize(buffer, sources_B, length=length), self._caches
        )
        self._rows = [*live, *[None] * (slots - len(live))]


def _streams(requests: list[Request], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(temperature_N, id_words_N2, lengths_N) with `pad` greedy entries at the end."""
    return (
        np.array([request.temperature for request in requests] + [0.0] * pad, np.float32),
        np.array([id_words(request.id) for request in requests] + [(0, 0)] * pad, np.uint32),
        np.array([len(request.prompt_ids) for request in requests] + [0] * pad, np.int32),
    )


def _device_rows(rows: list[_Row | None]) -> programs.Rows:
    B = len(rows)
    arrays = programs.Rows(
        token_B=np.zeros((B,), np.int32),
        position_B=np.zeros((B,), np.int32),
        remaining_B=np.zeros((B,), np.int32),
        live_B=np.zeros((B,), np.bool_),
        temperature_B=np.zeros((B,), np.float32),
        id_words_B2=np.zeros((B, 2), np.uint32),
    )
    for row in rows:
        if row is not None:
            request, slot = row.request, row.slot
            arrays.token_B[slot] = row.token_ids[-1]
            arrays.position_B[slot] = len(request.prompt_ids) + len(row.token_ids) - 1
            arrays.remaining_B[slot] = request.max_tokens - len(row.token_ids)
            arrays.live_B[slot] = True
            arrays.temperature_B[slot] = request.temperature
            arrays.id_words_B2[slot] = row.words
    return arrays
