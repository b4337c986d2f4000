"""Benchmarks as tensorflow-datasets builders: `multipl_e/humaneval-rkt`, `evalplus/humaneval` and the like.

Read from a local directory (`--data_dir` or AZR_JAX_DATA: JSON lines, or the hub's parquet files) or from the Hugging
Face hub. Examples are stored as ArrayRecord and read as a data source, for which tensorflow-datasets 4.9 needs no
TensorFlow: none is imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from azr_jax.evaluation import problems as problem_files
from azr_jax.evaluation.data_files import BENCHMARKS, DATA_VARIABLE, HUB_REPOSITORY, find, missing, records
from azr_jax.evaluation.policies import POLICIES
from azr_jax.evaluation.problems import AnyProblem

# Nothing comes through the builders' download manager; finding out would need a package that they do not declare.
_NO_DOWNLOADS: dict[str, Any] = {}
_TEXT = ("name", "language", "prompt", "doctests", "original", "prompt_terminology", "tests")


class _FromFile(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder whose records come from a local file: `source`, by default the one that AZR_JAX_DATA has."""

    url_infos = _NO_DOWNLOADS

    def __init__(self, *, source: Path | None = None, **settings: Any) -> None:
        self._source = source
        super().__init__(**settings)

    def _local(self, benchmark: str, suffix: str) -> Path | None:
        folder = os.environ.get(DATA_VARIABLE, "")
        return self._source or (find(Path(folder), benchmark, suffix) if folder else None)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"test": self._generate_examples()}


class MultiplE(_FromFile):
    """MultiPL-E's problems; one configuration for each benchmark and language, such as `humaneval-rkt`."""

    name = "multipl_e"
    VERSION = tfds.core.Version("3.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 - as tensorflow-datasets has it
        tfds.core.BuilderConfig(name=f"{benchmark}-{suffix}")
        for benchmark in BENCHMARKS
        for suffix in sorted(POLICIES)
        if suffix != "py"
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        texts = {field: tfds.features.Text() for field in _TEXT}
        stop_tokens = tfds.features.Sequence(tfds.features.Text())
        features = tfds.features.FeaturesDict(
            {**texts, "stop_tokens": stop_tokens, "index": tfds.features.Scalar(np.int64)}
        )
        return tfds.core.DatasetInfo(
            builder=self, features=features, homepage="https://huggingface.co/datasets/nuprl/MultiPL-E"
        )

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        benchmark, _, suffix = _name_of(self).partition("-")
        source = self._local(benchmark, suffix) or _from_hub(_name_of(self))
        for index, record in enumerate(records(source, suffix)):
            example = {field: str(record.get(field) or "") for field in _TEXT}
            yield index, {**example, "stop_tokens": list(record.get("stop_tokens") or []), "index": index}


class Evalplus(_FromFile):
    """HumanEval+ and MBPP+ with EvalPlus' inputs (JSON text) and float tolerance."""

    name = "evalplus"
    BUILDER_CONFIGS = [  # noqa: RUF012 - as above
        tfds.core.BuilderConfig(name="humaneval", version="0.1.10"),
        tfds.core.BuilderConfig(name="mbpp", version="0.2.0"),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        # The tolerance as text too: TFRecord and ArrayRecord keep floats in 32 bits.
        texts = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")
        features = {name: tfds.features.Text() for name in texts}
        index = tfds.features.Scalar(np.int64)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({**features, "index": index}),
            homepage="https://github.com/evalplus/evalplus",
        )

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        source = self._local(_name_of(self), "py")
        if source is None:
            raise FileNotFoundError(missing(_name_of(self), "py"))
        for index, record in enumerate(records(source, "py")):
            inputs = {field: json.dumps(record[field]) for field in ("base_input", "plus_input")}
            texts = {field: record[field] for field in ("task_id", "prompt", "entry_point", "canonical_solution")}
            yield index, {**texts, **inputs, "atol": repr(record["atol"]), "index": index}


def _name_of(builder: tfds.core.GeneratorBasedBuilder) -> str:
    assert builder.builder_config is not None
    return builder.builder_config.name


def load(benchmark: str, suffix: str, data_dir: str = "") -> list[AnyProblem]:
    """The problems of a benchmark in its order. `data_dir`: local files; empty: AZR_JAX_DATA, else the hub.

    Raises:
      ValueError: no such benchmark, a malformed file.
      FileNotFoundError: the data is neither local nor to be had, with the command that downloads it.
      OSError: the prepared data can't be kept in the cache.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"--benchmark={benchmark!r}: use one of {', '.join(BENCHMARKS)}, or --problems=FILE")
    directory = data_dir or os.environ.get(DATA_VARIABLE, "")
    source = find(Path(directory), benchmark, suffix) if directory else None
    if directory and source is None:
        raise FileNotFoundError(f"{directory}: {missing(benchmark, suffix)}")
    tfds.disable_progress_bar()
    folder = _cache_folder(source)

    def make() -> Any:
        settings: dict[str, Any] = {"file_format": "array_record", "source": source, "data_dir": str(folder)}
        if suffix == "py":
            return Evalplus(config=benchmark, **settings)
        return MultiplE(config=f"{benchmark}-{suffix}", **settings)

    examples = sorted(_prepared(make, folder).as_data_source("test"), key=lambda example: int(example["index"]))
    return [problem_files.from_record(_to_record(example)) for example in examples]


def _prepared(make: Callable[[], Any], folder: Path) -> Any:
    """A builder whose data is prepared below `folder`, by it or by another process that was faster.

    Raises:
      OSError: nothing can be written there.
    """
    builder = make()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Its words are none of the result, which is standard output.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except FileNotFoundError:
        raise  # the data's own: what is missing, and the command that gets it
    except OSError as error:
        if Path(builder.data_dir).is_dir():
            return make()
        raise OSError(
            f"{folder}: the benchmark can't be prepared there ({error}): free space, mend its permissions, or set"
            " XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return builder


def _to_record(example: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in example.items():
        record[name] = value.decode() if isinstance(value, bytes) else value
    del record["index"]
    if "stop_tokens" in record:
        record["stop_tokens"] = [token.decode() for token in record["stop_tokens"]]
    for field in ("base_input", "plus_input", "atol"):
        if field in record:
            record[field] = json.loads(record[field])
    return record


def _cache_folder(source: Path | None) -> Path:
    """Where the prepared data lies: by the content of its source, so that another file is another data set."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azr_jax" / "benchmarks"
    return root / (hashlib.sha256(source.read_bytes()).hexdigest()[:16] if source else "hub")


def _from_hub(name: str) -> Path:
    """The hub's file of a MultiPL-E configuration. Raises FileNotFoundError with the command when it can't be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    file = f"{name}/test-00000-of-00001.parquet"
    try:
        return Path(hf_hub_download(HUB_REPOSITORY, file, repo_type="dataset"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        benchmark, _, suffix = name.partition("-")
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise FileNotFoundError(
            f"the Hugging Face hub did not give {file} ({reason}); {missing(benchmark, suffix)}"
        ) from None
