"""`python -m azr_jax.checkpoint export --workdir=runs/x [--step=N] --out=DIR`: a save as a Hugging Face directory."""

from __future__ import annotations

import argparse

from absl import logging

from azr_jax.flags import ShowDefaults, exit_with


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 1 after an error message."""
    parser = argparse.ArgumentParser(prog="python -m azr_jax.checkpoint", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("export", help="write a save's weights", formatter_class=ShowDefaults)
    command.add_argument("--workdir", required=True, help="the run")
    command.add_argument("--step", type=int, help="which save (default: the newest)")
    command.add_argument("--out", required=True, help="the directory to make")
    command.add_argument("--model", default="", help="where the starting model is now, if not at the run's model.path")
    args = parser.parse_args(arguments)
    logging.set_verbosity(logging.INFO)
    from azr_jax.checkpoint.export import export  # imports jax

    try:
        step = export(args.workdir, args.out, args.step, args.model)
    except (ValueError, OSError, RuntimeError) as error:
        logging.error("%s", error)
        return 1
    logging.info("exported step %d of %s to %s", step, args.workdir, args.out)
    return 0


if __name__ == "__main__":
    exit_with(main)
