"""For languages whose interpreter can't contain itself: a Python process in the sandbox starts it for each program.

The harness of such a language is a file in the interpreter's own language that reads one request on descriptor 0 and
writes one reply, and needs neither system calls nor a foreign function interface. inside/hosted.py does what
language.py asks of a harness (fresh process, limits, no capabilities, seccomp) before the interpreter starts.
A request holds these fields, a reply those of language.py without the two measurements:
  kind, most characters of a value, most characters of a message, hash seed, source, input 1, ..., input n
As text: the number of fields and a line feed, then for each its length in bytes in decimal, a line feed and the bytes.
The address space is limited from the interpreter's start, so the limit is `memory_mib` plus that of a bare interpreter;
its start counts as the program's time. mkdir does nothing and reports success, for interpreters that insist on a
temporary folder; nothing can be written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from executors.language import Interpreter
from executors.languages import python


def interpreter(
    argv: Sequence[str],
    version: str,
    read_only: Sequence[Path] = (),
    environment: Sequence[tuple[str, str]] = (),
) -> Interpreter:
    """An Interpreter with the folders and environment that its Python host needs."""
    host = python.find()
    return Interpreter(
        tuple(argv), version, (*host.read_only, *read_only), environment=(*host.environment, *environment)
    )


def harness_argv(
    arguments: Callable[[Interpreter, str], Sequence[str]],
    *,
    memory_overhead_mib: int,
    memory_errors: Sequence[str],
    reply: int = 3,
    value_environment: Mapping[str, str] | None = None,
) -> Callable[[Interpreter, str, str], list[str]]:
    """`Language.harness_argv` of a hosted language.

    arguments: from the interpreter and the path of the harness, as seen inside, to the interpreter's arguments.
    reply: the descriptor to reply on; 2 for an interpreter that can write to no other. memory_errors: what the
    interpreter writes there if memory runs out. value_environment: environment added for requests that read values and
    run no program.
    """

    def argv(chosen: Interpreter, harness: str, mode: str) -> list[str]:
        plan = {
            "argv": [*chosen.argv, *arguments(chosen, harness)],
            "reply": reply,
            "memory_overhead_mib": memory_overhead_mib,
            "memory_errors": list(memory_errors),
            "value_environment": dict(value_environment or {}),
        }
        return [*python.harness_argv(python.find(), "{inside}/hosted.py", mode), json.dumps(plan)]

    return argv
