"""Who enters next, and that no later request waits for a compiler."""

from __future__ import annotations

import dataclasses
import logging

import jax
import jax.numpy as jnp
import pytest

from azr_jax.sampler import ahead, buckets
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request, samples_of
from azr_jax.sampler.tuning import Tuning

from .tiny import CONFIG, SETTINGS, make_tokenizer, prompt

NO_END: frozenset[int] = frozenset({1000})


def _sampler(world, tiers=(), **overrides) -> Sampler:
    settings = dataclasses.replace(SETTINGS, **overrides)
    sampler = Sampler(world.graphdef, CONFIG, make_tokenizer(NO_END), settings, None, jnp.float32, Tuning())
    sampler.tiers = tiers
    return sampler


def _order(session, requests) -> list[str]:
    for request in requests:
        session.submit(request)
    finished = []
    while not session.idle:
        finished += [rollout.request_id for rollout in session.step()]
    return finished


# A prompt a prefill, or all in one.
@pytest.mark.parametrize("prefill_tokens", [pytest.param(48, marks=pytest.mark.ci), 256])
def test_requests_that_fit_pass_one_whose_slot_is_taken(world, prefill_tokens):
    requests = [
        *samples_of(Request("long", prompt(0, 48), 64, 1.0), 2),
        Request("long too", prompt(1, 48), 60, 1.0),
        *(Request(f"short{i}", prompt(2 + i, 6), 8, 1.0) for i in range(4)),
    ]
    sampler = _sampler(world, tiers=((2, 40), (1, 112)), prefill_tokens=prefill_tokens)
    order = _order(sampler.session(world.params, seed=0), requests)
    assert order[:4] == ["short0", "short1", "short2", "short3"]
    assert sorted(order[4:]) == ["long too", "long/0", "long/1"]
    expected = {r.request_id: r.token_ids for r in world.sampler(NO_END).generate(world.params, requests, 0)}
    assert {r.request_id: r.token_ids for r in sampler.generate(world.params, requests, 0)} == expected


def test_what_is_expected_to_be_longest_enters_first(world):
    """By the responses to the same prompt so far; a prompt that has none counts as the mean."""
    long, short, new = prompt(0, 5), prompt(1, 6), prompt(2, 7)
    session = _sampler(world, tiers=((1, 112),), prefill_tokens=48).session(world.params, seed=0)
    _order(session, [Request("short/0", short, 4, 1.0), Request("long/0", long, 40, 1.0)])
    later = [Request("short/1", short, 4, 1.0), Request("new", new, 4, 1.0), Request("long/1", long, 40, 1.0)]
    assert _order(session, later) == ["long/1", "new", "short/1"]


def _compiled(caplog) -> list[str]:
    """Programs compiled since the last look, but for the large ones."""
    names = [record.getMessage().split()[1] for record in caplog.records if record.msg.startswith("Compiling")]
    caplog.clear()
    return [name for name in names if name not in ("jit(_prefill)", "jit(_decode)")]


@pytest.mark.parametrize(
    "tiers",
    [(), pytest.param(((8, 64), (2, 148)), marks=pytest.mark.ci)],
    ids=["caches that follow the load", "tiers"],
)
def test_small_programs_are_compiled_with_the_prefill_they_follow(world, caplog, tiers):
    sampler = _sampler(world, tiers, slots=64, max_response_tokens=100)
    first = [Request(f"first{i}", prompt(i, 9 + i), 3 + i, 1.0) for i in range(5)]
    many = [Request(f"r{i}", prompt(i % 30, 5 + i % 43), 1 + 11 * (i % 10), 1.0) for i in range(40)]
    several = samples_of(Request("s", prompt(3, 30), 60, 1.0), 12)
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        for requests in (first[:1], first):
            list(sampler.generate(world.params, requests, 0))
        # Prefills of 4 and of 1 rows have been seen. From here on all small programs are there.
        assert _compiled(caplog)
        for requests in (many, several):
            list(sampler.generate(world.params, requests, 1))
        assert _compiled(caplog) == []


def test_the_sizes_named_are_those_that_sessions_have(world):
    sampler = _sampler(world, slots=128, max_response_tokens=300)
    sampler._choose_tiers()
    assert sampler.elastic
    assert ahead.cache_sizes(sampler) == [(slots, length) for slots in (128, 64) for length in (128, 192, 256, 348)]
    assert buckets.length_buckets(6144)[:4] == [128, 192, 256, 384] and buckets.length_buckets(6144)[-1] == 6144
    assert all(buckets.length_bucket(tokens, 700) in buckets.length_buckets(700) for tokens in range(1, 701))
