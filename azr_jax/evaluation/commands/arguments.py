"""Flags that several subcommands have."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

BENCHMARKS = "humaneval | mbpp (in Python HumanEval+ and MBPP+) | mceval | ag-lcb-x | multi-lcb"
# More than a day. The wall time may be three times as long, and executors.Limits allow a million seconds.
_LONGEST_S = 100_000


def add_language(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """--language and --language_directory."""
    text = "racket, julia, javascript, python, lua, r, ocaml, ruby, perl, php, scheme, fortran, or an added one; or its"
    text += " suffix in MultiPL-E"
    parser.add_argument("--language", required=default is None, default=default, metavar="LANG", help=text)
    parser.add_argument(
        "--language_directory",
        "--language-dir",
        dest="language_directory",
        default="",
        metavar="DIR",
        help="a folder of added languages, as config.language_directory",
    )


def add_ks(parser: argparse.ArgumentParser, default: str) -> None:
    """--k, an empty list without it."""
    parser.add_argument("--k", type=_ks, default=[], metavar="K,K", help=f"of pass@k (default: {default})")


def check_ks(ks: Iterable[int], what: str, samples: int) -> None:
    """Raises ValueError for a k that so many samples of each problem, which `what` names, do not allow."""
    if wrong := [k for k in ks if not 1 <= k <= samples]:
        raise ValueError(f"--k={wrong[0]}: use numbers from 1 to {what}, the samples of each problem")


def check_judging(workers: int | None, timeout_s: float = 0.0) -> None:
    """Raises ValueError for a --workers or --timeout that is out of range."""
    if workers is not None and workers < 1:
        raise ValueError(f"--workers={workers}: use at least 1, or leave it out")
    if not 0 <= timeout_s <= _LONGEST_S:
        raise ValueError(
            f"--timeout={timeout_s}: use a number above 0, up to {_LONGEST_S}, or 0 for the benchmark's own limit"
        )


def _ks(text: str) -> list[int]:
    try:
        return sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: use whole numbers and commas, as in 1,8,64") from None
