"""The simulated sampler against the real one on the CPU: azr-tiny, lengths imposed."""

from __future__ import annotations

import collections
import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from azr_jax.config import from_mapping, located
from azr_jax.model import weights
from azr_jax.model.sharding import make_mesh
from azr_jax.model.tokenizer import load_tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.plan.simulated_sampler import SimulatedSampler
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request
from azr_jax.sampler.tuning import Tuning
from configs import tiny


class NoCosts:
    """Work that takes no time."""

    def prefill_s(self, rows, tokens, attended):
        return 0.0

    def decode_s(self, tiers, context_tokens_C):
        return 0.0

    def first_s(self, entries):
        return 0.0

    def copy_s(self, slots, positions):
        return 0.0


def requests(count, seed, longest_prompt=90, median=24, cap=160):
    """Requests that share a prompt by fours, with log-normal lengths."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.round(rng.lognormal(np.log(median), 1.0, count)), 1, cap).astype(int).tolist()
    prompts = [tuple(rng.integers(5, 2000, rng.integers(10, longest_prompt)).tolist()) for _ in range(count // 4 + 1)]
    return [Request(f"r{n}", prompts[n // 4], length, 1.0) for n, length in enumerate(lengths)]


def run_requests(sampler, requests, host_s=0.0):
    """The session after all `requests`, submitted together; `host_s` is the host's work between two chunks."""
    session = sampler.session()
    for request in requests:
        session.submit(request)
    while not session.idle:
        session.step()
        sampler.clock.host_s += host_s
    return session


def real_sampler(tuning=None, slots=0):
    """A sampler of azr-tiny that no token ends, and its weights."""
    config = from_mapping(tiny.get_config().to_dict())
    settings = dataclasses.replace(config.sampler, slots=slots)
    mesh = make_mesh(1, 1, 1)
    path = located(config.model.path)
    model, params = weights.load(path, mesh, jnp.float32)
    graphdef, _ = abstract(model, compute_dtype=jnp.float32, mesh=mesh)
    tokenizer = dataclasses.replace(load_tokenizer(path, model), eos_ids=frozenset({model.vocab_size}))
    return Sampler(graphdef, model, tokenizer, settings, mesh, jnp.float32, tuning), params


@pytest.mark.parametrize(
    ("tuning", "slots"),
    [(None, 0), pytest.param(Tuning(overlaps=True, fixed_steps=True), 64, marks=pytest.mark.ci)],
    ids=["slots that follow the load", "ahead of the host"],
)
def test_the_simulated_session_makes_the_decode_steps_of_the_real_one(tuning, slots):
    sampler, params = real_sampler(tuning, slots)
    waiting = requests(96, seed=1)
    session = sampler.session(params, 0)
    for request in waiting:
        session.submit(request)
    while not session.idle:
        session.step()
    lengths = {request.id: request.max_tokens for request in waiting}
    simulated = run_requests(SimulatedSampler(sampler, sampler.tiers, NoCosts(), lengths, sampler.elastic), waiting)
    counts = ("decode_steps", "slot_steps", "padded_tokens", "prompt_tokens", "generated_tokens", "occupancy")
    assert {name: getattr(simulated.metrics, name) for name in counts} == {
        name: getattr(session.metrics, name) for name in counts
    }
    assert session.metrics.generated_tokens == sum(lengths.values())


def sampled_s(sampler, params, waiting):
    """Processor seconds of the real sampler: what other processes take of the machine is no part of them."""
    started = time.process_time()
    session = sampler.session(params, 0)
    for request in waiting:
        session.submit(request)
    while not session.idle:
        session.step()
    return time.process_time() - started


class MeasuredCosts:
    """Processor seconds of the sampler's own programs, by shape, as they took them in a run of other requests."""

    def __init__(self, sampler):
        self.taken = collections.defaultdict(list)
        self.layers = sampler.model_config.layers

    def timed(self, name, program, shape_of):
        def call(*arguments, **sizes):
            shape = shape_of(*arguments, **sizes)  # before the call: it may donate them
            started = time.process_time()
            result = jax.block_until_ready(program(*arguments, **sizes))
            seconds = time.process_time() - started
            steps = int(result[-1]) if name == "decode" else 1
            self.taken[name, shape].append(seconds / max(1, steps))
            return result

        return call

    def programs(self, programs):
        shapes = {
            "prefill": lambda params, tokens_BT, *rest: tokens_BT.shape,
            "decode": lambda params, key, caches, rows: tuple((tier.slots, tier.length) for tier in caches),
            "first": lambda params, key, hidden_ND, *rest: len(hidden_ND),
        }
        timed = {name: self.timed(name, getattr(programs, name), shape) for name, shape in shapes.items()}
        movers = {
            layout: dataclasses.replace(
                of_layout,
                insert=self.timed("insert", of_layout.insert, lambda *rest, **sizes: 0),
                resize=self.timed("resize", of_layout.resize, lambda *rest, **sizes: 0),
            )
            for layout, of_layout in programs.movers.items()
        }
        return dataclasses.replace(programs, movers=movers, **timed)

    def median(self, name, shape):
        known = self.taken[name, shape] or [s for (n, _), taken in self.taken.items() if n == name for s in taken]
        return statistics.median(known)

    def prefill_s(self, rows, tokens, attended):
        return self.median("prefill", (rows, tokens))

    def decode_s(self, tiers, context_tokens_C):
        return len(context_tokens_C) * self.median("decode", tuple(tiers))

    def first_s(self, entries):
        return self.median("first", entries)

    def copy_s(self, slots, positions):
        return 2 * self.layers * self.median("insert", 0)


@pytest.mark.ci
def test_the_simulated_time_is_within_15_percent_of_the_real_samplers():
    sampler, params = real_sampler(slots=64)
    known, asked = requests(96, seed=2), requests(96, seed=3)
    for _ in range(2):  # everything is compiled
        sampled_s(sampler, params, known)
        sampled_s(sampler, params, asked)
    costs, own = MeasuredCosts(sampler), sampler.programs
    sampler.programs = costs.programs(own)
    steps = sum(1 for _ in sampler.generate(params, known, 0))
    assert steps == len(known)
    sampler.programs = own

    def simulated(waiting, host_s):
        lengths = {request.id: request.max_tokens for request in waiting}
        twin = SimulatedSampler(sampler, sampler.tiers, costs, lengths, sampler.elastic)
        run_requests(twin, waiting, host_s)
        return twin.clock

    # The host's own work is what the known requests took beyond their programs.
    alone = simulated(known, 0.0)
    taken = statistics.median(sampled_s(sampler, params, known) for _ in range(3))
    host_s = max(0.0, taken - alone.host_s) / len(alone.chunks)
    real = statistics.median(sampled_s(sampler, params, asked) for _ in range(3))
    assert simulated(asked, host_s).host_s == pytest.approx(real, rel=0.15)
