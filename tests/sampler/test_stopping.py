"""Stop strings over token boundaries and partial characters."""

from __future__ import annotations

from collections.abc import Sequence

from azr_jax.sampler import stopping

PIECES = [b"ab", b"c</an", b"swer", b">", b" tail", "é".encode()[:1], "é".encode()[1:], b""]


def _decode(ids: Sequence[int]) -> str:
    return b"".join(PIECES[i] for i in ids).decode("utf-8", errors="replace")


def test_a_stop_string_over_several_tokens_keeps_the_token_that_completes_it():
    assert stopping.cut([0, 1, 2, 3, 4, 4], 3, ("</answer>",), _decode) == (4, "abc")
    assert stopping.cut([0, 1, 2, 3], 1, ("</answer>",), _decode) == (4, "abc")
    assert stopping.cut([0, 1, 2], 1, ("</answer>",), _decode) is None
    assert stopping.cut([0, 1, 2, 3, 4], 5, (), _decode) is None


def test_the_earliest_stop_string_cuts():
    assert stopping.cut([0, 1, 2, 3, 4], 5, (" tail", "</answer>", "b"), _decode) == (1, "a")


def test_a_stop_string_longer_ago_than_the_new_tokens_is_not_seen_again():
    assert stopping.cut([3, 4, 4, 4, 4], 2, (">",), _decode) is None


def test_a_character_split_over_tokens_is_seen_when_whole():
    assert stopping.cut([0, 5], 1, ("é",), _decode) is None
    assert stopping.cut([0, 5, 6], 1, ("é",), _decode) == (3, "ab")


def test_tokens_without_text_do_not_hide_a_stop_string():
    """A model has more ids than its tokenizer; what a chunk holds of them must not decide where the response ends."""
    ids = [0, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2, 3]
    assert [stopping.cut(ids, new, ("</answer>",), _decode) for new in (1, 2, 13)] == [(13, "abc")] * 3
    split = [0, 5, *[7] * 9, 6]
    assert [stopping.cut(split, new, ("é",), _decode) for new in (1, 12)] == [(12, "ab")] * 2
