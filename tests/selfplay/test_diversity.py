import pytest

from azr_jax.selfplay.diversity import diversity, ngrams, tokens


def test_tokens_are_words_numbers_and_single_marks():
    assert tokens("(define (f x)\n  (+ x 10))") == ["(", "define", "(", "f", "x", ")", "(", "+", "x", "10", ")", ")"]
    assert ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert ngrams(["a"], 2) == []


def test_repeats_lower_every_share():
    once = diversity(["(f x)", "(g y z)"], ["1", "2"])
    assert once == {
        "distinct_programs": 1.0,
        "distinct_outputs": 1.0,
        "program_tokens": 4.5,
        "distinct_4grams": 1.0,
    }
    # White space makes no other program.
    twice = diversity(["(f x)", "( f  x )"], ["1", "1"])
    assert twice["distinct_programs"] == twice["distinct_outputs"] == twice["distinct_4grams"] == 0.5


@pytest.mark.parametrize("programs", [[], ["x"]])
def test_what_can_not_be_counted_is_left_out(programs):
    assert "distinct_4grams" not in diversity(programs, programs)
    assert bool(diversity(programs, programs)) == bool(programs)
