"""`python -m azr_jax.evaluation export DIR --format=...`: results in the form of another tool."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation.commands import outputs
from azr_jax.evaluation.scoring import other_tools, results

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
    folder, out = Path(arguments.folder), Path(arguments.out)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    outputs.check_out(out, {"the results": folder})
    output: TextIO = sys.stderr if outputs.is_stdout(out) else sys.stdout
    if (folder / results.MANIFEST).exists():  # MultiPL-E's own results have none
        results.check_finished(folder, results.read_manifest(folder))
    content = _FORMS[arguments.format](folder)
    outputs.write(out, json.dumps(content, indent=1) + "\n")
    output.write(f"wrote {out}\n")
    samples = [sample for record in results.read(folder).values() for sample in record]
    if broken := sum(bool(sample.get("infrastructure")) for sample in samples):
        output.write(f"note: the executors failed on {broken} of {len(samples)} samples, which count as not solved\n")
    return 0
