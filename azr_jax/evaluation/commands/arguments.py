"""Flags that several subcommands have."""

from __future__ import annotations

import argparse

BENCHMARKS = "humaneval | mbpp (in Python HumanEval+ and MBPP+) | mceval | ag-lcb-x | multi-lcb"


def add_language(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """--language and --language_directory."""
    text = "racket, julia, javascript, python, lua, r, ocaml, ruby or an added one; or its suffix in MultiPL-E"
    parser.add_argument("--language", required=default is None, default=default, metavar="LANG", help=text)
    parser.add_argument(
        "--language_directory",
        "--language-dir",
        dest="language_directory",
        default="",
        metavar="DIR",
        help="a folder of added languages, as config.language_directory",
    )
