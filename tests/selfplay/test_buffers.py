import json
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_jax.selfplay.buffers import Buffers, LanguageBuffers
from azr_jax.selfplay.randomness import stream
from azr_jax.selfplay.ring import DrawRule, RingBuffer
from azr_jax.types import TASK_TYPES, InductionProblem, Triplet
from executors import LANGUAGES

DEDUCTION, ABDUCTION, INDUCTION = TASK_TYPES


def fold(program):
    return " ".join(program.split())


def triplet(number, given_input="0"):
    return Triplet("racket", f"(p {number})", given_input, str(number))


def problem(number, inputs=("1", "2")):
    return InductionProblem("racket", f"(p {number})", "m", inputs, ("1", "2"), 1)


def filled(count, capacity=100, new_for=(DEDUCTION, ABDUCTION)):
    buffers = LanguageBuffers(capacity, fold)
    for number in range(count):
        assert buffers.add_triplet(triplet(number), new_for)
    return buffers


def test_a_duplicate_by_canonical_text_is_refused_and_counted():
    buffers = LanguageBuffers(10, fold)
    assert buffers.add_triplet(Triplet("racket", "(define (f x)\n  x)", "1", "1"))
    assert not buffers.add_triplet(Triplet("racket", "(define (f x) x)", " 1", "1"))
    assert buffers.add_triplet(Triplet("racket", "(define (f x) x)", "2", "2"))
    assert buffers.has_triplet("(define (f x)  x)", "2") and not buffers.has_triplet("(define (f x) x)", "3")
    assert buffers.add_problem(problem(1)) and not buffers.add_problem(problem(1))
    assert buffers.add_problem(problem(1, ("1", "3")))
    assert buffers.has_problem("(p  1)", ("1", "2")) and not buffers.has_problem("(p 1)", ("2", "1"))
    counters = buffers.counters()
    assert counters["triplets_refused_duplicates"] == counters["problems_refused_duplicates"] == 1
    assert counters["triplets_size"] == counters["problems_size"] == 2


def test_an_input_is_the_same_by_canonical_text_too():
    buffers = LanguageBuffers(10, LANGUAGES["racket"].canonical_program)
    program = "(define (f x) x)"
    assert buffers.add_triplet(Triplet("racket", program, "(list 1 2)", "(list 1 2)"))
    for copy in ("(list  1\n2)", "[list 1 2]", "(list 1 2) ; new"):
        assert buffers.has_triplet(program, copy)
    assert not buffers.has_triplet(program, '"(list  1 2)"') and not buffers.has_triplet(program, "(list 12)")


def test_program_and_inputs_cannot_run_together_into_the_same_key():
    buffers = LanguageBuffers(10, fold)
    assert buffers.add_problem(problem(1, ("ab", "c")))
    assert not buffers.has_problem("(p 1)", ("a", "bc"))
    assert not buffers.has_problem("(p 1)ab", ("c",))


def test_a_full_buffer_keeps_the_newest():
    buffers = filled(25, capacity=10)
    assert [entry.output for entry in buffers.triplets.entries()] == [str(n) for n in range(15, 25)]
    assert buffers.counters()["triplets_evicted"] == 15
    assert not buffers.has_triplet("(p 14)", "0") and buffers.has_triplet("(p 24)", "0")


def test_an_evicted_entry_may_come_back_and_a_kept_one_may_not():
    buffers = filled(11, capacity=10)
    assert buffers.add_triplet(triplet(0))
    assert not buffers.add_triplet(triplet(10))
    assert len(buffers.triplets) == 10


def test_a_full_buffer_still_offers_what_is_new():
    buffers = filled(10, capacity=10)
    buffers.draw_solver_tasks(DEDUCTION, 10, random.Random(0))
    buffers.add_triplet(triplet(10))
    assert buffers.draw_solver_tasks(DEDUCTION, 1, random.Random(0)) == [triplet(10)]


def test_new_ones_come_first_and_oldest_first_for_each_type():
    buffers = filled(5)
    rng = random.Random(0)
    assert buffers.draw_solver_tasks(DEDUCTION, 3, rng) == [triplet(n) for n in range(3)]
    assert buffers.draw_solver_tasks(ABDUCTION, 2, rng) == [triplet(n) for n in range(2)]
    buffers.add_triplet(triplet(5), (DEDUCTION,))
    assert buffers.draw_solver_tasks(DEDUCTION, 3, rng) == [triplet(n) for n in (3, 4, 5)]
    assert buffers.counters()["new_abduction"] == 3


def test_new_ones_that_were_evicted_are_not_offered():
    buffers = filled(15, capacity=10)
    assert buffers.counters()["new_deduction"] == 10
    assert buffers.draw_solver_tasks(DEDUCTION, 2, random.Random(0)) == [triplet(5), triplet(6)]


def test_the_rest_is_uniform_without_the_new_ones():
    counts = Counter()
    for seed in range(2000):
        buffers = filled(6, new_for=())
        buffers.add_triplet(triplet(6))
        drawn = buffers.draw_solver_tasks(DEDUCTION, 3, random.Random(seed))
        assert drawn[0] == triplet(6) and len(set(drawn)) == 3
        counts.update(entry.output for entry in drawn[1:])
    assert set(counts) == {str(n) for n in range(6)}
    # 4000 draws over 6 entries, 667 each; five standard deviations are about 110.
    assert all(abs(count - 667) < 110 for count in counts.values())


def test_a_small_buffer_repeats_and_an_empty_one_gives_nothing():
    buffers = filled(2)
    drawn = buffers.draw_solver_tasks(DEDUCTION, 7, random.Random(0))
    assert len(drawn) == 7 and set(drawn) == {triplet(0), triplet(1)}
    assert buffers.draw_solver_tasks(INDUCTION, 7, random.Random(0)) == []


def test_references_are_distinct_and_programs_uniform():
    buffers = filled(8)
    assert len(set(buffers.references(6, random.Random(1)))) == 6
    assert len(buffers.references(20, random.Random(1))) == 8
    assert buffers.counters()["new_deduction"] == 8
    assert {buffers.draw_program(random.Random(seed)).output for seed in range(200)} == {str(n) for n in range(8)}
    with pytest.raises(ValueError, match="identity"):
        LanguageBuffers(1, fold).draw_program(random.Random(0))


_ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"), st.integers(0, 12), st.sampled_from([(DEDUCTION,), (ABDUCTION,), (DEDUCTION, ABDUCTION)])
        ),
        st.tuples(st.just("problem"), st.integers(0, 8), st.none()),
        st.tuples(st.just("draw"), st.integers(0, 6), st.sampled_from(TASK_TYPES)),
    ),
    max_size=60,
)


def run(buffers, actions, seed):
    drawn = []
    for position, (name, number, detail) in enumerate(actions):
        if name == "add":
            drawn.append(buffers.add_triplet(triplet(number), detail))
        elif name == "problem":
            drawn.append(buffers.add_problem(problem(number)))
        else:
            drawn.append(buffers.draw_solver_tasks(detail, number, stream(seed, position, "draw")))
    return drawn


@given(capacity=st.integers(1, 7), before=_ACTIONS, after=_ACTIONS)
def test_restored_buffers_go_on_as_uninterrupted_ones(capacity, before, after):
    buffers = Buffers.empty(capacity, {"racket": fold, "lua": fold})
    run(buffers["racket"], before, 1)
    state = json.loads(json.dumps(buffers.to_json()))
    restored = Buffers.from_json(state, {"racket": fold, "lua": fold})
    assert restored.to_json() == state == buffers.to_json()
    assert run(restored["racket"], after, 2) == run(buffers["racket"], after, 2)
    assert restored.to_json() == buffers.to_json() and restored.counters() == buffers.counters()


@given(capacity=st.integers(1, 7), actions=_ACTIONS)
def test_buffers_agree_with_a_plain_list(capacity, actions):
    buffers, model, queue = LanguageBuffers(capacity, fold), [], []
    for position, (name, number, detail) in enumerate(actions):
        if name == "add":
            entry = triplet(number)
            assert buffers.add_triplet(entry, detail) == (entry not in model)
            if entry not in model:
                model.append(entry)
                queue += [entry] if DEDUCTION in detail else []
                if len(model) > capacity:
                    gone = model.pop(0)
                    queue = [entry for entry in queue if entry != gone]
        elif name == "draw" and detail is DEDUCTION:
            drawn = buffers.draw_solver_tasks(DEDUCTION, number, stream(0, position, "draw"))
            fresh, queue = queue[:number], queue[number:]
            assert drawn[: len(fresh)] == fresh and set(drawn) <= set(model)
            assert len(drawn) == (number if model else 0)
            assert len(set(drawn)) == min(number, len(model))
        assert buffers.triplets.entries() == model
        assert buffers.counters()["new_deduction"] == len(queue)


@given(before=_ACTIONS, after=_ACTIONS, old=st.integers(1, 7), new=st.integers(1, 7))
def test_another_capacity_holds_from_the_restored_buffers_on(before, after, old, new):
    buffers = Buffers.empty(old, {"racket": fold})
    run(buffers["racket"], before, 1)
    restored = Buffers.from_json(json.loads(json.dumps(buffers.to_json())), {"racket": fold}, new)
    model = buffers["racket"].triplets.entries()[-new:]
    assert restored["racket"].triplets.entries() == model
    for action in after:
        run(restored["racket"], [action], 2)
        if action[0] == "add" and triplet(action[1]) not in model:
            model = [*model, triplet(action[1])][-new:]
        assert restored["racket"].triplets.entries() == model
        assert restored["racket"].triplets.new_count(DEDUCTION) <= len(model)
    assert Buffers.from_json(restored.to_json(), {"racket": fold}).to_json() == restored.to_json()


def test_a_damaged_state_and_other_languages_are_refused():
    state = Buffers({"racket": filled(3)}).to_json()
    with pytest.raises(ValueError, match="languages="):
        Buffers.from_json(state, {"lua": fold})
    state["racket"]["triplets"][0]["entries"].pop()
    with pytest.raises(ValueError, match="damaged"):
        Buffers.from_json(state, {"racket": fold})
    with pytest.raises(ValueError, match="buffer_capacity=0"):
        LanguageBuffers(0, fold)


def test_adds_and_draws_stay_cheap_at_the_papers_capacity():
    buffers = LanguageBuffers(16384, fold)
    begin_s = time.process_time()
    for number in range(20000):
        buffers.add_triplet(triplet(number))
    rng = random.Random(0)
    for _ in range(2000):
        buffers.references(6, rng)
        buffers.draw_solver_tasks(DEDUCTION, 64, rng)
    assert time.process_time() - begin_s < 5.0


def test_streams_are_repeatable_by_name_and_differ_between_names():
    assert stream(0, 1, "references").random() == stream(0, 1, "references").random()
    names = [(0, 1, "a"), (0, 2, "a"), (1, 1, "a"), (0, 1, "b"), (0, 11, "a"), (10, 1, "a")]
    assert len({stream(*name).random() for name in names}) == len(names)
    # Pinned: a run saved by one process is resumed by another.
    assert stream(0, 1, "references").randrange(1000) == 103


def test_the_newest_entries_of_a_buffer_that_wrapped_around():
    buffer = RingBuffer(3, ())
    for number in range(5):
        buffer.add(str(number), triplet(number), ())
    assert buffer.entries() == [triplet(2), triplet(3), triplet(4)]


def test_buffers_apart_take_each_proposers_own_and_seeds_in_both():
    buffers = LanguageBuffers(10, fold, apart=True)
    for number in range(3):
        buffers.add_triplet(triplet(number), (DEDUCTION,))
    later = [Triplet("racket", f"(p {number})", "0", str(number), step=1) for number in range(3, 8)]
    for number, proposed in enumerate(later):
        buffers.add_triplet(proposed, (ABDUCTION if number else DEDUCTION,))
    assert [entry.output for entry in buffers.triplets_of(DEDUCTION).entries()] == ["0", "1", "2", "3"]
    assert [entry.output for entry in buffers.triplets_of(ABDUCTION).entries()] == ["0", "1", "2", "4", "5", "6", "7"]
    assert buffers.counters()["triplets_size"] == 11 and buffers.counters()["new_abduction"] == 4
    rng = random.Random(0)
    assert buffers.draw_solver_tasks(DEDUCTION, 4, rng) == [*map(triplet, range(3)), later[0]]
    assert set(buffers.draw_solver_tasks(ABDUCTION, 4, rng)) == set(later[1:])
    assert later[4] not in buffers.references(10, rng, DEDUCTION) and later[4] in buffers.references(10, rng, ABDUCTION)
    # A program for induction comes from both.
    drawn = {buffers.draw_program(random.Random(seed)).output for seed in range(300)}
    assert drawn == {str(number) for number in range(8)}
    restored = Buffers.from_json(json.loads(json.dumps(Buffers({"racket": buffers}).to_json())), {"racket": fold})
    assert restored["racket"].to_json() == buffers.to_json()


def test_duplicates_are_kept_where_they_are_allowed():
    buffers = LanguageBuffers(3, fold, duplicates=True)
    for number in (0, 0, 1):
        assert buffers.add_triplet(triplet(number), (DEDUCTION,))
    assert buffers.counters()["triplets_size"] == 3 and buffers.counters()["triplets_refused_duplicates"] == 0
    assert buffers.draw_solver_tasks(DEDUCTION, 2, random.Random(0)) == [triplet(0), triplet(0)]
    buffers.add_triplet(triplet(2), ())
    assert buffers.has_triplet("(p 0)", "0")  # the second copy is still there
    restored = LanguageBuffers.from_json(json.loads(json.dumps(buffers.to_json())), fold)
    restored.add_triplet(triplet(3), ())
    assert not restored.has_triplet("(p 0)", "0") and restored.add_triplet(triplet(1))


def test_new_ones_may_come_shuffled_and_those_left_stay_new():
    orders = set()
    for seed in range(20):
        buffers = filled(6)
        drawn = buffers.draw_solver_tasks(DEDUCTION, 4, random.Random(seed), DrawRule(shuffle_new=True))
        assert len(set(drawn)) == 4 and buffers.counters()["new_deduction"] == 2
        rest = buffers.draw_solver_tasks(DEDUCTION, 2, random.Random(seed), DrawRule(shuffle_new=True))
        assert set(drawn) | set(rest) == {triplet(n) for n in range(6)}
        orders.add(tuple(entry.output for entry in drawn))
    assert len(orders) > 10


def test_tasks_in_the_band_are_drawn_before_the_rest():
    buffers = filled(8, new_for=())
    for number, correct in enumerate((0, 1, 2, 3, 4)):
        buffers.note_solves(DEDUCTION, triplet(number), correct, 4)
    band = DrawRule(low=0.3, high=0.8)
    for seed in range(20):
        drawn = buffers.draw_solver_tasks(DEDUCTION, 4, random.Random(seed), band)
        assert set(drawn[:2]) == {triplet(2), triplet(3)} and len(set(drawn)) == 4
    # Of abduction nothing is known; later tries move an entry.
    assert len(set(buffers.draw_solver_tasks(ABDUCTION, 8, random.Random(0), band))) == 8
    assert buffers.band_shares(band) == {"band_deduction": 2 / 5}
    buffers.note_solves(DEDUCTION, triplet(2), 4, 4)
    buffers.note_solves(DEDUCTION, triplet(99), 4, 4)
    assert buffers.band_shares(band) == {"band_deduction": 2 / 5}
    buffers.note_solves(DEDUCTION, triplet(2), 4, 4)
    assert buffers.band_shares(band) == {"band_deduction": 1 / 5}
    restored = LanguageBuffers.from_json(json.loads(json.dumps(buffers.to_json())), fold)
    assert restored.band_shares(band) == buffers.band_shares(band)


def test_the_band_has_its_ends_and_is_drawn_from_by_chance():
    buffers = filled(8, new_for=())
    for number, correct in enumerate((2, 3, 5, 8, 9)):
        buffers.note_solves(DEDUCTION, triplet(number), correct, 10)
    band = DrawRule(low=0.3, high=0.8)
    drawn = {buffers.draw_solver_tasks(DEDUCTION, 1, random.Random(seed), band)[0] for seed in range(40)}
    assert drawn == {triplet(1), triplet(2), triplet(3)}


def test_new_tasks_outside_the_band_do_not_come_first():
    band = DrawRule(low=0.3, high=0.8)
    for seed in range(20):
        buffers = filled(8)
        for number, correct in enumerate((0, 4, 2, 0, 1, 4)):
            buffers.note_solves(DEDUCTION, triplet(number), correct, 4)
        drawn = buffers.draw_solver_tasks(DEDUCTION, 4, random.Random(seed), band)
        # In the band, or of unknown difficulty; then any other.
        assert set(drawn[:3]) == {triplet(2), triplet(6), triplet(7)} and len(set(drawn)) == 4
        assert buffers.counters()["new_deduction"] == 0 and buffers.counters()["new_abduction"] == 8


def test_copies_of_an_entry_share_its_tries():
    """A draw may give any of them: with tries of its own, an old one would stay in the band whatever solvers do."""
    buffers = LanguageBuffers(3, fold, duplicates=True)
    buffers.add_triplet(triplet(0))
    buffers.note_solves(DEDUCTION, triplet(0), 2, 4)
    buffers.add_triplet(triplet(0))
    middle, high = DrawRule(low=0.4, high=0.6), DrawRule(low=0.7)
    assert buffers.band_shares(middle) == {"band_deduction": 1.0}
    buffers.note_solves(DEDUCTION, triplet(0), 4, 4)
    assert buffers.band_shares(middle) == {"band_deduction": 0.0} and buffers.band_shares(high) == {
        "band_deduction": 1.0
    }
    restored = LanguageBuffers.from_json(json.loads(json.dumps(buffers.to_json())), fold)
    for kept in (buffers, restored):
        kept.add_triplet(triplet(1))
        kept.add_triplet(triplet(2))  # evicts the first copy
        assert kept.band_shares(high) == {"band_deduction": 1.0}
        kept.add_triplet(triplet(3))
        assert kept.band_shares(high) == {}


def test_what_is_known_of_an_evicted_entry_goes_with_it():
    buffers = filled(2, capacity=2)
    buffers.note_solves(DEDUCTION, triplet(0), 1, 2)
    buffers.add_triplet(triplet(5))
    assert buffers.band_shares(DrawRule(low=0.3)) == {}
