"""Benchmark files in a local directory: which file holds a benchmark, its records, and how to get what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azr_jax.evaluation import problems as problem_files

BENCHMARKS = ("humaneval", "mbpp")
DATA_VARIABLE = "AZR_JAX_DATA"
HUB_REPOSITORY = "nuprl/MultiPL-E"
_EVALPLUS_FILES = {
    "humaneval": ("HumanEvalPlus", "evalplus/humanevalplus_release", "v0.1.10"),
    "mbpp": ("MbppPlus", "evalplus/mbppplus_release", "v0.2.0"),
}


def find(directory: Path, benchmark: str, suffix: str) -> Path | None:
    """The file of a benchmark in a local directory, or in its folder of the name that the hub or this project gives."""
    if suffix == "py":
        file, _, version = _EVALPLUS_FILES[benchmark]
        # Not -Mini and -NoExtreme, which EvalPlus keeps beside them, and no older version before the one wanted.
        patterns = [
            f"{folder}{name}.jsonl{end}"
            for name in (f"{file}-{version}", file, f"{file}-v*")
            for folder in ("", "evalplus/")
            for end in ("", ".gz")
        ]
    else:
        name = f"{benchmark}-{suffix}"
        patterns = [f"{folder}{name}.jsonl" for folder in ("", "multipl-e/", "multipl_e/")] + [f"{name}/test-*.parquet"]
    return next((path for pattern in patterns for path in sorted(directory.glob(pattern))), None)


def missing(benchmark: str, suffix: str) -> str:
    """What is missing, and the command that gets it."""
    if suffix == "py":
        name, repository, version = _EVALPLUS_FILES[benchmark]
        url = f"https://github.com/{repository}/releases/download/{version}/{name}.jsonl.gz"
        command = f"mkdir -p data/evalplus && curl -L -o data/evalplus/{name}-{version}.jsonl.gz {url}"
        wanted = f"{name}*.jsonl.gz"
    else:
        wanted = f"{benchmark}-{suffix}.jsonl"
        command = (
            f"hf download {HUB_REPOSITORY} --repo-type dataset --include '{benchmark}-{suffix}/*' --local-dir data"
        )
    return f"no {wanted} here; download it with\n  {command}\nand use --data_dir=data (or {DATA_VARIABLE}=data)"


def records(source: Path, suffix: str) -> Iterator[dict[str, Any]]:
    """The records of a file, JSON lines or the hub's parquet, all of problems in one language.

    Raises:
      ValueError: a malformed line or row, with its number, or a problem in another language.
    """
    if source.suffix == ".parquet":
        from pyarrow import ArrowException, parquet

        try:
            rows = parquet.read_table(source).to_pylist()
        except (ArrowException, OSError) as error:
            raise ValueError(f"{source}: no parquet file ({error}); download it again") from None
        problem_files.check_language(source, problem_files.of_records(source, "row", enumerate(rows, start=1)), suffix)
        yield from rows
        return
    # Names the line that is bad.
    problem_files.load_language(source, suffix)
    for _, record in problem_files.read_lines(source):
        yield record
