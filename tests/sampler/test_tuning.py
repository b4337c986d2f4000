"""What accelerators do otherwise changes no sample: packed prefill, work ahead, fixed steps, tiers, served copies."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from azr_jax.model import cudnn_attention
from azr_jax.sampler import memory, prefilling, serving, slots
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request
from azr_jax.sampler.tuning import Tuning
from azr_jax.types import Rollout, StopReason

from .test_sizes import QWEN_3B, devices
from .tiny import CONFIG, SETTINGS, make_tokenizer, prompt, tiny_requests

AHEAD = Tuning(packs_prefill=True, overlaps=True, fixed_steps=True)


def _sampler(world, tuned: Tuning, tiers=(), eos_ids=frozenset({0}), **overrides) -> Sampler:
    settings = dataclasses.replace(SETTINGS, **overrides)
    sampler = Sampler(world.graphdef, CONFIG, make_tokenizer(eos_ids), settings, None, jnp.float32, tuned)
    if tiers:
        sampler.tiers = tiers
    else:
        sampler.tiers = ((settings.slots, sampler.max_length),)
    return sampler


def _run(sampler: Sampler, params, requests, seed: int = 0) -> dict[str, Rollout]:
    return {rollout.request_id: rollout for rollout in sampler.generate(params, requests, seed)}


def _tokens(rollouts: dict[str, Rollout]) -> dict[str, tuple[int, ...]]:
    return {name: rollout.token_ids for name, rollout in rollouts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [8, 3])
def test_working_ahead_and_packing_change_no_sample(world, chunk):
    requests = [*tiny_requests(), Request("twin", prompt(4, 23), 30, 1.0)]
    expected = _run(world.sampler(), world.params, requests)
    ahead = _run(_sampler(world, AHEAD, chunk=chunk, slots=3), world.params, requests)
    assert _tokens(ahead) == _tokens(expected)
    for name, rollout in ahead.items():
        assert (rollout.text, rollout.stop_reason) == (expected[name].text, expected[name].stop_reason)
        np.testing.assert_allclose(rollout.logprobs, expected[name].logprobs, atol=1e-4)


@pytest.mark.slow
def test_working_ahead_cuts_at_stop_strings(world):
    free = _run(world.sampler(frozenset({1000})), world.params, tiny_requests(4))
    stop = free["r1"].text[10:13]
    requests = [dataclasses.replace(request, stop=(stop,)) for request in tiny_requests(4)]
    expected = _run(world.sampler(frozenset({1000})), world.params, requests)
    ahead = _run(_sampler(world, AHEAD, eos_ids=frozenset({1000}), slots=2), world.params, requests)
    assert expected["r1"].stop_reason is StopReason.STOP_STRING
    assert _tokens(ahead) == _tokens(expected)


@pytest.mark.slow
def test_the_device_is_sent_a_chunk_before_the_host_has_seen_the_last(world):
    session = _sampler(world, AHEAD, eos_ids=frozenset({1000}), slots=4).session(world.params, seed=0)
    for request in tiny_requests(4, max_tokens=17):  # the first token and two chunks of 8; more for the others
        session.submit(request)
    assert session.step() == [] and session.metrics.decode_steps == 0
    session.step()
    assert session.metrics.decode_steps == 8
    while not session.idle:
        session.step()
    caches = session._slots.caches
    session.close()
    assert (
        all(buffer.is_deleted() for tier in caches for buffer in tier.k)
        and not world.params["norm_D"][...].is_deleted()
    )
    # Nothing is sent for rows that are sure to have ended: 17 to 20 tokens are three chunks.
    assert session.metrics.decode_steps == 24


@pytest.mark.parametrize(
    "tuned", [pytest.param(AHEAD, marks=pytest.mark.ci), pytest.param(Tuning(), marks=pytest.mark.slow)]
)
def test_rows_move_to_longer_slots_as_they_grow(world, tuned, monkeypatch):
    moved: list[tuple[int, int]] = []
    move = slots.Slots._move

    def watched(self, moves):
        moved.extend(moves)
        move(self, moves)

    monkeypatch.setattr(slots.Slots, "_move", watched)
    requests = [Request(f"r{i}", prompt(i, 6 + 5 * (i % 7)), 8 + 56 * (i % 3 == 0), 1.0) for i in range(14)]
    requests.append(Request("longest", prompt(99, 48), 64, 1.0))
    eos_ids = frozenset({1000})
    expected = _tokens(_run(world.sampler(eos_ids), world.params, requests))
    sampler = _sampler(world, tuned, tiers=((3, 40), (2, 64), (2, 112)), eos_ids=eos_ids)
    session = sampler.session(world.params, seed=0)
    for request in requests:
        session.submit(request)
    rollouts, tiers = [], set()
    while not session.idle:
        rollouts += session.step()
        tiers.add(session._slots._first_tier)
    assert {rollout.request_id: rollout.token_ids for rollout in rollouts} == expected
    assert {(0, 2), (1, 2)} <= set(moved)
    # As the work runs out, the shorter tiers are left out of the chunks.
    assert tiers == {0, 1, 2}
    assert session.metrics.generated_tokens == sum(request.max_tokens for request in requests)


@pytest.mark.slow
def test_served_copies_compute_what_the_model_does(world):
    coarse = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), world.params)
    same = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), coarse)
    sampler = _sampler(world, dataclasses.replace(AHEAD, unstacks=True))
    served = sampler.serve(coarse)
    assert isinstance(served, serving.Weights) and {"heads_XD", "gate_up_XD"} <= set(served.layers[0])
    assert sampler.serve(served) is served
    shared = jax.tree.map(lambda ours, given: ours is given, world.sampler().serve(same), same)
    assert jax.tree.leaves(shared) == [True] * len(jax.tree.leaves(same))
    requests = tiny_requests(5)
    expected = _run(world.sampler(), same, requests)
    got = _run(sampler, coarse, requests)
    assert _tokens(got) == _tokens(expected)
    for name, rollout in got.items():
        np.testing.assert_allclose(rollout.logprobs, expected[name].logprobs, atol=1e-4)


@pytest.mark.slow
def test_caches_may_lie_as_cudnn_reads_them(world, monkeypatch):
    def one_query(query_BNH, key_BSKH, value_BSKH, positions_B):
        B, N, H = query_BNH.shape
        S, K = key_BSKH.shape[1:3]
        scores = jnp.einsum("BKGH,BSKH->BKGS", query_BNH.reshape(B, K, N // K, H), key_BSKH) * H**-0.5
        scores = jnp.where(jnp.arange(S)[None, None, None] <= positions_B[:, None, None, None], scores, -1e30)
        return jnp.einsum("BKGS,BSKH->BKGH", jax.nn.softmax(scores, axis=-1), value_BSKH).reshape(B, N, H)

    monkeypatch.setattr(cudnn_attention, "one_query", one_query)
    requests = tiny_requests(6, max_tokens=30)
    expected = _tokens(_run(world.sampler(), world.params, requests))
    sampler = _sampler(world, dataclasses.replace(AHEAD, implementation="cudnn"), tiers=((2, 40), (2, 112)))
    assert sampler.new_caches(3, 40).k[0].shape == (3, 40, CONFIG.kv_heads, CONFIG.head_dim)
    assert _tokens(_run(sampler, world.params, requests)) == expected


def test_prompts_in_one_row_fill_it_in_order_and_lets_short_prompts_pass():
    settings = dataclasses.replace(SETTINGS, prefill_tokens=100)
    prompts = [prompt(i, tokens) for i, tokens in enumerate((40, 48, 20, 12))]
    spans, (tokens_BT, positions_BT, segment_ids_BT, last_P) = prefilling.in_one_row(prompts, settings, 1, 0)
    assert [(span.start, span.tokens) for _, span in spans] == [(0, 40), (40, 48), (88, 12)]
    assert tokens_BT.shape == (1, 100) and segment_ids_BT[0].tolist() == [1] * 40 + [2] * 48 + [3] * 12
    assert tokens_BT[0, 88:].tolist() == list(prompts[3]) and positions_BT[0, 86:90].tolist() == [46, 47, 0, 1]
    assert last_P[:3].tolist() == [39, 87, 99] and len(last_P) == cudnn_attention.MOST_SEGMENTS
    many, _ = prefilling.in_one_row([prompt(i, 1) for i in range(40)], settings, 1, 0)
    assert len(many) == cudnn_attention.MOST_SEGMENTS


@pytest.mark.parametrize(
    ("longest", "together", "parts"), [(6144, 16384, 8), (6144, 16384, 1), (256, 8192, 1), (700, 700, 2)]
)
def test_every_prefill_has_one_of_the_sizes_that_a_plan_lists(longest, together, parts):
    settings = dataclasses.replace(SETTINGS, max_prompt_tokens=longest, prefill_tokens=together)
    generator = np.random.default_rng(0)
    for packs in [False] if parts > 1 else [False, True]:
        sizes, shapes = prefilling.sizes(settings, parts, packs), set()
        for count in (*range(1, 20), 64, 300):
            lengths = generator.integers(1, longest + 1, count if count % 2 else 1).tolist() * (
                1 if count % 2 else count
            )
            waiting = [prompt(i, length) for i, length in enumerate(lengths)]
            make = prefilling.in_one_row if packs else prefilling.in_rows
            shapes.add(make(waiting, settings, parts, 0)[1][0].shape)
        assert shapes <= set(sizes) and len(sizes) == len(set(sizes)) < 40


def test_tiers_share_the_memory_and_hold_many_more_rows_than_full_length_slots():
    settings = dataclasses.replace(SETTINGS, slots=0, prefill_tokens=16384)
    sizes = (QWEN_3B, settings, 14240, "bfloat16", devices(31.0))
    tiers = memory.choose_tiers(*sizes)
    assert [length for _, length in tiers] == [1920, 5248, 14240]
    taken = [count * memory.slot_bytes(QWEN_3B, length, "bfloat16") for count, length in tiers]
    budget = 0.9 * 31 * 2**30 - memory.prefill_bytes(QWEN_3B, 16384, "bfloat16")
    assert sum(taken) <= budget and min(taken) > 0.9 * budget / 3
    assert sum(count for count, _ in tiers) > 3 * memory.choose_slots(*sizes)
    # Where little is left, one full-length slot comes first.
    small = memory.choose_tiers(QWEN_3B, settings, 14240, "bfloat16", devices(4.4))
    assert small[-1] == (1, 14240) and len(small) > 1
    with pytest.raises(ValueError, match=r"0 slots of 14240 tokens"):
        memory.choose_tiers(QWEN_3B, settings, 14240, "bfloat16", devices(2.0))


def test_free_memory_is_measured_with_the_served_copy_in_place(world, monkeypatch):
    """Its program is sent without waiting: until it ends, what it takes may seem free."""
    order: list[str] = []
    sampler = Sampler(world.graphdef, CONFIG, make_tokenizer(), SETTINGS, None, jnp.float32)
    monkeypatch.setattr(sampler, "_choose_tiers", lambda: order.append("asked"))
    monkeypatch.setattr(jax, "block_until_ready", lambda _: order.append("waited"))
    sampler.session(world.params, seed=0)
    assert order == ["waited", "asked"]
