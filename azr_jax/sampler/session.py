"""One session of continuous batching: waiting requests enter slots as rows leave them, between decode chunks."""

from __future__ import annotations

import collections
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from azr_jax.sampler import ahead, buckets, drafting, prefilling, programs, stopping
from azr_jax.sampler.requests import Request, check
from azr_jax.sampler.slots import Row, Slots, Span, positions_needed, streams
from azr_jax.types import Rollout, StopReason

if TYPE_CHECKING:
    from azr_jax.sampler.engine import Sampler


@dataclasses.dataclass(frozen=True, slots=True)
class SessionMetrics:
    """Counts and wall seconds since the session began.

    `prompt_tokens` counts a shared prefill once, `padded_tokens` includes padding. `occupancy` is the mean share of
    slots that produced a token in a decode step.
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
    drafts: drafting.Counts = dataclasses.field(default_factory=drafting.Counts)


@dataclasses.dataclass(frozen=True, slots=True)
class _Flight:
    """Work sent to the device: rows by their place in its outputs, [tokens, logprobs] or [..., steps] of a chunk."""

    rows: dict[int, Row]
    outputs: list[jax.Array]
    slots: int  # rows that the chunk computes; 0: these are first tokens


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
        self._entering: collections.deque[tuple[Request, Span]] = collections.deque()
        self._slots = Slots(sampler)
        self._flights: collections.deque[_Flight] = collections.deque()
        self._ids: set[str] = set()
        self._longest: dict[tuple[int, ...], int] = {}  # tokens of the longest response so far, by prompt
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
        return not (self._waiting_count or self._entering or self._slots.live)

    @property
    def free(self) -> int:
        """Slots that nothing is in and nothing waits for."""
        return max(0, self._sampler.slots - len(self._slots.live) - len(self._entering) - self._waiting_count)

    @property
    def sparse(self) -> bool:
        """Whether a chunk would compute few rows, under a fourth of the slots, on the host's own cores."""
        taken = self._sampler.slots - self.free
        return not self._sampler.tuning.overlaps and 4 * taken < self._sampler.slots

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
            occupancy=counts["row_steps"] / slot_steps if slot_steps else 0.0,
            drafts=drafting.Counts(counts["draft_steps"], counts["draft_drawn"], counts["drafted"]),
        )

    @property
    def cache_shape(self) -> tuple[int, int]:
        """(slots, positions of the longest) that the caches have now; (0, 0) before the first step."""
        return self._slots.shape

    def step(self) -> list[Rollout]:
        """Fills free slots, sends a decode chunk and returns the rows that finished.

        With `Tuning.overlaps` these are the rows that finished in the chunk before: the host reads one chunk while the
        device computes the next.
        """
        started, device_s = time.perf_counter(), self._seconds["prefill_s"] + self._seconds["decode_s"]
        finished = self._admit_waiting()
        sends = any(row.may_live for row in self._slots.live)
        if sends:
            self._send_chunk()
        finished += self._drain(keep=1 if sends and self._sampler.tuning.overlaps else 0)
        device_s = self._seconds["prefill_s"] + self._seconds["decode_s"] - device_s
        self._seconds["host_s"] += time.perf_counter() - started - device_s
        return finished

    def close(self) -> None:
        """Frees the caches and the served copies of the weights for the update; no step may follow."""
        self._slots.close()
        self._params = self._prefilled = None
        self._flights.clear()

    # Admission.

    def _admit_waiting(self) -> list[Rollout]:
        finished: list[Rollout] = []
        while (self._entering or self._waiting_count) and len(self._slots.live) < self._sampler.slots:
            if not self._entering and not self._prefill():
                break
            self._fit_slots()
            if self._enter():
                if not self._sampler.tuning.overlaps:
                    finished += self._drain(keep=0)
            elif not self._give_way():
                break
        return finished

    def _admissible(self) -> list[tuple[int, ...]]:
        """Waiting prompts for which a slot is empty, the longest expected responses first.

        Expected length: the longest response to this prompt so far, or the mean of all responses if there is none.
        """
        room, chunk = self._slots.room, self._sampler.settings.chunk
        mean = self._counts["generated_tokens"] / max(1, self._counts["finished"])
        fitting = [ids for ids, requests in self._waiting.items() if positions_needed(requests[0], chunk) <= room]
        return sorted(fitting, key=lambda ids: -self._longest.get(ids, mean))

    def _prefill(self) -> bool:
        """Prefills the first admissible prompt and others with it, whose requests may then enter; False if none is."""
        admissible = self._admissible()
        if not admissible:
            return False
        started = time.perf_counter()
        sampler = self._sampler
        together = prefilling.in_one_row if sampler.tuning.packs_prefill else prefilling.in_rows
        prompts, batch = together(admissible, sampler.settings, sampler.parts, sampler.tokenizer.pad_id)
        for prompt_ids, span in prompts:
            requests = self._waiting.pop(prompt_ids)
            self._waiting_count -= len(requests)
            self._entering.extend((request, span) for request in requests)
        *rows, last_P = batch
        self._prefilled = sampler.programs.prefill(
            self._params, *sampler.place_rows(tuple(rows)), sampler.replicate(last_P)
        )
        ahead.for_prefill(sampler, self._params, self._key, self._prefilled, rows[0].shape[1])
        if not sampler.tuning.overlaps:
            jax.block_until_ready(self._prefilled)
        self._counts["prompt_tokens"] += sum(span.tokens for _, span in prompts)
        self._counts["padded_tokens"] += rows[0].size
        self._seconds["prefill_s"] += time.perf_counter() - started
        return True

    def _give_way(self) -> bool:
        """Puts prefilled requests back if no empty slot is long enough and others would fit; returns whether it did.

        Their prompts are prefilled again later: two prefills at a time would need the memory of two.
        """
        if self._sampler.elastic or not self._admissible():
            return False
        for request, _ in reversed(self._entering):
            self._waiting.setdefault(request.prompt_ids, collections.deque()).appendleft(request)
        self._waiting_count += len(self._entering)
        self._entering.clear()
        self._prefilled = None
        return True

    def _enter(self) -> int:
        """Moves prefilled requests to the free slots that they fit and draws their first tokens; how many."""
        assert self._prefilled is not None
        started = time.perf_counter()
        sampler, prefilled = self._sampler, self._prefilled
        entering: list[tuple[Row, Span]] = []
        blocked: collections.deque[tuple[Request, Span]] = collections.deque()
        for request, span in self._entering:
            row = self._slots.take(request, sampler.settings.chunk)
            if row is None:
                blocked.append((request, span))
            else:
                entering.append((row, span))
        self._entering = blocked
        if not entering:
            return 0
        requests = [row.request for row, _ in entering]
        pad = buckets.padded_count(len(entering)) - len(entering)
        entries_N = np.array([span.entry for _, span in entering] + [0] * pad, np.int32)
        drawn = sampler.programs.first(
            self._params,
            self._key,
            prefilled.hidden_PD[sampler.replicate(entries_N)],
            *sampler.replicate(streams(requests, pad)),
        )
        self._slots.enter(entering, prefilled, drawn[0])
        if not self._entering:
            self._prefilled = None
        self._flights.append(_Flight(dict(enumerate(row for row, _ in entering)), list(drawn), slots=0))
        self._seconds["prefill_s"] += time.perf_counter() - started
        return len(entering)

    # Decoding.

    def _fit_slots(self) -> None:
        chunk = self._sampler.settings.chunk
        needs = [positions_needed(request, chunk) for request, _ in self._entering]
        self._slots.fit(len(self._slots.live) + len(self._entering) + self._waiting_count, needs, chunk)

    def _send_chunk(self) -> None:
        self._fit_slots()
        started = time.perf_counter()
        rows, outputs = self._slots.decode(self._params, self._key)
        self._flights.append(_Flight(rows, outputs, slots=outputs[0].shape[0]))
        self._seconds["decode_s"] += time.perf_counter() - started

    def _drain(self, keep: int) -> list[Rollout]:
        """Reads what the device has computed, except the last `keep` chunks sent; returns the rows that finished."""
        finished = []
        while sum(flight.slots > 0 for flight in self._flights) > keep or (self._flights and not keep):
            flight = self._flights.popleft()
            started = time.perf_counter()
            tokens, logprobs, *steps = jax.device_get(flight.outputs)
            self._seconds["decode_s" if flight.slots else "prefill_s"] += time.perf_counter() - started
            if steps:
                self._count(steps[0], flight.slots, int((tokens >= 0).sum()))
            tokens_BC, logprobs_BC = tokens.reshape(len(tokens), -1), logprobs.reshape(len(tokens), -1)
            for place, row in flight.rows.items():
                row.sent -= tokens_BC.shape[1]
                count = int((tokens_BC[place] >= 0).sum())
                if count and not row.ended:
                    finished += self._extend(row, tokens_BC[place, :count], logprobs_BC[place, :count])
        return finished

    def _count(self, steps: np.ndarray, slots: int, drawn: int) -> None:
        """Counts a chunk's steps (with drafts: counts_3) over `slots`, which drew `drawn` tokens."""
        taken, *with_drafts = np.atleast_1d(steps).tolist()
        self._counts.update(decode_steps=taken, slot_steps=taken * slots, row_steps=drawn)
        if with_drafts:
            row_steps, drafted = with_drafts
            self._counts.update(row_steps=row_steps - drawn, draft_steps=row_steps, draft_drawn=drawn, drafted=drafted)

    def _extend(self, row: Row, tokens_C: np.ndarray, logprobs_C: np.ndarray) -> list[Rollout]:
        """Appends new tokens; the rollout, in a list, when they end the row, whose slot is then free."""
        row.token_ids += tokens_C.tolist()
        row.logprobs += logprobs_C.tolist()
        request, tokenizer = row.request, self._sampler.tokenizer
        stopped = stopping.cut(row.token_ids, len(tokens_C), request.stop, tokenizer.decode_response)
        if stopped is not None:
            kept, text = stopped
            text = tokenizer.decode_response(row.token_ids[:kept]) if request.keeps_stop else text
            reason = StopReason.STOP_STRING
        elif row.token_ids[-1] in tokenizer.eos_ids:
            kept, text, reason = len(row.token_ids), tokenizer.decode_response(row.token_ids[:-1]), StopReason.EOS
        elif len(row.token_ids) == request.max_tokens:
            kept, text, reason = len(row.token_ids), tokenizer.decode_response(row.token_ids), StopReason.LENGTH
        else:
            return []
        self._slots.release(row, known_to_device=reason is not StopReason.STOP_STRING)
        self._counts["finished"] += 1
        self._counts["length_capped"] += reason is StopReason.LENGTH
        self._counts["generated_tokens"] += kept
        self._longest[request.prompt_ids] = max(kept, self._longest.get(request.prompt_ids, 0))
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
