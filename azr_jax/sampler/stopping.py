"""Finds where a stop string first appears in a growing response, on the host between decode chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]


def first_stop(text: str, stop: Sequence[str]) -> int:
    """The index of the earliest stop string in `text`, or -1."""
    places = [index for word in stop if (index := text.find(word)) >= 0]
    return min(places, default=-1)


def cut(token_ids: Sequence[int], new: int, stop: Sequence[str], decode: Decode) -> tuple[int, str] | None:
    """(tokens kept, text) when a stop string was completed by the last `new` of `token_ids`, else None.

    The kept tokens end with the one that completes the stop string; the text ends before it. `decode` gives the text
    of token ids. The check decodes only the new tokens and as much text before them as a stop string may have there, so
    that the result does not depend on `new`. A response is decoded whole once, when it ends.
    """
    if not stop or not new:
        return None
    if first_stop(decode(token_ids[_window_start(token_ids, new, stop, decode) :]), stop) < 0:
        return None
    # The fewest tokens whose text holds a stop string: text only grows, so a binary search finds it.
    low, high = len(token_ids) - new + 1, len(token_ids)
    if first_stop(decode(token_ids[:high]), stop) < 0:
        return None
    while low < high:
        middle = (low + high) // 2
        if first_stop(decode(token_ids[:middle]), stop) >= 0:
            high = middle
        else:
            low = middle + 1
    text = decode(token_ids[:high])
    return high, text[: first_stop(text, stop)]


def _window_start(token_ids: Sequence[int], new: int, stop: Sequence[str], decode: Decode) -> int:
    """Where to begin decoding.

    A stop string of b bytes spans at most b tokens with text; ids that only the model has, not its tokenizer (Qwen's
    table is padded by hundreds), have none. A character is at least one byte.
    """
    longest = max(len(word.encode("utf-8", "surrogatepass")) for word in stop)
    before = len(token_ids) - new
    start = max(0, before - longest)
    while start > 0 and len(decode(token_ids[start:before])) < longest:
        start = max(0, start - longest)
    return start
