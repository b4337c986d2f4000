"""Whether a warm server agrees with a fresh interpreter: runs a language's sample both ways and compares.

Warm servers do deep things (raw clone, the JIT's descriptors, V8's heap) that another version of the interpreter may
not bear. A version that the project was tested with is believed; any other is tried when a pool opens.
"""

from __future__ import annotations

from executors.jobs import Limits
from executors.language import Interpreter, Language
from executors.sandbox.guardian import Guardian
from executors.sandbox.launch import Tier
from executors.worker import FIRST_SEED, Reply, Request, Worker

# Generous, since only values are compared, also on a busy machine.
_LIMITS = Limits(wall_s=60.0, cpu_s=20.0)


def is_tested(language: Language, version: str) -> bool:
    """Whether `version` is one of the versions that the language's warm server was tested with, or has no other way."""
    ways = language.serves and language.once and language.sample
    return not ways or any(version == tested or version.startswith(f"{tested}.") for tested in language.tested)


def difference(language: Language, interpreter: Interpreter, tier: Tier, guardian: Guardian | None = None) -> str:
    """How the warm server differs from a fresh interpreter on the language's sample; empty if it does not."""
    warm = Worker(language, interpreter, tier, _LIMITS, guardian=guardian)
    cold = Worker(language, interpreter, tier, _LIMITS, cold=True, guardian=guardian)
    try:
        for source, inputs in language.sample:
            texts = [text.encode() for text in inputs]
            fresh = cold.ask(Request.EVALUATE, source.encode(), texts, FIRST_SEED)
            served = warm.ask(Request.EVALUATE, source.encode(), texts, FIRST_SEED)
            if _told(fresh) != _told(served):
                return (
                    f"{source!r} gives {_words(served)} in the warm server and {_words(fresh)} in a fresh interpreter"
                )
        return ""
    finally:
        warm.close()
        cold.close()


def _told(reply: Reply) -> tuple[object, ...]:
    return reply.status, reply.error_kind, reply.values


def _words(reply: Reply) -> str:
    return f"{reply.status} {', '.join(reply.values) or reply.error_kind or reply.message}".strip()
