"""Frames between the pool and its harnesses: u32 count, then for each field u32 length and bytes, all big-endian."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_U32 = struct.Struct(">I")
_MAX_FIELDS = 65536


class FrameError(Exception):
    """The bytes are no frame, or a frame larger than allowed."""


def encode(fields: Sequence[bytes]) -> bytes:
    """One frame holding `fields`."""
    parts = [_U32.pack(len(fields))]
    for field in fields:
        parts.append(_U32.pack(len(field)))
        parts.append(field)
    return b"".join(parts)


def spans(data: bytes | bytearray | memoryview, max_bytes: int) -> tuple[list[tuple[int, int]], int] | None:
    """Where the fields of the frame at the start of `data` begin and end, and its length; None while it is incomplete.

    Raises FrameError if the frame would hold more than `max_bytes` bytes or an absurd number of fields.
    """
    size = len(data)
    if size < 4:
        return None
    (count,) = _U32.unpack_from(data, 0)
    if count > _MAX_FIELDS:
        raise FrameError(f"a frame of {count} fields")
    position = 4
    fields = []
    for _ in range(count):
        if size < position + 4:
            return None
        (length,) = _U32.unpack_from(data, position)
        position += 4
        if position + length > max_bytes:
            raise FrameError(f"a frame of more than {max_bytes} bytes")
        if size < position + length:
            return None
        fields.append((position, position + length))
        position += length
    return fields, position


def decode(data: bytes | bytearray, max_bytes: int) -> tuple[list[bytes], int] | None:
    """The fields of the frame at the start of `data` and its length in bytes; otherwise as `spans`."""
    frame = spans(data, max_bytes)
    if frame is None:
        return None
    fields, length = frame
    return [bytes(data[start:end]) for start, end in fields], length
