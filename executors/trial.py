"""Whether a warm server agrees with a fresh interpreter: runs a language's sample both ways and compares.

Warm servers do deep things (raw clone, the JIT's descriptors, V8's heap) that may fail in another version of the
interpreter. A pool runs this trial when it opens: for an untested version each time, for a tested one the first time on
a machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
from pathlib import Path

from executors import compiled
from executors.jobs import Limits, Status
from executors.language import Interpreter, Language
from executors.sandbox.guardian import Guardian
from executors.sandbox.launch import INSIDE, Tier
from executors.worker import FIRST_SEED, Reply, Request, Worker

# Generous, since only values are compared, also on a busy machine.
_LIMITS = Limits(wall_s=60.0, cpu_s=20.0)


def has_both_ways(language: Language) -> bool:
    """Whether programs can be served and run in a fresh interpreter too, and there is a sample to compare by."""
    return bool(language.serves and language.once and language.sample)


def is_tested(language: Language, version: str) -> bool:
    """Whether `version` is one of the versions that the language's warm server was tested with."""
    return any(version == tested or version.startswith(f"{tested}.") for tested in language.tested)


def fault(language: Language, interpreter: Interpreter, tier: Tier, guardian: Guardian | None = None) -> str:
    """As `difference`. For a tested version a pass is cached on this machine, and a difference has to show twice."""
    if not is_tested(language, interpreter.version):
        return difference(language, interpreter, tier, guardian)
    passed = compiled.folder("trials") / _key(language, interpreter, tier)
    if passed.exists():
        return ""
    for _ in range(2):
        differs = difference(language, interpreter, tier, guardian)
        if not differs:
            with contextlib.suppress(OSError):  # a folder of another user: tried again the next time
                passed.parent.mkdir(parents=True, exist_ok=True)
                passed.touch()
            return ""
    return differs


def _key(language: Language, interpreter: Interpreter, tier: Tier) -> str:
    """A cache key of the installed interpreter, its command line, its harness' files and the kernel."""
    digest = hashlib.sha256(repr((language.sample, interpreter, tier.name, platform.release())).encode())
    digest.update(repr(list(language.harness_argv(interpreter, "", "serve"))).encode())
    # Another build may have the same version, but its files have another size or date.
    for path in (Path(interpreter.argv[0]), *interpreter.read_only):
        installed = (interpreter.root / path.relative_to("/") if interpreter.root else path).resolve()
        with contextlib.suppress(OSError):
            state = installed.stat()
            digest.update(f"{installed} {state.st_size} {state.st_mtime_ns}".encode())
    folders = [INSIDE] if language.harness is None else [INSIDE, language.harness.parent]
    for path in sorted(path for folder in folders for path in folder.iterdir() if path.is_file()):
        digest.update(path.read_bytes())
    return f"{language.name}-{digest.hexdigest()[:16]}"


def difference(language: Language, interpreter: Interpreter, tier: Tier, guardian: Guardian | None = None) -> str:
    """How the warm server differs from a fresh interpreter on the language's sample; empty if it does not."""
    warm = Worker(language, interpreter, tier, _LIMITS, guardian=guardian)
    cold = Worker(language, interpreter, tier, _LIMITS, cold=True, guardian=guardian)
    try:
        for source, inputs in language.sample:
            texts = [text.encode() for text in inputs]
            fresh = cold.ask(Request.EVALUATE, source.encode(), texts, FIRST_SEED)
            served = warm.ask(Request.EVALUATE, source.encode(), texts, FIRST_SEED)
            if served.status is Status.INFRASTRUCTURE or _outcome(fresh) != _outcome(served):
                return (
                    f"{source!r} gives {_words(served)} in the warm server and {_words(fresh)} in a fresh interpreter"
                )
        return ""
    finally:
        warm.close()
        cold.close()


def _outcome(reply: Reply) -> tuple[object, ...]:
    return reply.status, reply.error_kind, reply.values


def _words(reply: Reply) -> str:
    return f"{reply.status} {', '.join(reply.values) or reply.error_kind or reply.message}".strip()
