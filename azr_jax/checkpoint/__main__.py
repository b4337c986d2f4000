"""`python -m azr_jax.checkpoint export --workdir=runs/x [--step=N] --out=DIR`: a save as a Hugging Face directory."""

from __future__ import annotations

import argparse
import sys

from azr_jax.devices import prepare
from azr_jax.flags import ShowDefaults
from executors.interruption import exit_with


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 1 after an error message."""
    parser = argparse.ArgumentParser(prog="python -m azr_jax.checkpoint", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("export", help="write a save's weights", formatter_class=ShowDefaults)
    command.add_argument("--workdir", required=True, help="the run")
    command.add_argument("--step", type=int, help="which save (default: the newest)")
    command.add_argument("--out", required=True, help="the directory to make")
    command.add_argument("--model", default="", help="where the starting model is now, if not at the run's model.path")
    command.add_argument("--overwrite", action="store_true", help="replace an export of another step or run at --out")
    args = parser.parse_args(arguments)
    prepare()
    from azr_jax.checkpoint.export import export  # imports jax

    try:
        step = export(args.workdir, args.out, args.step, args.model, overwrite=args.overwrite)
    except (ValueError, OSError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"exported step {step} of {args.workdir} to {args.out}\n")
    return 0


if __name__ == "__main__":
    exit_with(main)
