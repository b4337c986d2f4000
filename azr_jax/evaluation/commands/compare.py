"""`python -m azr_jax.evaluation compare A B`: a paired test between two results of the same problems."""

from __future__ import annotations

import argparse
import sys
from typing import Any, TextIO

from azr_jax.evaluation.scoring import pass_at_k, results

# Settings in which two results should not differ, beside the model's.
_SAME = (
    "language",
    "benchmark",
    "prompt",
    "n",
    "temperature",
    "top_p",
    "max_tokens",
    "policies",
    "problems_digest",
    "timeout",
)


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser("compare", help="a paired test (McNemar) between two results")
    parser.add_argument("first", metavar="A", help="results of an evaluation, or a folder of MultiPL-E's results")
    parser.add_argument("second", metavar="B")
    parser.set_defaults(command_function=main)


def main(arguments: argparse.Namespace) -> int:
    """Prints both scores on the problems that both have, the problems that only one solves, and the p-value."""
    output: TextIO = sys.stdout
    first, second = results.read(arguments.first), results.read(arguments.second)
    shared = [name for name in first if name in second]
    if not shared:
        raise ValueError(f"{arguments.first} and {arguments.second} have no problem in common")
    only_first = only_second = 0
    for name in shared:
        solved = [results.passed(each[name][0]) for each in (first, second)]
        only_first += solved[0] and not solved[1]
        only_second += solved[1] and not solved[0]
    for label, folder, each in (("A", arguments.first, first), ("B", arguments.second, second)):
        counts = [(1, int(results.passed(each[name][0]))) for name in shared]
        estimate, low, high = pass_at_k.interval(counts, 1)
        output.write(f"{label} {_label(folder)}: {estimate:.1%} (95% interval {low:.1%} to {high:.1%})\n")
        if broken := sum(bool(each[name][0].get("infrastructure")) for name in shared):
            output.write(f"note: the executors failed on {broken} of {label}, which count as not solved\n")
    value = pass_at_k.mcnemar(only_first, only_second)
    output.write(
        f"{len(shared)} problems in both, first samples: only A solves {only_first}, only B solves {only_second};"
        f" McNemar's exact test p = {value:.3g}\n"
    )
    for warning in _warnings(arguments.first, arguments.second, len(shared), len(first), len(second)):
        output.write(f"note: {warning}\n")
    return 0


def _manifest(folder: str) -> dict[str, Any]:
    try:
        return results.read_manifest(folder)
    except ValueError:
        return {}  # MultiPL-E's own results have none


def _label(folder: str) -> str:
    manifest = _manifest(folder)
    settings = manifest.get("settings", {})
    model = settings.get("model", {})
    words = [folder]
    if model:
        step = "" if model.get("step") is None else f" step {model['step']}"
        words.append(f"({model.get('path')}{step}, {settings.get('prompt')} prompt, {manifest.get('interpreter')})")
    return " ".join(words)


def _warnings(first: str, second: str, shared: int, in_first: int, in_second: int) -> list[str]:
    """What makes the two hard to compare."""
    found = []
    if (in_first, in_second) != (shared, shared):
        found.append(f"A has {in_first} problems and B {in_second}; only the {shared} in both count")
    one, other = _manifest(first), _manifest(second)
    if one and other:
        for key in _SAME:
            if one["settings"].get(key) != other["settings"].get(key):
                found.append(f"{key} differs: {one['settings'].get(key)!r} and {other['settings'].get(key)!r}")
        if one.get("interpreter") != other.get("interpreter"):
            found.append(f"the interpreters differ: {one.get('interpreter')} and {other.get('interpreter')}")
    return found
