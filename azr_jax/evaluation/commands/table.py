"""`python -m azr_jax.evaluation table DIR [DIR ...]`: results side by side, with their settings."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from azr_jax.evaluation.scoring import results
from azr_jax.evaluation.scoring.summary import benchmark_name

HEAD = ("benchmark", "language", "prompt", "model", "step", "digest", "problems", "n", "temperature", "policy", "score")
HEAD += ("value", "low", "high", "hit_max_tokens", "stop", "max_tokens", "compute_dtype", "interpreter", "data", "seed")
HEAD += ("finished", "own_tests")


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser("table", help="the scores of several results as a table")
    parser.add_argument("folders", nargs="+", metavar="DIR", help="results of evaluations")
    parser.add_argument("--format", choices=["markdown", "csv"], default="markdown")
    parser.set_defaults(command_function=main)


def main(arguments: argparse.Namespace) -> int:
    """Prints a row for each score of each folder."""
    output: TextIO = sys.stdout
    rows = [row for folder in arguments.folders for row in rows_of(folder)]
    output.write(_csv(rows) if arguments.format == "csv" else _markdown(rows))
    return 0


def rows_of(folder: str) -> list[tuple[str, ...]]:
    """A row for each score of one evaluation. Raises ValueError if it is not an evaluation, or not finished."""
    manifest = results.read_manifest(folder)
    settings = manifest["settings"]
    results.check_finished(folder, manifest)
    rows = []
    try:
        model = settings["model"]
        for policy, scores in manifest["scores"].items():
            for name, numbers in scores.items():
                fields = (
                    benchmark_name(settings["benchmark"], settings["language"]),
                    settings["language"],
                    settings["prompt"],
                    model["path"],
                )
                fields += ("" if model["step"] is None else model["step"], model["digest"], manifest["scored"])
                fields += (settings["n"], settings["temperature"], policy, name)
                value, low, high = (f"{100 * number:.1f}" for number in numbers)
                fields += (value, low, high, manifest.get("hit_max_tokens", ""))
                fields += (settings.get("stop", ""), settings["max_tokens"], settings["compute_dtype"])
                fields += (manifest["interpreter"], manifest.get("data", ""), settings["seed"], manifest["finished"])
                # Samples of the sound policy that their own tests judged.
                fields += (manifest.get("own_way", ""),)
                rows.append(tuple(str(field) for field in fields))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{folder}: its {results.MANIFEST} is damaged ({error!r}); give the evaluation's command again"
        ) from None
    return rows


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(rows)
    return text.getvalue()


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
