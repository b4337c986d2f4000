"""The command line: `python -m azr_jax.evaluation [check | ...]`; see docs/evaluation.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from azr_jax.evaluation import check


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = argparse.ArgumentParser(
        prog="python -m azr_jax.evaluation", description="Benchmarks: sample, judge, compare."
    )
    commands = top.add_subparsers(dest="command", required=True)
    check.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; its exit status. Mistakes of the user are one line on standard error and status 2."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.command_function(arguments)
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
