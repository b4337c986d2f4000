"""Which tier of containment this machine offers, found by running real commands.

A tier holds if a process starts in it, can start and harden children there, and everything that must fail does.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from pathlib import Path

from executors.inside import protocol
from executors.sandbox import advice
from executors.sandbox.contained import DeadlineExceededError, StreamClosedError
from executors.sandbox.guardian import Guardian
from executors.sandbox.launch import TIER_MEANING, Launch, Mode, Tier, parse_tier
from executors.sandbox.start import start, start_error

_PROBE = Path(__file__).resolve().parent.parent / "inside" / "probe.py"
_TIMEOUT_S = 20.0
# What a tier does not promise to refuse.
_ALLOWED: dict[Tier, frozenset[str]] = {
    Tier.NAMESPACES: frozenset(),
    Tier.LANDLOCK: frozenset(),
    Tier.LIMITS: frozenset(("read_passwd", "read_parent_environment")),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """The result of probing one tier: `fault` is empty if the tier holds."""

    tier: Tier
    fault: str


@functools.cache
def probe(tier: Tier) -> Probe:
    """Start a process in `tier` and try what must fail."""
    # Imported here: it is a language like others, and languages import nothing of this module.
    from executors.languages import python

    interpreter = python.find()
    launch = Launch(
        mode=Mode.SERVE,
        argv=lambda folder: [*python.harness_argv(interpreter, f"{folder}/{_PROBE.name}", str(os.getpid()))],
        interpreter=interpreter,
        tier=tier,
        harness_dir=_PROBE.parent,
    )
    with Guardian() as watch:
        try:
            process = start(launch, watch)
        except (OSError, ValueError) as error:
            return Probe(tier, str(error))
        try:
            fields = process.receive(time.monotonic() + _TIMEOUT_S, 1 << 16)
        except (StreamClosedError, DeadlineExceededError, protocol.FrameError):
            return Probe(tier, start_error(launch))
        finally:
            process.kill()
    word, *possible = (field.decode("utf-8", "replace") for field in fields)
    if word != "probed":
        return Probe(tier, word)
    wrong = [name for name in possible if name not in _ALLOWED[tier]]
    return Probe(tier, f"these are possible and must not be: {', '.join(wrong)}" if wrong else "")


def best_tier() -> Tier | None:
    """The highest tier that holds on this machine; None if none does."""
    for tier in sorted(Tier, reverse=True):
        if not probe(tier).fault:
            return tier
    return None


def require_tier(allow: str) -> Tier:
    """The highest tier that holds; ValueError with the fix if it is lower than `allow` ("namespaces", ...)."""
    least = parse_tier(allow)
    best = best_tier()
    if best is not None and best >= least:
        return best
    faults = "; ".join(
        f"{tier.name.lower()}: {probe(tier).fault}" for tier in sorted(Tier, reverse=True) if tier >= least
    )
    if best is None:
        raise ValueError(f"this machine contains no programs at all ({faults}): run on Linux with seccomp")
    raise ValueError(
        f"allow_tier is {allow!r} but this machine gives only {best.name.lower()!r} ({faults}). {advice.namespaces()}. "
        f"Or set allow_tier to {best.name.lower()!r}, which means: {TIER_MEANING[best]}"
    )
