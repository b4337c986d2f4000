"""A whole step of Table 3: propose, validate, estimate, solve and check with imposed lengths, then the PPO update.

The executors are simulated: each program takes 50 ms on one of as many workers as the machine has cores. All else is as
in a training run: proposals are sampled and validated, the samples of each start when it is valid, solver tasks when
all are, and the update takes the 64 x 6 training responses. Every proposal counts as valid, which makes the step as
large as possible.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import queue
import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from azr_jax.learner.packing import SELFPLAY_GROUPS, TrainSequence, pack
from azr_jax.learner.state import TrainState
from azr_jax.learner.update import Learner
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request, samples_of
from azr_jax.sampler.session import Session
from azr_jax.speed import machine, requests
from azr_jax.speed.sizes import Size
from azr_jax.speed.subject import of_size
from azr_jax.types import Rollout

PROGRAM_S = 0.05
_TASK_TYPES = 3


@dataclasses.dataclass
class StepTrace:
    """Responses of the step, for training and for estimation, and where the time went."""

    training: list[Rollout] = dataclasses.field(default_factory=list)
    estimates: list[Rollout] = dataclasses.field(default_factory=list)
    programs: int = 0
    waiting_s: float = 0.0


def run(report: machine.Report, size: Size, arguments: argparse.Namespace, peer: None) -> dict[str, Any]:
    """Runs a warm-up step, in which everything is compiled, then the measured one; {"step": figures}."""
    del peer
    subject = of_size(size, arguments.remat)
    sampler = subject.sampler(size.max_prompt_tokens, size.lengths.cap)
    learner = subject.learner()
    state = learner.init(subject.params(jnp.float32))
    started = time.perf_counter()
    state, _ = _step(size, sampler, learner, state, seed=0)
    report.add("warm_up", seconds=time.perf_counter() - started)
    state, figures = _step(size, sampler, learner, state, seed=1)
    report.add("step", **figures, tiers=[list(tier) for tier in sampler.tiers], remat=subject.engine.remat)
    return report.result


def _step(
    size: Size, sampler: Sampler, learner: Learner, state: TrainState, seed: int
) -> tuple[TrainState, dict[str, Any]]:
    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        session = sampler.session(state.params, seed)
        played = _Play(size, session, seed, lambda: workers.submit(time.sleep, PROGRAM_S)).run()
        session.close()
    play_s = time.perf_counter() - started
    batch = pack(_sequences(played.training), size.row_tokens, learner.rows_per_microbatch, pad_id=0)
    state, metrics = learner.update(state, batch)
    seconds = time.perf_counter() - started
    if metrics["ppo/steps"] != 1.0:
        raise RuntimeError(f"the update was skipped: gradient norm {metrics['ppo/grad_norm']}")
    return state, {
        "seconds": seconds,
        "play_s": play_s,
        "update_s": seconds - play_s,
        "waiting_for_programs_s": played.waiting_s,
        "training_responses": len(played.training),
        "estimation_responses": len(played.estimates),
        "programs": played.programs,
        "response_tokens": sum(len(rollout.token_ids) for rollout in (*played.training, *played.estimates)),
        "update_tokens": sum(len(rollout.prompt_ids) + len(rollout.token_ids) for rollout in played.training),
        "rows": int(metrics["ppo/rows"]),
        "row_fill": metrics["ppo/row_fill"],
    }


class _Play:
    """Samples and checks all responses of a step, as stages.play_step does."""

    def __init__(
        self, size: Size, session: Session, seed: int, execute: Callable[[], concurrent.futures.Future[None]]
    ) -> None:
        self.played = StepTrace()
        self._size, self._session, self._seed, self._execute = size, session, seed, execute
        self._count = size.batch_per_task * _TASK_TYPES
        self._lengths = size.lengths.draw(self._count * (2 + size.samples), seed)
        self._running = 0
        self._unvalidated = self._count
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self) -> StepTrace:
        """Plays the whole step."""
        for number in range(self._count):
            self._session.submit(self._request("propose", number))
        while self._running or not self._session.idle:
            for rollout in self._session.step():
                self._check(rollout)
            for name in self._finished_programs():
                if name.startswith("propose"):
                    self._validated(int(name.split("/")[1]))
        return self.played

    def _request(self, name: str, number: int) -> Request:
        place = number if name == "propose" else self._count + number
        seed = 2 * self._count * self._seed + place
        ids = requests.prompt(self._size.tail_prompt_tokens, self._size.model.vocab_size, seed)
        return Request(f"{name}/{number}", ids, self._lengths[place], 1.0)

    def _check(self, rollout: Rollout) -> None:
        estimates = rollout.request_id.startswith("estimate")
        (self.played.estimates if estimates else self.played.training).append(rollout)
        self._running += 1
        self.played.programs += 1
        self._execute().add_done_callback(lambda _: self._done.put(rollout.request_id))

    def _finished_programs(self) -> list[str]:
        """Programs that have ended since the last call; waits for one if the device is idle."""
        finished = []
        if self._session.idle and self._running:
            started = time.perf_counter()
            finished.append(self._done.get())
            self.played.waiting_s += time.perf_counter() - started
        while not self._done.empty():
            finished.append(self._done.get())
        self._running -= len(finished)
        return finished

    def _validated(self, number: int) -> None:
        """Submits a proposal's samples and, after the last proposal, all solver tasks."""
        samples = self._size.samples
        first = 2 * self._count + number * samples
        lengths = self._lengths[first : first + samples]
        shared = dataclasses.replace(self._request("propose", number), id=f"estimate/{number}")
        for request, length in zip(samples_of(shared, samples), lengths, strict=True):
            self._session.submit(dataclasses.replace(request, max_tokens=length))
        self._unvalidated -= 1
        if not self._unvalidated:
            for solve in range(self._count):
                self._session.submit(self._request("solve", solve))


def _sequences(rollouts: list[Rollout]) -> list[TrainSequence]:
    """The training responses, with rewards of both signs; in the order of their ids, not of their arrival."""
    sequences = []
    for number, rollout in enumerate(sorted(rollouts, key=lambda rollout: rollout.request_id)):
        advantage = 1.0 if number % 2 else -1.0
        sequences.append(
            TrainSequence(
                id=rollout.request_id,
                prompt_ids=rollout.prompt_ids,
                response_ids=rollout.token_ids,
                sampler_logprobs=rollout.logprobs,
                advantage=advantage,
                group=number % len(SELFPLAY_GROUPS),
                reward=advantage,
            )
        )
    return sequences
