"""The few sizes that jitted programs are compiled for."""

from __future__ import annotations

_SMALLEST_LENGTH = 128
# XLA's matrix products on a CPU round differently for 2 to 48 rows than for 64 and more, which agree to the bit
# (measured with jax 0.10.2, inner dimensions 128 and 384). With at least 64 rows, a response's numbers do not depend on
# the other rows of its batch, so a resumed run is bit-identical to an uninterrupted one.
SMALLEST_ROWS = 64
INSERT_SIZES = (8, 64)  # rows copied out of a prefill, or to another cache, by one program call, pad rows included


def length_bucket(tokens: int, most: int) -> int:
    """The least of 128, 192, 256, 384, 512, ... (powers of two and halfway) that holds `tokens`.

    At most `most`, which `tokens` must not exceed. Padding wastes at most a third of a bucket.
    """
    size = _SMALLEST_LENGTH
    while size < tokens:
        halfway = size + size // 2
        size = halfway if tokens <= halfway else 2 * size
    return min(size, most)


def length_buckets(most: int) -> list[int]:
    """Every result of `length_bucket`."""
    sizes = [length_bucket(1, most)]
    while sizes[-1] < most:
        sizes.append(length_bucket(sizes[-1] + 1, most))
    return sizes


def packed_bucket(tokens: int, most: int, least: int = 1024) -> int:
    """The least of `least` times 1, 4, 16, ... that holds `tokens`; at most `most`, which `tokens` must not exceed.

    Fewer sizes than `length_bucket`: packed rows are full, except the last of a queue.
    """
    size = least
    while size < tokens:
        size *= 4
    return min(size, most)


def slot_bucket(rows: int, most: int, parts: int, few: int = 0) -> int:
    """The least of `most`, `most` / 2, `most` / 4, ... that holds `rows` and is a multiple of `parts`; 64 or above.

    Or `few`, if that is less and holds them.
    """
    size = most
    while size % (2 * parts) == 0 and size // 2 >= max(rows, SMALLEST_ROWS):
        size //= 2
    return few if 0 < few < size and rows <= few else size


def slot_buckets(most: int, parts: int, few: int = 0) -> list[int]:
    """Every result of `slot_bucket`, largest first."""
    sizes = [most]
    while (smaller := slot_bucket(sizes[-1] // 2, most, parts)) < sizes[-1]:
        sizes.append(smaller)
    return [*sizes, few] if 0 < few < sizes[-1] else sizes


def worth_resizing(now: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether caches of `now` (slots, positions) are too small for `wanted`, or at least twice as large."""
    return any(size < want or size >= 2 * want for size, want in zip(now, wanted, strict=True))


def insert_size(count: int) -> int:
    """The least of INSERT_SIZES that holds `count` rows."""
    return next(size for size in INSERT_SIZES if count <= size)


def batch_size(rows: int, most: int, parts: int) -> int:
    """Rows of one prefill: the largest of `parts` times 1, 4, 16, ... up to `rows` and `most`; at least `parts`."""
    size = parts
    while size * 4 <= min(rows, most):
        size *= 4
    return size


def padded_count(count: int) -> int:
    """The least of SMALLEST_ROWS times 1, 4, 16, ... that holds `count` entries (of one admission)."""
    size = SMALLEST_ROWS
    while size < count:
        size *= 4
    return size


def largest_prefill(longest: int, prefill_tokens: int, parts: int) -> tuple[int, int]:
    """(rows, tokens per row) of the largest prefill with a row for each prompt, of up to `longest` tokens each."""
    sizes, tokens = [], 0
    while tokens < longest:
        tokens = length_bucket(tokens + 1, longest)
        room = max(1, prefill_tokens // tokens)
        sizes.append((batch_size(room, room, parts), tokens))
    return max(sizes, key=lambda size: (size[0] * size[1], size[1]))
