"""`python -m azr_jax.evaluation compare A B`: a paired test between two results of the same problems.

With several samples per problem it also prints pass@k of both. If a trained model is ahead of its base model at 1 but
not at the largest k, it only samples more often what the base model could do already.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from azr_jax.evaluation.commands import arguments as flags
from azr_jax.evaluation.scoring import other_tools, pass_at_k, results

# Settings in which two results may differ: the subject of the comparison.
_MAY_DIFFER = ("model",)
_Samples = Mapping[str, Sequence[Mapping[str, Any]]]
_FIGURES = (".png", ".svg", ".pdf")


def add_parser(commands: Any) -> None:
    """The command's flags."""
    parser = commands.add_parser("compare", help="a paired test (McNemar), and pass@k, of two results")
    parser.add_argument(
        "first",
        metavar="A",
        help="results of an evaluation, a folder of MultiPL-E's, or a file of EvalPlus' or LiveCodeBench's",
    )
    parser.add_argument("second", metavar="B")
    flags.add_ks(parser, "1, 2, 4, ... and the samples of each problem")
    parser.add_argument("--figure", default="", metavar="FILE", help="draws pass@k of both (.png, .svg or .pdf)")
    parser.set_defaults(command_function=main)


def main(arguments: argparse.Namespace) -> int:
    """Prints both scores on the problems that both have, the problems that only one solves, and the p-value."""
    output: TextIO = sys.stdout
    _check_figure(arguments.figure)
    first, second = _read(arguments.first), _read(arguments.second)
    shared = [name for name in first if name in second]
    if not shared:
        raise ValueError(f"{arguments.first} and {arguments.second} have no problem in common")
    counts = [_counts(side, shared) for side in (first, second)]
    sizes = [samples for side in counts for samples, _ in side]
    flags.check_ks(arguments.k, str(min(sizes)), min(sizes))
    only_first = only_second = 0
    for name in shared:
        solved = [results.passed(side[name][0]) for side in (first, second)]
        only_first += solved[0] and not solved[1]
        only_second += solved[1] and not solved[0]
    for label, folder, samples in (("A", arguments.first, first), ("B", arguments.second, second)):
        firsts = [(1, int(results.passed(samples[name][0]))) for name in shared]
        estimate, low, high = pass_at_k.interval(firsts, 1)
        output.write(f"{label} {_label(folder)}: {estimate:.1%} (95% interval {low:.1%} to {high:.1%})\n")
        shared_samples = [sample for name in shared for sample in samples[name]]
        if broken := sum(bool(sample.get("infrastructure")) for sample in shared_samples):
            output.write(f"note: the executors failed on {broken} of {label}'s samples, which count as not solved\n")
        if base_only := sum("base_status" in sample and sample.get("plus_status") is None for sample in shared_samples):
            output.write(f"note: {base_only} of {label}'s samples were judged by EvalPlus' base tests alone\n")
    value = pass_at_k.mcnemar(only_first, only_second)
    output.write(
        f"{len(shared)} problems in both, first samples: only A solves {only_first}, only B solves {only_second};"
        f" McNemar's exact test p = {value:.3g}\n"
    )
    ks = arguments.k or _ks(min(sizes))
    if max(sizes) > 1:
        output.write(_pass_at_k_table(counts, ks))
    if max(sizes) > min(sizes):
        output.write(f"note: a problem has {min(sizes)} samples, another {max(sizes)}: pass@k goes up to the fewer\n")
    if arguments.figure:
        _draw(Path(arguments.figure), counts, ks, [_label(arguments.first), _label(arguments.second)])
    for warning in _warnings(arguments.first, arguments.second, len(shared), len(first), len(second)):
        output.write(f"note: {warning}\n")
    return 0


def _read(path: str) -> _Samples:
    return results.read(path) if Path(path).is_dir() else other_tools.read(Path(path))


def _counts(side: _Samples, names: Sequence[str]) -> list[tuple[int, int]]:
    return results.counts({name: side[name] for name in names})


def _ks(most: int) -> list[int]:
    """1, 2, 4, ... and the number of samples."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def _pass_at_k_table(counts: Sequence[Sequence[tuple[int, int]]], ks: Sequence[int]) -> str:
    """A line for each k: both scores with their intervals, and B - A with the paired interval."""
    lines = []
    for k in ks:
        words = [f"pass@{k}:"]
        for label, side in zip("AB", counts, strict=True):
            mean, low, high = pass_at_k.interval(side, k)
            words.append(f"{label} {mean:.1%} ({low:.1%} to {high:.1%}),")
        estimates = [[pass_at_k.pass_at_k(samples, correct, k) for samples, correct in side] for side in counts]
        differences = [second - first for first, second in zip(*estimates, strict=True)]
        low, high = (100 * end for end in pass_at_k.paired_interval(differences))
        gain = 100 * sum(differences) / len(differences)
        lines.append(f"{' '.join(words)} B - A {gain:+.1f} points ({low:+.1f} to {high:+.1f})\n")
    return "".join(lines)


def _check_figure(name: str) -> None:
    file = Path(name)
    if name and file.suffix not in _FIGURES:
        raise ValueError(f"--figure={name!r}: name a file that ends in {', '.join(_FIGURES)}")
    if name and not file.parent.is_dir():
        raise ValueError(f"--figure={name!r}: there is no folder {str(file.parent)!r}; make it first")


def _draw(file: Path, counts: Sequence[Sequence[tuple[int, int]]], ks: Sequence[int], labels: Sequence[str]) -> None:
    """pass@k by k, with intervals as bands."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for side, label, style in zip(counts, labels, ("o-", "s--"), strict=True):
        means, lows, highs = zip(*(pass_at_k.interval(side, k) for k in ks), strict=True)
        axes.plot(ks, means, style, label=label)
        axes.fill_between(ks, lows, highs, alpha=0.2)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_xlabel("k")
    axes.set_ylabel("pass@k")
    axes.set_ylim(0, 1)
    axes.legend(fontsize="x-small")
    figure.savefig(file)


def _manifest(folder: str) -> dict[str, Any]:
    # Other tools' results have none; of a damaged one no difference would be named.
    return results.read_manifest(folder) if (Path(folder) / results.MANIFEST).exists() else {}


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
    """Every difference that makes the two hard to compare: settings, data, interpreter."""
    warnings = []
    if (in_first, in_second) != (shared, shared):
        warnings.append(f"A has {in_first} problems and B {in_second}; only the {shared} in both count")
    manifests = [_manifest(first), _manifest(second)]
    for label, manifest in zip("AB", manifests, strict=True):
        if manifest and "finished" not in manifest:
            warnings.append(f"{label}'s evaluation is not finished: problems with short responses come first")
    if not all(manifests):
        return warnings
    settings = [manifest["settings"] for manifest in manifests]
    for key in dict.fromkeys([*settings[0], *settings[1]]):
        values = [side.get(key) for side in settings]
        if key not in _MAY_DIFFER and values[0] != values[1]:
            warnings.append(f"{key} differs: {values[0]!r} and {values[1]!r}")
    for key, noun in (("data", "data"), ("interpreter", "interpreters")):
        values = [manifest.get(key) for manifest in manifests]
        if values[0] != values[1]:
            warnings.append(f"the {noun} differ: {values[0]} and {values[1]}")
    return warnings
