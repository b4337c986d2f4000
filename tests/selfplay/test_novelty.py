import time

import pytest

from azr_jax.selfplay import novelty
from azr_jax.selfplay.novelty import alike_by_behaviour, alike_by_bleu, alike_by_tokens

LOOP = "def f(words):\n    total = 0\n    for word in words:\n        total += len(word)\n    return total"
OTHER = "def f(n):\n    return [i * i for i in range(n) if i % 3 == 1]"


def cluster_sizes(programs):
    return novelty.cluster_sizes(alike_by_tokens(programs))


def repetition_penalties(programs):
    return novelty.repetition_penalties(alike_by_tokens(programs))


def test_the_same_values_on_all_probes_are_the_same_behaviour():
    behaviours = [("1", "2"), ("1", "3"), ("1", "2"), ("", ""), ("", ""), ("1", "")]
    assert novelty.cluster_sizes(alike_by_behaviour(behaviours)) == [2, 1, 2, 1, 1, 1]
    assert novelty.copied_share(alike_by_behaviour(behaviours)) == pytest.approx(2 / 6)


def test_programs_with_one_value_on_all_probes_are_constant():
    behaviours = [("1", "1"), ("1", "2"), ("", "3"), ("", ""), ("4", "", "4")]
    assert novelty.constant_share(behaviours) == pytest.approx(2 / 3)
    assert novelty.constant_share([("", "3")]) is None and novelty.constant_share([]) is None


def test_a_renamed_constant_is_a_near_copy_and_another_program_is_not():
    programs = [LOOP, LOOP.replace("total = 0", "total = 1"), OTHER, "def f(x):\n    return x"]
    assert cluster_sizes(programs) == [2, 2, 1, 1]
    assert repetition_penalties(programs) == [0.25, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(("shared", "length", "alike"), [(7, 9, False), (8, 10, True)])
def test_near_copies_share_more_than_half_of_their_runs_of_four(shared, length, alike):
    """9 tokens have 6 runs of four; with 7 in common 4 of 8 different runs are shared. 10 and 8: 5 of 9."""
    first, second = (
        " ".join([f"w{n}" for n in range(shared)] + [f"{own}{n}" for n in range(shared, length)]) for own in "ab"
    )
    assert cluster_sizes([first, second]) == ([2, 2] if alike else [1, 1])


def test_a_chain_of_near_copies_is_one_cluster():
    words = [f"w{number}" for number in range(40)]
    chain = [" ".join(words[start : start + 20]) for start in (0, 5, 10, 15)]
    assert cluster_sizes([chain[0], chain[3]]) == [1, 1]
    assert cluster_sizes(chain) == [4, 4, 4, 4]


def test_a_step_of_copies_pays_nearly_one_and_a_single_program_nothing():
    assert repetition_penalties([LOOP] * 10) == [0.9] * 10
    assert repetition_penalties([LOOP]) == [0.0] and repetition_penalties([]) == []


@pytest.mark.parametrize(
    ("text", "reference", "bleu"),
    [
        ("a b c d e", "a b c d e", 1.0),
        ("a b c d e", "a b c d f", 0.668740304976422),
        ("a b c d", "a b c d e f", 0.6065306597126334),
        ("a a a a", "a b c d", 0.08034284189446518),
        ("a b", "a b", 0.31622776601683794),  # it has no run of 3 or 4
        ("a b", "c d", 0.0),
        ("", "a b", 0.0),
    ],
)
def test_bleu_is_nltks(text, reference, bleu):
    """Values of nltk 3.10.4 (sentence_bleu, smoothing method 1)."""
    assert novelty._bleu(*(novelty._counts(words.split()) for words in (text, reference))) == pytest.approx(bleu)


def test_clusters_by_bleu_are_joined_by_the_mean_of_their_distances():
    words = [f"w{number}" for number in range(60)]
    chain = [" ".join(words[start : start + 20]) for start in (0, 5, 10, 15)]
    clusters = alike_by_bleu([LOOP, LOOP.replace("total = 0", "total = 1"), OTHER, *chain])
    # By shared 4-grams the chain is one cluster; here its ends are too far from each other.
    assert novelty.cluster_sizes(clusters) == [2, 2, 1, 2, 2, 2, 2]
    assert clusters[3] == clusters[4] != clusters[5] == clusters[6]
    assert len({clusters[0], clusters[2], clusters[3], clusters[5]}) == 4


@pytest.mark.parametrize("programs", [[], [LOOP], ["", ""], ["x", "x", LOOP]])
def test_few_and_short_programs_have_clusters_by_bleu(programs):
    assert len(alike_by_bleu(programs)) == len(programs)


def test_order_does_not_matter():
    programs = [LOOP, OTHER, LOOP + "  # so", OTHER.replace("3", "4")]
    sizes = dict(zip(programs, cluster_sizes(programs), strict=True))
    assert [sizes[program] for program in programs[::-1]] == cluster_sizes(programs[::-1])


@pytest.mark.parametrize("alike", [alike_by_tokens, alike_by_bleu])
def test_the_papers_step_takes_no_time(alike):
    programs = [LOOP.replace("total", f"t{number}") + f"\n# {number}" for number in range(128)]
    begin_s = time.process_time()
    alike(programs)
    assert time.process_time() - begin_s < 3.0


@pytest.mark.parametrize("text", ["", "x", "\0"])
def test_texts_of_few_tokens_are_programs_too(text):
    assert cluster_sizes([text, text, LOOP]) == [2, 2, 1]
