"""A step of self-play in simulated time: requests, slots, chunks, programs of the executors, then the update.

The queue and the slots are the sampler's own (`simulated_sampler`); proposals, estimates and solutions are submitted as
`loop.play` does: a proposal's estimates when it is valid, the solver tasks at the start of the step or when all
proposals are validated (`SOLVER_TASKS`); with `pipeline.lag` the next step's proposals in slots that are left. Seconds
are those of `estimate.Roofline`: simulated, never measured.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import itertools
import statistics
from collections.abc import Sequence

from azr_jax.loop.begun import early_tokens
from azr_jax.plan import estimate
from azr_jax.plan.build import Setup
from azr_jax.plan.chips import Chip
from azr_jax.plan.lengths import Lengths
from azr_jax.plan.sharing import Sharing
from azr_jax.plan.simulated_sampler import Clock, SimulatedSampler
from azr_jax.sampler.requests import Request
from azr_jax.sampler.session import Session

SOLVER_TASKS = ("before", "after")  # drawn before the step's proposals exist, or after they are validated
PROGRAM_S = 0.05  # of a response's program in an executor
WORKERS = 32  # executors of all hosts
VERDICT_CHUNKS = 1  # chunks of the sampler between a verdict and the requests that it leads to
HOST_S = 0.002  # of the host's own work between two chunks
SEEDS = (0, 1, 2)  # of the lengths; a printed step is the mean over them
TAIL_SHARE = 0.1  # of the slots: with fewer alive the sampler is in its tail


@dataclasses.dataclass(frozen=True, slots=True)
class Executors:
    """How long programs take: `workers` run one at a time each."""

    program_s: float = PROGRAM_S
    workers: int = WORKERS


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A simulated step, seconds. `tail_s` is the part of sampling with fewer than TAIL_SHARE of the slots alive."""

    responses: float
    response_tokens: float
    decode_steps: float
    chunks: float
    sampling_s: float
    prefill_s: float
    waiting_s: float
    tail_s: float
    occupancy: float
    update_s: float
    moving_s: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.sampling_s + self.waiting_s + self.update_s + self.moving_s


def step(
    plan: Setup,
    sharing: Sharing,
    chip: Chip,
    lengths: Lengths,
    solver_tasks: str = "after",
    seeds: Sequence[int] = (0,),
    executors: Executors | None = None,
) -> Step:
    """The mean over `seeds` of a simulated step with these slots."""
    steps = [_one_step(plan, sharing, chip, lengths, solver_tasks, seed, executors or Executors()) for seed in seeds]
    names = [field.name for field in dataclasses.fields(Step)]
    return Step(**{name: statistics.fmean(getattr(each_step, name) for each_step in steps) for name in names})


def _one_step(
    plan: Setup, sharing: Sharing, chip: Chip, lengths: Lengths, solver_tasks: str, seed: int, executors: Executors
) -> Step:
    queue = Queue(plan, lengths, solver_tasks, seed)
    sampler = SimulatedSampler(
        plan.sampler,
        plan.sampler.with_draft_slots(sharing.tiers),
        estimate.Roofline(plan, chip),
        queue.lengths,
        tokens_per_draft_step=lengths.tokens_per_draft_step,
    )
    session = sampler.session()
    waiting_s = play(queue, sampler, session, executors)
    clock, metrics = sampler.clock, session.metrics
    update_s = estimate.update_s(plan, chip, queue.trained_tokens)
    moving_s = estimate.reshard_s(plan, chip) + (2 * estimate.to_host_s(sharing.state_bytes) if sharing.evicted else 0)
    return Step(
        responses=queue.responses,
        response_tokens=queue.response_tokens,
        decode_steps=metrics.decode_steps,
        chunks=len(clock.chunks),
        sampling_s=clock.host_s - waiting_s,
        prefill_s=clock.prefill_s,
        waiting_s=waiting_s,
        tail_s=tail_s(clock, sampler.slots),
        occupancy=sum(seconds * live for seconds, live, _ in clock.chunks) / max(1e-9, clock.decode_s * sampler.slots),
        update_s=update_s,
        moving_s=moving_s,
    )


def tail_s(clock: Clock, slots: int) -> float:
    """Seconds of chunks that began with fewer than TAIL_SHARE of the `slots` alive, after the first with more."""
    full = itertools.dropwhile(lambda chunk: chunk[1] < TAIL_SHARE * slots, clock.chunks)
    return sum(seconds for seconds, live, _ in full if live < TAIL_SHARE * slots)


class Queue:
    """The requests of a step and their order. `lengths` are the tokens of each response by its id.

    With `pipeline.lag`, of a run's later step: `ready` are proposals that ended in the step before, `later` the next
    step's, for slots that nothing else waits for.
    """

    def __init__(self, plan: Setup, lengths: Lengths, solver_tasks: str, seed: int) -> None:
        settings, sampler = plan.config.selfplay, plan.config.sampler
        self._proposals = 3 * settings.batch_per_task
        self._problems = plan.config.problems_per_step
        self._samples = settings.estimate_samples
        self._vocab_size = plan.model.vocab_size
        self._most = sampler.max_response_tokens
        self._prompt_tokens = lengths.prompt_tokens
        self._early = early_tokens(plan.config, self._prompt_tokens) if plan.config.pipeline.lag else 0
        self._before = solver_tasks == "before"
        valid = max(1, round(self._proposals * lengths.valid_share))
        # Spread over the order of the proposals, as validity is.
        self._valid = {n * self._proposals // valid for n in range(valid)}
        names = [f"propose/{n}" for n in range(self._proposals)] + [f"solve/{n}" for n in range(self._proposals)]
        names += [f"estimate/{n}/{m}" for n in sorted(self._valid) for m in range(self._samples)]
        names += [f"problem/{n}" for n in range(self._problems)]
        drawn = dict(zip(names, lengths.responses.draw(len(names), seed), strict=True))
        self.responses, self.response_tokens = len(drawn), sum(drawn.values())
        self.later: collections.deque[Request] = collections.deque()
        self.ready = [name for name in names[: self._proposals] if drawn[name] <= self._early]
        self.lengths = {name: tokens for name, tokens in drawn.items() if name not in self.ready}
        if self._early > 0:
            following = lengths.responses.draw(self._proposals, seed + 10**6)
            self.lengths |= {name: self.lengths[name] - self._early for name in self._unready()}
            self.lengths |= {f"next/{n}": min(tokens, self._early) for n, tokens in enumerate(following)}
        self._unvalidated = self._proposals
        trains = settings.train_on_estimates
        self.trained_tokens = sum(
            self._prompt_tokens + tokens for name, tokens in drawn.items() if trains or name[0] != "e"
        )

    def first(self) -> list[Request]:
        """The requests at the beginning of the step."""
        begun = (0,) * max(0, self._early)
        requests = [self._request(name, self._prompt(int(name[8:])) + begun) for name in self._unready()]
        requests += self._all("problem", 3 * self._proposals, self._problems)
        return requests + (self._solves() if self._before else [])

    def _unready(self) -> list[str]:
        return [name for name in self.lengths if name.startswith("propose/")]

    def after(self, name: str) -> list[Request]:
        """The requests after the verdict on the response of this id."""
        role, number, *_ = name.split("/")
        if role != "propose":
            return []
        self._unvalidated -= 1
        requests = []
        if int(number) in self._valid:
            prompt = self._prompt(2 * self._proposals + int(number))
            requests = [self._request(f"estimate/{number}/{m}", prompt) for m in range(self._samples)]
        if not self._unvalidated and not self._before:
            requests += self._solves()
        if not self._unvalidated and self._early > 0:
            self.later.extend(self._all("next", 3 * self._proposals + self._problems, self._proposals))
        return requests

    def fill(self, session: Session) -> None:
        """Submits what the next step is for the slots that nothing waits for."""
        while self.later and session.free:
            session.submit(self.later.popleft())

    def _solves(self) -> list[Request]:
        return self._all("solve", self._proposals, self._proposals)

    def _all(self, role: str, first: int, count: int) -> list[Request]:
        return [self._request(f"{role}/{n}", self._prompt(first + n)) for n in range(count)]

    def _request(self, name: str, prompt: tuple[int, ...]) -> Request:
        return Request(name, prompt, self._most, 1.0)

    def _prompt(self, number: int) -> tuple[int, ...]:
        """Token ids that no other prompt of the step has."""
        different = number % self._vocab_size, number // self._vocab_size
        return (*different, *(0,) * max(0, self._prompt_tokens - 2))


class _Pool:
    """Executors in simulated time. `running`: a heap of (when the verdict is there, response)."""

    def __init__(self, executors: Executors) -> None:
        self._free_at = [0.0] * executors.workers
        self._program_s = executors.program_s
        self.running: list[tuple[float, str]] = []

    def run(self, name: str, now_s: float) -> None:
        """Runs the program of a response; that of a part for the next step runs there."""
        if not name.startswith("next/"):
            end_s = max(now_s, heapq.heappop(self._free_at)) + self._program_s
            heapq.heappush(self._free_at, end_s)
            heapq.heappush(self.running, (end_s, name))


def play(queue: Queue, sampler: SimulatedSampler, session: Session, executors: Executors) -> float:
    """Runs a step's requests to their end, as `loop.play.Player` does; seconds in which the device waited."""
    clock = sampler.clock
    pool = _Pool(executors)
    running = pool.running
    turns = 0
    delayed: list[tuple[int, str]] = []  # (turn from which it is submitted, response)
    waiting_s = 0.0
    for request in queue.first():
        session.submit(request)
    for name in queue.ready:
        pool.run(name, 0.0)
    while True:
        while running and running[0][0] <= clock.host_s:
            delayed.append((turns + VERDICT_CHUNKS - 1, heapq.heappop(running)[1]))
        idle = session.idle
        for turn, name in delayed:
            if turn <= turns or idle:
                for request in queue.after(name):
                    session.submit(request)
        delayed = [] if idle else [(turn, name) for turn, name in delayed if turn > turns]
        queue.fill(session)
        if session.idle:
            if not running:
                return waiting_s
            waiting_s += max(0.0, running[0][0] - clock.host_s)
            clock.host_s = max(clock.host_s, running[0][0])
            continue
        for rollout in session.step():
            pool.run(rollout.request_id, clock.host_s)
        clock.host_s += HOST_S
        turns += 1
