"""The command line: `python -m azr_jax.evaluation [run] --model=... | check ...`; see docs/evaluation.md."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any

from azr_jax.devices import prepare
from azr_jax.evaluation.commands import check, compare, export, run, speed, table
from azr_jax.flags import ShowDefaults
from executors.interruption import exit_with

# What an interrupted command leaves; `check` says it itself.
_KEPT = {"run": "judged samples are kept in --out; the same command continues"}


class _Parser(argparse.ArgumentParser):
    """A command's parser, whose help shows defaults."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, formatter_class=ShowDefaults, **kwargs)


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = argparse.ArgumentParser(
        prog="python -m azr_jax.evaluation", description="Benchmarks: sample, judge, compare."
    )
    commands = top.add_subparsers(dest="command", required=True, parser_class=_Parser)
    run.add_parser(commands)
    check.add_parser(commands)
    compare.add_parser(commands)
    table.add_parser(commands)
    export.add_parser(commands)
    speed.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; its exit status. A user's mistake is one line on standard error and status 2."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0].startswith("--") and given[0] not in ("--help", "-h"):
        given.insert(0, "run")
    arguments = parser().parse_args(given)
    prepare()
    try:
        return arguments.command_function(arguments)
    except KeyboardInterrupt as interruption:
        kept = str(interruption) or _KEPT.get(arguments.command, "nothing was changed")
        sys.stderr.write(f"interrupted; {kept}\n")
        return 128 + signal.SIGINT
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    exit_with(main)
