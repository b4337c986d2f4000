"""`python -m azr_jax.evaluation export DIR --format=...`: results in the form of another tool."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation.scoring import other_tools
from azr_jax.workdir import atomic

_FORMS = {
    other_tools.EVALPLUS: other_tools.to_evalplus,
    other_tools.LIVECODEBENCH: other_tools.to_livecodebench,
}


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser("export", help="results as a file of EvalPlus' or LiveCodeBench's")
    parser.add_argument("folder", metavar="DIR", help="results of an evaluation, which are in MultiPL-E's form already")
    parser.add_argument("--format", choices=list(_FORMS), required=True)
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write, as eval_results.json")
    parser.set_defaults(command_function=main)


def main(arguments: argparse.Namespace) -> int:
    """Writes the file."""
    output: TextIO = sys.stdout
    content = _FORMS[arguments.format](Path(arguments.folder))
    atomic.write(arguments.out, json.dumps(content, indent=1) + "\n")
    output.write(f"wrote {arguments.out}\n")
    return 0
