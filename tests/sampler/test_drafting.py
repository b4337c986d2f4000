"""Speculation from a row's own text samples what decoding does, token for token, in fewer steps."""

from __future__ import annotations

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from azr_jax.plan import drafts
from azr_jax.sampler import drafting
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request
from azr_jax.sampler.tuning import Tuning
from azr_jax.types import Rollout, StopReason

from .tiny import CONFIG, SETTINGS, greedy_and_random_requests, make_tokenizer, prompt

NO_END: frozenset[int] = frozenset({1000})


def test_a_draft_is_what_followed_the_most_recent_place_with_the_longest_run():
    history_BS = np.zeros((5, 12), np.int32)
    texts = [[1, 2, 3, 9, 3, 8, 1, 2, 3], [7, 7, 5, 7], [4, 5, 6], [3, 3], [1, 2, 3, 4, 1, 2]]
    for row_S, text in zip(history_BS, texts, strict=True):
        row_S[: len(text)], row_S[len(text) :] = text, 7  # what an earlier row left is no part of the text
    position_B = np.array([len(text) - 1 for text in texts], np.int32)
    draft_BD, found_B = jax.jit(drafting.lookup, static_argnums=2)(history_BS, position_B, 4)
    assert found_B.tolist() == [True, True, False, True, True]
    # Two of them followed nothing but their own end: it is repeated.
    assert np.asarray(draft_BD)[found_B].tolist() == [[9, 3, 8, 1], [5, 7, 5, 7], [3, 3, 3, 3], [3, 4, 1, 2]]


def test_the_plan_and_the_device_look_up_the_same_drafts():
    generator = np.random.default_rng(0)
    history_BS = generator.integers(0, 5, (64, 40)).astype(np.int32)
    position_B = generator.integers(0, 39, 64).astype(np.int32)
    draft_BD, found_B = drafting.lookup(jnp.asarray(history_BS), jnp.asarray(position_B), 3)
    for text_S, position, draft_D, repeats in zip(history_BS, position_B, draft_BD, found_B, strict=True):
        # A response that begins with the draft: one step keeps all of it, and the next is a step of its own.
        known = text_S[: position + 1].tolist()
        counts = drafts.simulate(known, [*np.asarray(draft_D).tolist(), 9], drafting.ORDER, 3)
        assert (counts.steps == 1 and counts.kept == 3) if repeats else counts.drafted < 3 * counts.steps


def test_tokens_count_up_to_the_first_that_is_not_the_drafts_and_none_after_an_end():
    drawn_BT = jnp.array([[1, 2, 3, 4], [1, 9, 3, 4], [5, 2, 3, 4], [1, 0, 3, 4]])
    draft_BD = jnp.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 0, 3]])
    assert drafting.agreed(drawn_BT, draft_BD, drawn_BT == 0).tolist() == [4, 2, 1, 2]


def _sampler(world, tuned: Tuning, tiers, **overrides) -> Sampler:
    settings = dataclasses.replace(SETTINGS, **overrides)
    sampler = Sampler(world.graphdef, CONFIG, make_tokenizer(NO_END), settings, None, jnp.float32, tuned)
    sampler.tiers = sampler.with_draft_slots(tiers)  # none: caches that follow the load
    return sampler


def _run(sampler, world, requests, seed: int = 0) -> tuple[dict[str, Rollout], drafting.Counts]:
    session = sampler.session(world.params, seed)
    for request in requests:
        session.submit(request)
    rollouts = []
    while not session.idle:
        rollouts += session.step()
    tokens = sum(len(rollout.token_ids) for rollout in rollouts)
    assert len(rollouts) == len(requests) and session.metrics.generated_tokens == tokens
    assert session.metrics.occupancy <= 1.0
    return {rollout.request_id: rollout for rollout in rollouts}, session.metrics.drafts


def _requests() -> list[Request]:
    """Greedy and random ones, cold ones of repeated prompts, and lengths at every edge of a draft."""
    repeated = [Request(f"again{i}", prompt(i, 6) * 7, 64 - i, 0.3) for i in range(8)]
    return [
        *greedy_and_random_requests(),
        *repeated,
        *(Request(f"{n} tokens", prompt(n, 9), n, 0.5) for n in range(1, 8)),
    ]


def _equal(world, without: Sampler, with_drafts: Sampler, requests) -> drafting.Counts:
    """The counts of drafts of a run that gives, to the bit, what the same slots give without."""
    expected, none = _run(without, world, requests)
    got, counts = _run(with_drafts, world, requests)
    assert none == drafting.Counts() and got == expected
    assert counts.steps < counts.drawn < counts.steps * 4 and 0.0 < counts.kept_share < 1.0
    return counts


def test_the_tokens_and_their_logprobs_are_those_without_drafts_to_the_bit(world):
    requests = _requests()
    counts = _equal(world, world.sampler(NO_END), world.sampler(NO_END, draft_rows=4), requests)
    # All but the first token of each, which its prefill draws.
    assert counts.drawn == sum(request.max_tokens for request in requests) - len(requests)


@pytest.mark.ci
@pytest.mark.parametrize(
    ("tuned", "tiers"),
    [
        (Tuning(), ()),
        (Tuning(packs_prefill=True, overlaps=True, fixed_steps=True), ((64, 112),)),
        (Tuning(overlaps=True), ((32, 40), (16, 64), (64, 112))),
    ],
    ids=["caches that follow the load", "a tier of their own", "slots of several lengths"],
)
def test_drafts_in_the_tail_alone_change_nothing(world, tuned, tiers):
    """There the caches have 16 slots with 4 tokens each, and 64 or more before."""
    requests = _requests()
    sampled = sum(request.max_tokens - 1 for request in requests)
    without, with_drafts = (_sampler(world, tuned, tiers, slots=64, chunk=9, draft_rows=rows) for rows in (0, 4))
    assert 0 < _equal(world, without, with_drafts, requests).drawn < 0.8 * sampled


@pytest.mark.parametrize("reason", [StopReason.STOP_STRING, pytest.param(StopReason.EOS, marks=pytest.mark.ci)])
def test_what_ends_a_response_may_be_within_a_draft(world, reason):
    """Rows that repeat themselves, ended by what they repeat."""
    eos_ids, requests = NO_END, [request for request in _requests() if request.id.startswith("again")]
    free, _ = _run(world.sampler(NO_END), world, requests)
    if reason is StopReason.EOS:
        repeated = collections.Counter(token for rollout in free.values() for token in rollout.token_ids[20:])
        eos_ids = frozenset({repeated.most_common(1)[0][0]})
    else:
        requests = [dataclasses.replace(request, stop=(free[request.id].text[17:20],)) for request in requests]
    expected, _ = _run(world.sampler(eos_ids), world, requests)
    got, counts = _run(world.sampler(eos_ids, draft_rows=4), world, requests)
    assert got == expected and counts.drawn > counts.steps
    assert reason in {rollout.stop_reason for rollout in got.values()}


@pytest.mark.ci
def test_the_tokens_follow_the_models_distribution(world):
    """Chi-square of each token's place in the running sum of the model's probabilities, the draft's token first."""
    requests = [Request(f"r{i}", prompt(i % 3, 6) * 3, 60, 0.4) for i in range(40)]
    rollouts, counts = _run(world.sampler(NO_END, draft_rows=4), world, requests, seed=5)
    assert counts.kept_share > 0.05
    generator, places = np.random.default_rng(0), []
    for rollout in rollouts.values():
        ids, start = rollout.prompt_ids + rollout.token_ids, len(rollout.prompt_ids)
        logits_TV = world.logits(ids)[start - 1 : -1].astype(np.float64) / 0.4
        probabilities_TV = np.exp(logits_TV - np.logaddexp.reduce(logits_TV, axis=1, keepdims=True))
        history_BS = np.zeros((len(rollout.token_ids), 128), np.int32)
        history_BS[:, : len(ids)] = ids
        draft_T = np.asarray(drafting.lookup(jnp.asarray(history_BS), jnp.arange(start - 1, len(ids) - 1), 1)[0])[:, 0]
        for token, draft, probabilities_V in zip(rollout.token_ids, draft_T, probabilities_TV, strict=True):
            order_V = np.argsort(-probabilities_V - 2.0 * (np.arange(CONFIG.vocab_size) == draft))
            place = order_V.tolist().index(token)
            ordered_V = probabilities_V[order_V]
            places.append(ordered_V[:place].sum() + generator.uniform() * ordered_V[place])
    observed = np.histogram(places, bins=20, range=(0.0, 1.0))[0]
    expected = len(places) / 20
    assert ((observed - expected) ** 2 / expected).sum() < 43.8  # 19 degrees of freedom: beyond with probability 0.001


def test_without_drafts_the_programs_hold_no_texts(world):
    session = world.sampler(NO_END).session(world.params, seed=0)
    session.submit(Request("a", (1, 2), 4, 1.0))
    session.step()
    assert len(jax.tree.leaves(session._slots._device)) == 6 and world.sampler(NO_END).draft_slots == 0
    sampler = world.sampler(NO_END, draft_rows=4)
    assert sampler.draft_slots == 16  # with 4 tokens each: the least rows that a CPU computes alike
    assert sampler.with_draft_slots(((8, 40), (20, 112))) == ((8, 40), (4, 112), (16, 112))
    assert sampler.with_draft_slots(((8, 40), (16, 112))) == ((8, 40), (16, 112))
