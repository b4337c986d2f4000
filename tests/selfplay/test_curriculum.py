"""Size, depth and difference of programs: by hand, and in every language that has a syntax tree at hand."""

import pytest

from azr_jax.selfplay.curriculum import bracket_depth, program_metrics
from azr_jax.selfplay.novelty import ngrams, tokens
from executors import LANGUAGES


def test_tokens_are_words_numbers_and_single_marks():
    assert tokens("(define (f x)\n  (+ x 10))") == ["(", "define", "(", "f", "x", ")", "(", "+", "x", "10", ")", ")"]
    assert ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert ngrams(["a"], 2) == []


def test_racket_trees_are_its_data():
    # (define (f x) (+ x 10)): the list, define, (f x) with f and x, (+ x 10) with +, x and 10.
    assert LANGUAGES["racket"].tree_size("(define (f x)\n  (+ x 10)) ; done") == (9, 3)
    assert LANGUAGES["racket"].tree_size('#lang racket\n(define (f x) "(((")') == (6, 3)
    assert LANGUAGES["racket"].tree_size("(define (f x") is None
    assert LANGUAGES["racket"].tree_size("x) (") is None


def test_python_trees_are_its_syntax():
    # FunctionDef; arguments, Return; arg, BinOp; Name, Add, Constant; Load.
    assert LANGUAGES["python"].tree_size("def f(x):\n    return x + 10") == (9, 5)
    assert LANGUAGES["python"].tree_size("def f(x") is None
    assert LANGUAGES["python"].tree_size("x = \x00") is None


@pytest.mark.parametrize("source", ["-" * 8000 + "1", "(" * 4000 + ")" * 4000, "x" + ".a" * 4000, "1" + "+1" * 4000])
def test_deep_programs_do_not_end_the_trainer(source):
    size = LANGUAGES["python"].tree_size(source)
    assert size is None or size[1] > 10


@pytest.mark.parametrize("name", sorted(LANGUAGES))
def test_every_language_measures_its_own_programs(name):
    language = LANGUAGES[name]
    noted = f"{language.identity}\n{language.comment} a remark makes no new program, however many words it has"
    same = program_metrics([language.identity, noted], ["1", "1"], language)
    assert same["tokens"] == len(tokens(language.canonical_program(language.identity)))
    assert same["depth"] >= (language.tree_size is not None)
    assert same["distance"] == 0.0 and same["distinct"] == same["distinct_outputs"] == 0.5
    assert same["near_copies"] == 1.0
    assert ("nodes" in same) == (language.tree_size is not None)
    assert language.tree_size is None or language.tree_size(language.identity) is not None


def test_without_a_tree_depth_is_that_of_brackets():
    assert bracket_depth(tokens("f(g[1, {2}], (3))")) == 3
    assert bracket_depth(tokens("))((")) == 2
    language = LANGUAGES["javascript"]
    metrics = program_metrics(["function f(x) { return [x, [x]]; }"], ["1"], language)
    assert metrics["depth"] == 3 and "nodes" not in metrics and "distance" not in metrics


def test_distance_is_the_mean_over_pairs_by_hand():
    language = LANGUAGES["javascript"]
    # 4-grams: {a b c d, b c d e}, {a b c d, b c d f}, and {g h}: 1 - 1/3, 1 and 1.
    metrics = program_metrics(["a b c d e", "a b c d f", "g h"], ["1", "2", "3"], language)
    assert metrics["distance"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert metrics["distinct"] == 1.0
    assert program_metrics([], [], language) == {}
