"""Random streams named by (seed, step, purpose), so that a resumed run draws what an uninterrupted one draws."""

from __future__ import annotations

import hashlib
import random


def stream(seed: int, step: int, purpose: str) -> random.Random:
    """The generator of one purpose at one step, as in `stream(config.seed, step, "references/racket")`.

    Streams of different names are independent, and asking for one again starts it again; nothing is global, so
    there is no state to save. SHA-256 names the stream because Python's own `hash` of text differs by process.
    """
    name = f"{seed}/{step}/{purpose}".encode()
    return random.Random(int.from_bytes(hashlib.sha256(name).digest(), "big"))
