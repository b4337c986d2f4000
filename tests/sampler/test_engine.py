"""Sampling through slots and caches against the plain forward pass, and what a sample may not depend on."""

from __future__ import annotations

import collections
import dataclasses
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import on_devices

from azr_jax.config import from_mapping
from azr_jax.model import sharding, weights
from azr_jax.model.tokenizer import load_tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request, samples_of
from azr_jax.sampler.tuning import Tuning
from azr_jax.types import Rollout, StopReason
from configs import tiny as tiny_config

from .tiny import CONFIG, SETTINGS, greedy_and_random_requests, make_tokenizer, prompt, tiny_requests

NO_END: frozenset[int] = frozenset({1000})  # past the vocabulary: never drawn


def _run(sampler, world, requests, seed: int = 0) -> dict[str, Rollout]:
    rollouts = list(sampler.generate(world.params, requests, seed))
    assert len(rollouts) == len(requests)
    return {rollout.request_id: rollout for rollout in rollouts}


def _tokens(rollouts: dict[str, Rollout]) -> dict[str, tuple[int, ...]]:
    return {name: rollout.token_ids for name, rollout in rollouts.items()}


def test_greedy_equals_the_argmax_of_full_forward_passes(world):
    rollouts = _run(world.sampler(NO_END), world, tiny_requests(5, temperature=0.0))
    for rollout in rollouts.values():
        logits = world.logits(rollout.prompt_ids + rollout.token_ids)
        predicted = logits[len(rollout.prompt_ids) - 1 : -1].argmax(axis=-1)
        assert tuple(predicted) == rollout.token_ids
        assert len(set(rollout.token_ids)) > 1


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logprobs_are_of_the_distribution_sampled(world, temperature):
    rollouts = _run(world.sampler(NO_END), world, tiny_requests(6, temperature))
    for rollout in rollouts.values():
        logits = world.logits(rollout.prompt_ids + rollout.token_ids)[len(rollout.prompt_ids) - 1 : -1]
        scaled = logits / (temperature or 1.0)
        expected = scaled - np.log(np.exp(scaled - scaled.max(-1, keepdims=True)).sum(-1, keepdims=True))
        expected = (expected - scaled.max(-1, keepdims=True))[np.arange(len(scaled)), list(rollout.token_ids)]
        np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-4)


@pytest.mark.ci
def test_positions_of_the_papers_lengths(world):
    """Prompts of 5,000 and 6,144 tokens in slots of 14,240."""
    config = dataclasses.replace(CONFIG, max_positions=14240)
    lengths = {"max_prompt_tokens": 6144, "max_response_tokens": 8096, "prefill_tokens": 6144, "slots": 2}
    graphdef, _ = abstract(config, compute_dtype=jnp.float32)
    settings = dataclasses.replace(SETTINGS, **lengths)
    sampler = Sampler(graphdef, config, make_tokenizer(NO_END), settings, None, jnp.float32)
    requests = [Request(str(tokens), prompt(tokens, tokens), 40, 1.0) for tokens in (5000, 6144)]
    for rollout in _run(sampler, world, requests).values():
        logits = world.logits(rollout.prompt_ids + rollout.token_ids, T=6272)[len(rollout.prompt_ids) - 1 : -1]
        expected = jax.nn.log_softmax(logits)[np.arange(len(logits)), list(rollout.token_ids)]
        np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-3)


@pytest.mark.parametrize("draw", ["gumbel", "blocks"])
def test_masked_ids_are_never_drawn_and_logprobs_are_of_what_is_left(world, draw):
    free = _run(world.sampler(NO_END), world, tiny_requests(4, max_tokens=40))
    common = collections.Counter(token for rollout in free.values() for token in rollout.token_ids).most_common(8)
    masked_ids = tuple(token for token, _ in common)
    config = dataclasses.replace(CONFIG, masked_ids=masked_ids)
    graphdef, _ = abstract(config, compute_dtype=jnp.float32)
    sampler = Sampler(
        graphdef, config, make_tokenizer(NO_END), SETTINGS, None, jnp.float32, dataclasses.replace(Tuning(), draw=draw)
    )
    for rollout in sampler.generate(world.params, tiny_requests(4, max_tokens=40), seed=0):
        assert not set(rollout.token_ids) & set(masked_ids)
        logits = world.logits(rollout.prompt_ids + rollout.token_ids)[len(rollout.prompt_ids) - 1 : -1].copy()
        logits[:, masked_ids] = -np.inf
        expected = jax.nn.log_softmax(logits)[np.arange(len(logits)), list(rollout.token_ids)]
        np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-4)


@pytest.mark.parametrize("overrides", [{"slots": 16, "chunk": 3}, {"slots": 2, "prefill_tokens": 64}, {"slots": 1}])
def test_a_sample_does_not_depend_on_slots_chunk_or_prefill_batch(world, overrides):
    requests = tiny_requests()
    expected = _tokens(_run(world.sampler(), world, requests))
    assert _tokens(_run(world.sampler(**overrides), world, requests)) == expected


def test_a_sample_does_not_depend_on_order_or_company(world):
    requests, sampler = tiny_requests(), world.sampler()
    expected = _tokens(_run(sampler, world, requests))
    assert _tokens(_run(sampler, world, requests[::-1])) == expected
    alone = _tokens(_run(sampler, world, requests[4:5]))
    assert alone == {"r4": expected["r4"]}


def test_a_sample_depends_on_seed_and_id(world):
    sampler = world.sampler(NO_END)
    first = _tokens(_run(sampler, world, tiny_requests(3), seed=0))
    assert _tokens(_run(sampler, world, tiny_requests(3), seed=0)) == first
    assert all(
        first[name] != tokens for name, tokens in _tokens(_run(sampler, world, tiny_requests(3), seed=1)).items()
    )
    renamed = [dataclasses.replace(request, id=f"other{request.id}") for request in tiny_requests(3)]
    assert all(first[name[5:]] != tokens for name, tokens in _tokens(_run(sampler, world, renamed)).items())


def test_greedy_and_temperature_rows_share_a_batch(world):
    sampler = world.sampler(NO_END)
    greedy, warm = tiny_requests(4, temperature=0.0), tiny_requests(4, temperature=1.0)
    mixed = [request for i in range(4) for request in (greedy[i], dataclasses.replace(warm[i], id=f"warm{i}"))]
    rollouts = _tokens(_run(sampler, world, mixed))
    alone = _tokens(_run(sampler, world, greedy))
    assert {name: rollouts[name] for name in alone} == alone
    assert all(rollouts[f"warm{i}"] != rollouts[f"r{i}"] for i in range(4))


def test_samples_of_one_prompt_share_its_prefill_and_differ(world):
    session = world.sampler(NO_END).session(world.params, seed=3)
    for request in samples_of(Request("p", prompt(1, 30), 12, 1.0), 10):
        session.submit(request)
    rollouts = []
    while not session.idle:
        rollouts += session.step()
    assert len({rollout.token_ids for rollout in rollouts}) == 10
    assert session.metrics.prompt_tokens == 30


def test_temperature_zero_makes_the_samples_of_a_prompt_identical(world):
    requests = samples_of(Request("p", prompt(1, 30), 12, 0.0), 6)
    assert len(set(_tokens(_run(world.sampler(NO_END), world, requests)).values())) == 1


def test_a_response_at_its_cap_gets_no_end_token(world):
    """The stop reason says so, and nothing is added to the tokens."""
    capped = _run(world.sampler(NO_END), world, tiny_requests(4, max_tokens=9))
    ended = _run(world.sampler(frozenset({capped["r3"].token_ids[4]})), world, tiny_requests(4, max_tokens=9))
    for i in range(4):
        rollout = capped[f"r{i}"]
        assert rollout.stop_reason is StopReason.LENGTH
        assert len(rollout.token_ids) == len(rollout.logprobs) == len(rollout.text) == 9 + i
    assert ended["r3"].stop_reason is StopReason.EOS
    for rollout in ended.values():
        if rollout.stop_reason is StopReason.LENGTH:
            assert rollout.token_ids == capped[rollout.request_id].token_ids


def test_an_end_token_ends_the_response_and_is_not_in_its_text(world):
    free = _run(world.sampler(NO_END), world, tiny_requests(4))
    common = collections.Counter(free["r0"].token_ids).most_common()[-1][0]
    ended = _run(world.sampler(frozenset({common})), world, tiny_requests(4))["r0"]
    cut = free["r0"].token_ids.index(common) + 1
    assert ended.stop_reason is StopReason.EOS
    assert ended.token_ids == free["r0"].token_ids[:cut]
    assert ended.logprobs == pytest.approx(free["r0"].logprobs[:cut], abs=1e-5)
    assert ended.text == free["r0"].text[: cut - 1]


def test_an_end_token_at_the_cap_or_first_of_all_counts_as_the_end(world):
    free = _run(world.sampler(NO_END), world, tiny_requests(1, max_tokens=1))["r0"]
    ended = _run(world.sampler(frozenset(free.token_ids)), world, tiny_requests(1, max_tokens=1))["r0"]
    assert (free.stop_reason, ended.stop_reason) == (StopReason.LENGTH, StopReason.EOS)
    assert ended.text == "" and ended.token_ids == free.token_ids


@pytest.mark.parametrize("chunk", [3, 8])
def test_a_stop_string_cuts_text_and_tokens(world, chunk):
    free = _run(world.sampler(NO_END), world, tiny_requests(2))["r1"]
    stop = free.text[10:13]
    requests = [dataclasses.replace(request, stop=("never\n", stop)) for request in tiny_requests(2)]
    stopped = _run(world.sampler(NO_END, slots=4, chunk=chunk), world, requests)["r1"]
    end = free.text.index(stop)
    assert stopped.stop_reason is StopReason.STOP_STRING
    assert stopped.text == free.text[:end]
    assert stopped.token_ids == free.token_ids[: end + 3]
    assert len(stopped.logprobs) == len(stopped.token_ids)


def test_a_stop_string_may_be_kept_with_the_logprobs_of_its_tokens(world):
    """`sampler.stop`: what was sampled up to the string's last token, and no end token after it."""
    free = _run(world.sampler(NO_END), world, tiny_requests(2))["r1"]
    stop = free.text[10:13]
    requests = [dataclasses.replace(request, stop=(stop,), keeps_stop=True) for request in tiny_requests(2)]
    stopped = _run(world.sampler(NO_END), world, requests)["r1"]
    end = free.text.index(stop) + len(stop)
    assert stopped.stop_reason is StopReason.STOP_STRING
    assert stopped.text == free.text[:end] and stopped.text.endswith(stop)
    assert stopped.token_ids == free.token_ids[:end]
    assert stopped.logprobs == free.logprobs[:end]


@pytest.mark.ci
def test_moving_rows_between_cache_sizes_changes_no_sample(world):
    """Slots shrink from 128 to 64 and positions grow from 128 to 192 while rows are in flight."""
    requests = [Request(f"r{i}", prompt(i, 20 + i % 20), 12 if i % 8 else 120 + i % 20, 1.0) for i in range(80)]
    elastic, fixed = (world.sampler(NO_END, slots=slots, max_response_tokens=144) for slots in (128, 80))
    session = elastic.session(world.params, seed=0)
    for request in requests:
        session.submit(request)
    rollouts, sizes = [], set()
    while not session.idle:
        rollouts += session.step()
        sizes.add(session.cache_shape)
    assert elastic.elastic and {(128, 128), (64, 128), (64, 192)} <= sizes
    fixed.session(world.params, seed=0)
    fixed.elastic = False
    expected = _tokens(_run(fixed, world, requests))
    assert {rollout.request_id: rollout.token_ids for rollout in rollouts} == expected


# Every split into powers of two; the model has two key-value heads.
MESHES = ("2x2x2", "8x1x1", "1x8x1", "4x2x1", "2x4x1", "4x1x2", "1x4x2")
UNSTACKED = ("1x8x1/unstacked", "2x2x2/unstacked")
SERVED = ("1x8x1/tensor4", "2x2x2/tensor4/tiers", "1x4x2/tensor4/unstacked/tiers", "4x1x2/tiers")
DRAFTS = ("2x2x2/drafts", "4x1x2/tiers/drafts")


@pytest.mark.ci
def test_eight_devices_sample_what_one_does(world, tmp_path):
    """The same tokens to the bit, at temperature 0 and at 1."""
    output = tmp_path / "rollouts.json"
    done = subprocess.run(
        [sys.executable, "-m", "sampler.eight_devices", str(output), *MESHES, *UNSTACKED, *SERVED, *DRAFTS],
        env=on_devices(8),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = _run(world.sampler(), world, greedy_and_random_requests())
    results = json.loads(output.read_text(encoding="utf-8"))
    assert list(results) == [*MESHES, *UNSTACKED, *SERVED, *DRAFTS]
    for mesh, result in results.items():
        _, _, tensor = map(int, mesh.partition("/")[0].split("x"))
        tensor = 4 if "tensor4" in mesh else tensor
        assert result["served_as_said"], mesh
        assert result["tokens"] == {name: list(rollout.token_ids) for name, rollout in expected.items()}, mesh
        for name, rollout in expected.items():
            np.testing.assert_allclose(result["logprobs"][name], rollout.logprobs, atol=1e-5, err_msg=mesh)
        assert result["shards"] == 8 // tensor, mesh
    # With one slot a device other temporaries would be as large as a cache.
    assert results["2x2x2"]["cache_copies"] == results["2x2x2/unstacked"]["cache_copies"] == 0
    assert results["2x2x2/unstacked"]["served_buffers"] > results["2x2x2"]["served_buffers"]


def test_a_request_may_come_while_others_run(world):
    requests = tiny_requests()
    expected = _tokens(_run(world.sampler(), world, requests))
    session = world.sampler().session(world.params, seed=0)
    for request in requests[:2]:
        session.submit(request)
    rollouts = session.step()
    for request in requests[2:]:
        session.submit(request)
    while not session.idle:
        rollouts += session.step()
    assert {rollout.request_id: rollout.token_ids for rollout in rollouts} == expected
    assert session.step() == []


def test_rows_finish_as_they_end_and_slots_are_refilled(world):
    lengths = [2, 40, 3, 4, 5, 6, 7]
    requests = [Request(f"r{n}", prompt(n, 10), n, 1.0) for n in lengths]
    session = world.sampler(NO_END, slots=2, chunk=4).session(world.params, seed=0)
    for request in requests:
        session.submit(request)
    order = []
    while not session.idle:
        order += [len(rollout.token_ids) for rollout in session.step()]
    assert sorted(order) == sorted(lengths) and order[-1] == 40
    metrics = session.metrics
    assert metrics.generated_tokens == sum(lengths) and metrics.finished == metrics.length_capped == 7
    assert metrics.prompt_tokens == 70 and 0.5 < metrics.occupancy <= 1.0
    assert metrics.decode_steps < sum(lengths) - 7


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"prompt_ids": (1,) * 49}, r"49 tokens.*max_prompt_tokens=48"),
        ({"prompt_ids": ()}, "empty"),
        ({"prompt_ids": (1, 96)}, "vocabulary"),
        ({"max_tokens": 65}, "max_response_tokens=64"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"temperature": -0.1}, "temperature"),
        ({"stop": ("",)}, "stop"),
    ],
)
def test_a_request_that_cannot_run_is_refused_by_name(world, change, match):
    request = dataclasses.replace(Request("bad", (1, 2), 4, 1.0), **change)
    with pytest.raises(ValueError, match=f"(?s)'bad'.*{match}"):
        world.sampler().session(world.params, seed=0).submit(request)


def test_an_id_serves_once(world):
    session = world.sampler().session(world.params, seed=0)
    session.submit(Request("a", (1,), 2, 1.0))
    with pytest.raises(ValueError, match=r"'a'.*twice"):
        session.submit(Request("a", (2,), 2, 1.0))


@pytest.mark.slow  # with the compiler's defaults: the bits of the code that users run
def test_company_changes_no_bit_of_a_response():
    """A resumed run meets the executors' verdicts, and so its requests, at other moments than the uninterrupted one."""
    config = from_mapping(tiny_config.get_config().to_dict())
    mesh = sharding.make_mesh(1, -1, 1, devices=jax.devices()[:1])
    model_config, params = weights.load(config.model.path, mesh, jnp.float32)
    graphdef, _ = abstract(model_config, compute_dtype=jnp.float32, mesh=mesh)
    tokenizer = load_tokenizer(config.model.path, model_config)
    sampler = Sampler(graphdef, model_config, tokenizer, config.sampler, mesh, jnp.float32)
    prompts = [tuple(tokenizer.encode("# Task: deduce " * (n % 5 + 1) + f"(f {n})")) for n in range(30)]
    requests = [Request(f"r{n}", prompts[n // 2 * 2], 24 + n % 9, n % 3 / 2) for n in range(30)]
    together = {rollout.request_id: rollout for rollout in sampler.generate(params, requests, 0)}
    session, apart = sampler.session(params, 0), {}
    for request in reversed(requests):
        session.submit(request)
        apart |= {rollout.request_id: rollout for rollout in session.step()}
    while not session.idle:
        apart |= {rollout.request_id: rollout for rollout in session.step()}
    assert apart == together
