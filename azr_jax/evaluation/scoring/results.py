"""Results on disk: MultiPL-E's own format, one `.results.json.gz` a problem, and a manifest.

A problem's file appears whole, when all its samples are judged. Until then `samples.jsonl` keeps each judged sample:
an evaluation that was cut off continues with the others.
"""

from __future__ import annotations

import datetime
import gzip
import json
import re
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azr_jax.evaluation.judging.judge import Judgement
from azr_jax.evaluation.problems.records import AnyProblem, EvalPlusProblem
from azr_jax.workdir import atomic

MANIFEST = "evaluation.json"
_SUFFIX = ".results.json.gz"
_SAMPLES = "samples.jsonl"
_NAME_BYTES = 200
# What a problem's file has besides the problem's own record.
_SETTINGS = ("temperature", "top_p", "max_tokens")
ADDED_FIELDS = ("name", "language", "stop_tokens", *_SETTINGS, "completions", "results")
_Kept = dict[str, dict[int, tuple[dict[str, Any], str]]]


class Results:
    """The results folder of one evaluation.

    `settings` is what its numbers depend on. Raises ValueError for a folder of another evaluation or of something else.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / MANIFEST
        wanted = json.loads(json.dumps(dict(settings)))
        if self._path.is_file():
            earlier = read_manifest(self.folder)["settings"]
            different = [key for key in wanted if earlier.get(key) != wanted[key]]
            if different:
                key = different[0]
                raise ValueError(
                    f"--out={str(folder)!r} holds an evaluation with {key}={earlier.get(key)!r}, not {wanted[key]!r}:"
                    " choose another --out, or delete it"
                )
        elif any(not path.name.endswith(atomic.PARTIAL) for path in self.folder.iterdir()):
            raise ValueError(f"--out={str(folder)!r} holds something else: choose a new or empty directory")
        self.settings = wanted

    def check_names(self, problems: Sequence[AnyProblem]) -> None:
        """Raises ValueError for problems whose results would share a file, or a name that no file can have."""
        names: dict[Path, str] = {}
        for problem in problems:
            other = names.setdefault(self.path(problem), problem.name)
            if other != problem.name:
                raise ValueError(f"problems {other!r} and {problem.name!r} would have one results file: rename one")
            name = problem.name.encode("utf-8", "surrogatepass")
            if not 0 < len(name) <= _NAME_BYTES or re.search(r"[\0\ud800-\udfff]", problem.name):
                raise ValueError(
                    f"problem name {problem.name!r:.80} can't name a results file: use 1 to {_NAME_BYTES} bytes of text"
                )

    def check_interpreter(self, version: str) -> None:
        """Raises ValueError if the folder's results are of another interpreter."""
        earlier = read_manifest(self.folder).get("interpreter") if self._path.is_file() else None
        if earlier not in (None, version):
            raise ValueError(
                f"--out={str(self.folder)!r} was begun with {earlier}, and here is {version}: choose another --out, or"
                " go on with the interpreter it was begun with"
            )

    def write_manifest(self, fields: Mapping[str, Any]) -> None:
        """Writes the settings and `fields`."""
        atomic.write(self._path, (json.dumps({"settings": self.settings, **fields}, indent=2) + "\n").encode())

    def path(self, problem: AnyProblem) -> Path:
        """The problem's file."""
        return self._file(problem.name)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '_')}{_SUFFIX}"

    def is_done(self, problem: AnyProblem) -> bool:
        """Whether the problem's file is there, and the executors failed on none of its samples.

        Raises:
          ValueError: a damaged file.
        """
        path = self.path(problem)
        return path.is_file() and not any(result.get("infrastructure") for result in _read_file(path)["results"])

    def write(self, problem: AnyProblem, results: Sequence[Mapping[str, Any]], completions: Sequence[str]) -> None:
        """A problem's file, with a result of `result_of` for each completion.

        With the completions of completion mode it is a completions file of MultiPL-E too, which its evaluator can judge
        again; those of chat are whole programs, which it would append to the prompt.
        """
        # MultiPL-E's own fields; EvalPlus' inputs are too large to be repeated in each result.
        record = {**problem.record, "name": problem.name, "language": problem.language}
        if isinstance(problem, EvalPlusProblem):
            record["stop_tokens"] = list(problem.stop_tokens)
        record |= {key: self.settings[key] for key in _SETTINGS}
        record |= {"completions": list(completions), "results": list(results)}
        text = json.dumps(record, indent=2, default=_as_text)
        atomic.write(self.path(problem), gzip.compress(text.encode(), mtime=0))

    def keep_sample(self, problem: AnyProblem, number: int, result: Mapping[str, Any], completion: str) -> None:
        """Keeps one judged sample of a problem that is not complete; not one that the executors failed on."""
        if not result.get("infrastructure"):
            line = {"name": problem.name, "number": number, "completion": completion, "result": result}
            with (self.folder / _SAMPLES).open("ab") as file:
                # A new line first: the last one may have been cut off.
                file.write(b"\n" + json.dumps(line).encode() + b"\n")

    def kept_samples(self, problems: Sequence[AnyProblem], samples: int) -> _Kept:
        """{name: {number: (result, completion)}} of the samples that are kept, with an entry for each problem.

        A problem's file keeps those that the executors did not fail on. A line that is damaged, as by a killed
        evaluation, is left out: its sample is drawn and judged again.
        """
        kept: _Kept = {problem.name: self._in_file(problem) for problem in problems}
        for record in self._kept_lines():
            if record["name"] in kept and 0 <= record["number"] < samples:
                kept[record["name"]][record["number"]] = record["result"], record["completion"]
        return kept

    def _in_file(self, problem: AnyProblem) -> dict[int, tuple[dict[str, Any], str]]:
        path = self.path(problem)
        record = _read_file(path) if path.is_file() else {"results": []}
        pairs = enumerate(zip(record["results"], record.get("completions", ()), strict=False))
        return {number: pair for number, pair in pairs if not pair[0].get("infrastructure")}

    def _kept_lines(self) -> Iterator[dict[str, Any]]:
        path = self.folder / _SAMPLES
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                record = json.loads(line)
                is_whole = "status" in record["result"] and isinstance(record["completion"], str)
                is_whole &= isinstance(record["name"], str) and isinstance(record["number"], int)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if is_whole and isinstance(record["result"], dict):
                yield record

    def forget_samples(self) -> None:
        """Deletes the kept samples of problems that have their files: a larger --limit continues with the others."""
        others = [
            json.dumps(record) + "\n" for record in self._kept_lines() if not self._file(record["name"]).is_file()
        ]
        if others:
            atomic.write(self.folder / _SAMPLES, "".join(others))
        else:
            (self.folder / _SAMPLES).unlink(missing_ok=True)


def _as_text(value: Any) -> str:
    """What JSON has not, such as a date of LiveCodeBench's in parquet, as its authors write it."""
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def result_of(judgement: Judgement, more: Mapping[str, Any]) -> dict[str, Any]:
    """One judged sample in MultiPL-E's form; `more` has fields to add to it."""
    return {
        "program": judgement.program,
        "timestamp": int(time.time()),
        "stdout": judgement.stdout,
        "stderr": judgement.stderr,
        "exit_code": judgement.exit_code,
        "status": judgement.status,
        **more,
    }


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a results folder. Raises ValueError if there is none or it is damaged."""
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder}: no results of an evaluation ({error})") from None
    settings = manifest.get("settings") if isinstance(manifest, dict) else None
    if not isinstance(settings, dict) or not isinstance(settings.get("model", {}), dict):
        raise ValueError(f"{path}: not a manifest of an evaluation")
    return manifest


def check_finished(folder: str | Path, manifest: Mapping[str, Any]) -> None:
    """Raises ValueError if the folder's evaluation still lacks samples."""
    if "finished" not in manifest:
        raise ValueError(f"{folder}: this evaluation is not finished; give its command again")


def read(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """The results of each problem of a folder, MultiPL-E's own included, by name.

    Raises:
      ValueError: no result file in it, a damaged one, or a problem in two of them.
    """
    return {record["name"]: record["results"] for record in read_records(folder)}


def read_records(folder: str | Path) -> Iterator[dict[str, Any]]:
    """The contents of each result file of a folder, in the order of their names; raises as `read`.

    An unpacked file beside the packed one is left out.
    """
    packed = sorted(Path(folder).glob(f"*{_SUFFIX}"))
    unpacked = {path.with_name(f"{path.name}.gz"): path for path in Path(folder).glob("*.results.json")}
    paths = sorted([*packed, *(path for gz, path in unpacked.items() if gz not in packed)])
    if not paths:
        raise ValueError(f"{folder}: no {_SUFFIX} file in it")
    return _of_different_problems(paths)


def _of_different_problems(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    by_name: dict[str, Path] = {}
    for path in paths:
        record = _read_file(path)
        if (other := by_name.setdefault(record["name"], path)) != path:
            raise ValueError(f"{path}: results of {record['name']!r:.80}, which are in {other.name} too: remove one")
        yield record


def _read_file(path: Path) -> dict[str, Any]:
    """A problem's file; each of its results has a status. Raises ValueError for a damaged file."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        record = json.loads(content)
        record["results"] = [{"status": result["status"], **result} for result in record["results"]]
        if not isinstance(record["name"], str) or not record["results"]:
            raise ValueError("no name or no result in it")
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: no results file: {error!r}; delete it to have the problem done again") from None
    return record


def passed(result: Mapping[str, Any], key: str = "status") -> bool:
    """Whether one result passes, as MultiPL-E's pass_k.py counts it."""
    return result.get(key) == "OK" and (key != "status" or result.get("exit_code") == 0)


def counts(results: Mapping[str, Sequence[Mapping[str, Any]]], key: str = "status") -> list[tuple[int, int]]:
    """(samples, correct) of each problem."""
    return [(len(samples), sum(passed(result, key) for result in samples)) for samples in results.values()]
