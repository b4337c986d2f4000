"""`python -m azr_jax.report WORKDIR [WORKDIR ...] --out=FILE`: the HTML page of one or several runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from absl import logging

from azr_jax.flags import ShowDefaults
from azr_jax.report import write
from executors.interruption import exit_with


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 1 after an error message."""
    parser = argparse.ArgumentParser(prog="python -m azr_jax.report", description=__doc__, formatter_class=ShowDefaults)
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR", help="the folder of a run")
    parser.add_argument("--out", type=Path, help="the page; default: WORKDIR/report.html of the first run")
    parser.add_argument(
        "--data_dir", default="", metavar="DIR", help="benchmark files to compare training items with (AZR_JAX_DATA)"
    )
    args = parser.parse_args(arguments)
    logging.set_verbosity(logging.INFO)
    out = args.out or args.workdirs[0] / "report.html"
    try:
        write(args.workdirs, out, args.data_dir)
    except (ValueError, OSError) as error:
        logging.error("%s", error)
        return 1
    logging.info("wrote %s", out)
    return 0


if __name__ == "__main__":
    exit_with(main)
