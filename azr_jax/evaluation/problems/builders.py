"""Benchmarks as tensorflow-datasets builders: `multipl_e/humaneval-rkt`, `evalplus/humaneval` and the like.

`import azr_jax.evaluation.problems.builders` registers them; evaluations read the files themselves. They read what
AZR_JAX_DATA has (JSON lines, or the hub's parquet files), else the Hugging Face hub. Examples are stored as ArrayRecord
and read as a data source, for which tensorflow-datasets 4.9 needs no TensorFlow: none is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from azr_jax.evaluation.languages.known import known_language, known_languages
from azr_jax.evaluation.problems import files
from azr_jax.evaluation.problems.files import BENCHMARKS
from azr_jax.evaluation.problems.records import EvalPlusProblem

# The builders download nothing; otherwise tensorflow-datasets looks for it with a package that it does not declare.
_NO_DOWNLOADS: dict[str, Any] = {}
_TEXT = ("name", "language", "prompt", "doctests", "original", "prompt_terminology", "tests")
# EvalPlus' tolerance too: TFRecord and ArrayRecord keep floats in 32 bits.
_EVALPLUS_TEXT = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")


class _FromFile(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder whose records come from a benchmark's file."""

    url_infos = _NO_DOWNLOADS

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"test": self._generate_examples()}

    def _name(self) -> str:
        assert self.builder_config is not None
        return self.builder_config.name


class MultiplE(_FromFile):
    """MultiPL-E's problems; one configuration for each benchmark and language, such as `humaneval-rkt`."""

    name = "multipl_e"
    VERSION = tfds.core.Version("3.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 - as tensorflow-datasets has it
        tfds.core.BuilderConfig(name=f"{benchmark}-{suffix}")
        for benchmark in BENCHMARKS
        for suffix, language in sorted((language.suffix, language) for language in known_languages().values())
        if language.in_multipl_e
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
        benchmark, _, suffix = self._name().partition("-")
        for index, problem in enumerate(files.load(files.locate(benchmark, known_language(suffix)), suffix)):
            example = {field: str(problem.record.get(field) or "") for field in _TEXT}
            yield index, {**example, "stop_tokens": list(problem.record.get("stop_tokens") or []), "index": index}


class Evalplus(_FromFile):
    """HumanEval+ and MBPP+ with EvalPlus' inputs (JSON text) and float tolerance."""

    name = "evalplus"
    BUILDER_CONFIGS = [  # noqa: RUF012 - as above
        tfds.core.BuilderConfig(name="humaneval", version="0.1.10"),
        tfds.core.BuilderConfig(name="mbpp", version="0.2.0"),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {name: tfds.features.Text() for name in _EVALPLUS_TEXT}
        index = tfds.features.Scalar(np.int64)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({**features, "index": index}),
            homepage="https://github.com/evalplus/evalplus",
        )

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, problem in enumerate(files.load(files.locate(self._name(), known_language("py")), "py")):
            assert isinstance(problem, EvalPlusProblem)
            inputs = {field: json.dumps(getattr(problem, field)) for field in ("base_input", "plus_input")}
            texts = {field: getattr(problem, field) for field in ("prompt", "entry_point", "canonical_solution")}
            example = {"task_id": problem.name, **texts, **inputs, "atol": repr(problem.atol), "index": index}
            yield index, example
