"""The command line: `azr-jax COMMAND ...`, or `python -m azr_jax COMMAND ...`.

Each command is a module; `azr-jax train` and `python -m azr_jax.main` are the same program.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import runpy
import sys
from collections.abc import Sequence

# Command: the module, the arguments that come before the user's, and what the command does.
COMMANDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "train": ("azr_jax.main", (), "start or resume a run: azr-jax train --config=tiny"),
    "status": ("azr_jax.status", (), "how a run is doing, also one in a bucket: azr-jax status runs/tiny"),
    "report": ("azr_jax.report", (), "the HTML page of one or several runs: azr-jax report runs/tiny"),
    "eval": (
        "azr_jax.evaluation",
        (),
        "score a model on HumanEval or MBPP; check, compare, tabulate and export results",
    ),
    "export": ("azr_jax.checkpoint", ("export",), "a checkpoint as a Hugging Face directory"),
    "plan": ("azr_jax.plan", (), "memory and time of a run on TPUs or GPUs, without them"),
    "speed": ("azr_jax.speed", (), "speed of the sampler, the update or a step on this machine"),
    "study": ("azr_jax.study", (), "a grid of runs (arm x seed x language) with its statistics"),
    "pretrain": ("azr_jax.pretrain", (), "make the embedded model azr-tiny from nothing"),
    "doctor": ("executors", ("doctor",), "which interpreters and which sandbox this machine has"),
    "executors": ("executors", (), "run programs in the sandbox: run, batch, build, speed"),
}


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, _, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: azr-jax COMMAND ...",
            "",
            *lines,
            "",
            "azr-jax COMMAND --help lists the flags of a command; azr-jax --version prints the version.",
            "Documentation: docs/index.md.",
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the module of the command that the first argument names; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("--help", "-h", "help"):
        sys.stdout.write(usage())
        return 0 if given else 2
    if given[0] == "--version":
        sys.stdout.write(f"azr_jax {importlib.metadata.version('azr_jax')}\n")
        return 0
    if given[0] not in COMMANDS:
        near = difflib.get_close_matches(given[0], COMMANDS, 1)
        advice = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
        sys.stderr.write(f"error: unknown command {given[0]!r}: {advice}\n")
        return 2
    module, before, _ = COMMANDS[given[0]]
    sys.argv = [f"azr-jax {given[0]}", *before, *given[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
