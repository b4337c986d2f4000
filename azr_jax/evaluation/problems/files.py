"""Benchmark files, local or on the Hugging Face hub: which one holds a benchmark, and how to get missing ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from azr_jax.evaluation.languages.record import BenchmarkLanguage
from azr_jax.evaluation.problems import records
from azr_jax.evaluation.problems.records import AnyProblem

# MultiPL-E's; in Python EvalPlus'.
BENCHMARKS = ("humaneval", "mbpp")
MCEVAL, AG_LCB_X, MULTI_LCB = "mceval", "ag-lcb-x", "multi-lcb"
ALL_BENCHMARKS = (*BENCHMARKS, MCEVAL, AG_LCB_X, MULTI_LCB)
DATA_VARIABLE = "AZR_JAX_DATA"
HUB_REPOSITORY = "nuprl/MultiPL-E"
# Of which all files are one benchmark.
_HUB_FOLDERS = {AG_LCB_X: "nuprl/Ag-LiveCodeBench-X", MULTI_LCB: "livecodebench/code_generation_lite"}
_EVALPLUS_FILES = {
    "humaneval": ("HumanEvalPlus", "evalplus/humanevalplus_release", "v0.1.10"),
    "mbpp": ("MbppPlus", "evalplus/mbppplus_release", "v0.2.0"),
}


def locate(benchmark: str, language: BenchmarkLanguage, data_dir: str = "") -> Path:
    """The file of a benchmark, or the folder of its files. `data_dir`: a local directory; empty: AZR_JAX_DATA, the hub.

    Raises:
      ValueError: no such benchmark.
      FileNotFoundError: the data is neither local nor on the hub, with the command that downloads it.
    """
    if benchmark not in ALL_BENCHMARKS:
        raise ValueError(f"--benchmark={benchmark!r}: use one of {', '.join(ALL_BENCHMARKS)}, or --problems=FILE")
    directory = data_dir or os.environ.get(DATA_VARIABLE, "")
    if not directory:
        return _from_hub(benchmark, language)
    path = find(Path(directory), benchmark, language)
    if path is None:
        raise FileNotFoundError(f"{directory}: {missing(benchmark, language)}")
    return path


def find(directory: Path, benchmark: str, language: BenchmarkLanguage) -> Path | None:
    """The file, or the folder, of a benchmark in a local directory, as the hub or this project names it."""
    suffix = language.suffix
    if benchmark == MCEVAL:
        patterns = [f"{folder}{language.language.full_name}.jsonl" for folder in ("mceval/", "")]
    elif benchmark in (AG_LCB_X, MULTI_LCB):
        names = (benchmark, "Ag-LiveCodeBench-X" if benchmark == AG_LCB_X else "Multi-LCB")
        patterns = [f"{name}{end}" for name in names for end in (".jsonl", ".jsonl.gz")]
        if folder := next((directory / name for name in names if _data_files(directory / name)), None):
            return folder
    elif suffix == "py":
        file, _, version = _EVALPLUS_FILES[benchmark]
        # Not -Mini and -NoExtreme, which EvalPlus keeps in the same place, and the wanted version before older ones.
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


def find_cached(benchmark: str, language: BenchmarkLanguage) -> Path | None:
    """What the cache of the hub has of a benchmark already; nothing is downloaded."""
    try:
        return _from_hub(benchmark, language, only_cached=True)
    except FileNotFoundError:
        return None


def missing(benchmark: str, language: BenchmarkLanguage) -> str:
    """What is missing, and the command that gets it."""
    suffix = language.suffix
    if benchmark == MCEVAL:
        wanted = f"mceval/{language.language.full_name}.jsonl"
        command = "git clone https://github.com/MCEVAL/McEval && mkdir -p data/mceval"
        command += f" && cp $(find McEval -name {language.language.full_name}.jsonl | head -1) data/mceval/"
    elif benchmark == AG_LCB_X:
        wanted = "ag-lcb-x"
        command = f"hf download {_HUB_FOLDERS[benchmark]} --repo-type dataset --local-dir data/ag-lcb-x"
    elif benchmark == MULTI_LCB:
        wanted = "multi-lcb"
        command = f"hf download {_HUB_FOLDERS[benchmark]} --repo-type dataset --include '*.jsonl'"
        command += " --local-dir data/multi-lcb"
    elif suffix == "py":
        name, repository, version = _EVALPLUS_FILES[benchmark]
        url = f"https://github.com/{repository}/releases/download/{version}/{name}.jsonl.gz"
        command = f"mkdir -p data/evalplus && curl -L -o data/evalplus/{name}-{version}.jsonl.gz {url}"
        wanted = f"{name}*.jsonl.gz"
    else:
        wanted = f"{benchmark}-{suffix}.jsonl"
        command = (
            f"hf download {HUB_REPOSITORY} --repo-type dataset --include '{benchmark}-{suffix}/*' --local-dir data"
        )
    where = f"--data_dir=data, for a training run --config.evaluation.benchmark_data=data, or {DATA_VARIABLE}=data"
    return f"no {wanted} here; download it with\n  {command}\nand use {where}"


def load(source: Path, suffix: str) -> list[AnyProblem]:
    """The problems of a file, JSON lines or the hub's parquet, all in one language, or of a folder of such files.

    Raises:
      ValueError: a malformed line or row, with its number, a problem in another language, a name in two files of the
        folder, or no such file in it.
    """
    if source.is_dir():
        by_name: dict[str, AnyProblem] = {}
        for file in _data_files(source):
            for problem in load(file, suffix):
                if problem.name in by_name:
                    raise ValueError(f"{file}: the name {problem.name!r} is in another file of {source} too")
                by_name[problem.name] = problem
        if not by_name:
            raise ValueError(f"{source}: no .jsonl, .jsonl.gz or .parquet file in it")
        return list(by_name.values())
    if source.suffix != ".parquet":
        return records.load_language(source, suffix)
    from pyarrow import ArrowException, parquet

    try:
        rows = parquet.read_table(source).to_pylist()
    except FileNotFoundError:
        raise FileNotFoundError(f"{source}: no such file") from None
    except (ArrowException, OSError) as error:
        raise ValueError(f"{source}: no parquet file ({error}); download it again") from None
    problems = records.of_records(source, "row", enumerate(rows, start=1), suffix)
    records.check_language(source, problems, suffix)
    return problems


def data_version(source: Path) -> str:
    """Identifies a source's content: the digest of its bytes, after the hub's revision if it came from there."""
    hashed = hashlib.sha256()
    for file in _data_files(source) or [source]:
        hashed.update(file.read_bytes())
    digest = hashed.hexdigest()[:16]
    # The hub's cache keeps a file below datasets--OWNER--NAME/snapshots/REVISION.
    _, before, below = str(source).rpartition("/datasets--")
    repository, snapshots, rest = below.partition("/snapshots/")
    is_cached = bool(before and snapshots)
    return f"{repository.replace('--', '/')}@{rest[:12]} sha256 {digest}" if is_cached else f"sha256 {digest}"


def _data_files(folder: Path) -> list[Path]:
    """The data files below a folder, sorted by name, without the hub's cache."""
    files = sorted(path for end in ("jsonl", "jsonl.gz", "parquet") for path in folder.glob(f"**/*.{end}"))
    return [file for file in files if ".cache" not in file.relative_to(folder).parts]


def _from_hub(benchmark: str, language: BenchmarkLanguage, only_cached: bool = False) -> Path:
    """What the hub has of a benchmark, in its cache: MultiPL-E's file, or the folder of LiveCodeBench's files.

    Raises FileNotFoundError with the command to get what it does not have, or does not give.
    """
    repository = _HUB_FOLDERS.get(benchmark, HUB_REPOSITORY)
    if repository == HUB_REPOSITORY and (language.suffix == "py" or benchmark not in BENCHMARKS):
        raise FileNotFoundError(missing(benchmark, language))
    from huggingface_hub import hf_hub_download, snapshot_download

    file = f"{benchmark}-{language.suffix}/test-00000-of-00001.parquet"
    try:
        if repository == HUB_REPOSITORY:
            return Path(hf_hub_download(repository, file, repo_type="dataset", local_files_only=only_cached))
        patterns = ["*.jsonl", "*.parquet"]
        folder = snapshot_download(
            repository, repo_type="dataset", allow_patterns=patterns, local_files_only=only_cached
        )
        if _data_files(Path(folder)):
            return Path(folder)
        raise FileNotFoundError(f"{folder} holds no data")
    except Exception as error:  # noqa: BLE001 - a connection that breaks raises its HTTP library's own, no OSError
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        wanted = file if repository == HUB_REPOSITORY else repository
        raise FileNotFoundError(
            f"the Hugging Face hub did not give {wanted} ({reason}); {missing(benchmark, language)}"
        ) from None
