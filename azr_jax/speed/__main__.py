"""How fast the engine is: workloads at full size on a GPU, at small shapes elsewhere; random weights unless --model.

Each figure is compared with a peer or a ceiling measured in the same run. With --json the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azr_jax.config_checks import CHOICES
from azr_jax.devices import prepare
from azr_jax.flags import ShowDefaults
from executors.interruption import exit_with

WORKLOADS = ("prompts", "decode", "tail")  # of the sampler


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    top = argparse.ArgumentParser(prog="python -m azr_jax.speed", description=__doc__, formatter_class=ShowDefaults)
    top.add_argument("what", choices=("sampler", "update", "step"))
    top.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    top.add_argument(
        "--size",
        choices=("auto", "full", "small", "tiny"),
        default="auto",
        help="auto: full on a GPU, small elsewhere; tiny: for tests",
    )
    top.add_argument(
        "--model", default="", metavar="DIR", help="a Hugging Face directory, whose weights are used in float32"
    )
    top.add_argument("--only", default="", metavar="NAMES", help="workloads of the sampler, separated by commas")
    top.add_argument("--repeats", type=int, default=3, help="timed runs; reports the median (default 3)")
    top.add_argument(
        "--remat", default="auto", help="recompute policy of the update: auto | full | attention | gate | dots | none"
    )
    top.add_argument("--no-peer", action="store_true", help="leave out the comparison with PyTorch")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Measures; a user's mistake is one line on standard error and status 2."""
    arguments = parser().parse_args(argv)
    prepare()
    try:
        result = _run(arguments)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.repeats < 1:
        raise ValueError(f"--repeats={arguments.repeats}: use at least 1")
    if arguments.only and arguments.what != "sampler":
        raise ValueError(f"--only={arguments.only}: only the sampler's workloads can be chosen; leave it out")
    # The peer takes minutes: what is wrong is said before.
    if unknown := [name for name in arguments.only.split(",") if name and name not in WORKLOADS]:
        raise ValueError(f"--only={arguments.only}: {unknown[0]!r} is none of {', '.join(WORKLOADS)}")
    if arguments.remat not in CHOICES["model.remat"]:
        raise ValueError(f"--remat={arguments.remat}: use one of {', '.join(CHOICES['model.remat'])}")
    # A shell leaves --model=~/DIR as it is.
    arguments.model = str(Path(arguments.model).expanduser()) if arguments.model else ""
    if arguments.model and not (Path(arguments.model) / "config.json").is_file():
        raise ValueError(f"--model={arguments.model}: no config.json there; name a directory as `hf download` makes it")
    peer = None
    if arguments.what != "step" and not arguments.no_peer:
        from azr_jax.speed import peer as peers  # in a separate process, before jax takes the GPU's memory

        peer = peers.run(arguments.what, arguments.size, arguments.model)
    from azr_jax.speed import machine, sampler, sizes, step, update

    commands = {"sampler": sampler.run, "update": update.run, "step": step.run}
    size = sizes.choose(arguments.size, arguments.model)
    report = machine.Report(arguments.what, size)
    return commands[arguments.what](report, size, arguments, peer)


if __name__ == "__main__":
    exit_with(main)
