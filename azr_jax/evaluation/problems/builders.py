"""Benchmarks as tensorflow-datasets builders: `multipl_e/humaneval-rkt`, `evalplus/humaneval`, `mceval/lua`, `ag_lcb_x`
and `multi_lcb`.

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
from azr_jax.evaluation.problems.files import AG_LCB_X, BENCHMARKS, MCEVAL, MULTI_LCB
from azr_jax.evaluation.problems.records import EvalPlusProblem, StdinProblem

# The builders download nothing; otherwise tensorflow-datasets looks for it with a package that it does not declare.
_NO_DOWNLOADS: dict[str, Any] = {}
_TEXT = ("name", "language", "prompt", "doctests", "original", "prompt_terminology", "tests")
# EvalPlus' tolerance too: TFRecord and ArrayRecord keep floats in 32 bits.
_MCEVAL_TEXT = ("task_id", "prompt", "canonical_solution", "test", "entry_point", "signature", "docstring")
_MCEVAL_TEXT += ("instruction", "level")
_STDIN_TEXT = ("name", "prompt", "tests")
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
        return _texts(self, _EVALPLUS_TEXT, "https://github.com/evalplus/evalplus")

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, problem in enumerate(files.load(files.locate(self._name(), known_language("py")), "py")):
            assert isinstance(problem, EvalPlusProblem)
            inputs = {field: json.dumps(getattr(problem, field)) for field in ("base_input", "plus_input")}
            texts = {field: getattr(problem, field) for field in ("prompt", "entry_point", "canonical_solution")}
            example = {"task_id": problem.name, **texts, **inputs, "atol": repr(problem.atol), "index": index}
            yield index, example


class Mceval(_FromFile):
    """McEval's problems as published; a configuration for each language, such as `lua`."""

    name = "mceval"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 - as above
        tfds.core.BuilderConfig(name=name) for name in sorted(known_languages())
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return _texts(self, _MCEVAL_TEXT, "https://github.com/MCEVAL/McEval")

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        language = known_language(self._name())
        for index, problem in enumerate(files.load(files.locate(MCEVAL, language), language.suffix)):
            yield index, {**{field: str(problem.record.get(field) or "") for field in _MCEVAL_TEXT}, "index": index}


class _Stdin(_FromFile, skip_registration=True):
    """Statements and tests of standard input, which are the same in every language; tests as JSON text."""

    VERSION = tfds.core.Version("1.0.0")
    benchmark = ""
    homepage = ""

    def _info(self) -> tfds.core.DatasetInfo:
        return _texts(self, _STDIN_TEXT, self.homepage)

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, problem in enumerate(files.load(files.locate(self.benchmark, known_language("py")), "py")):
            assert isinstance(problem, StdinProblem)
            tests = [{"input": text, "output": output} for text, output in problem.pairs]
            texts = {"name": problem.name, "prompt": problem.prompt, "tests": json.dumps(tests)}
            yield index, {**texts, "index": index}


class AgLcbX(_Stdin):
    """Ag-LiveCodeBench-X."""

    name = "ag_lcb_x"
    benchmark = AG_LCB_X
    homepage = "https://huggingface.co/datasets/nuprl/Ag-LiveCodeBench-X"


class MultiLcb(_Stdin):
    """Multi-LCB, or LiveCodeBench's problems that read standard input."""

    name = "multi_lcb"
    benchmark = MULTI_LCB
    homepage = "https://github.com/Multi-LCB/Multi-LCB"


def _texts(builder: _FromFile, names: tuple[str, ...], homepage: str) -> tfds.core.DatasetInfo:
    features = {**{name: tfds.features.Text() for name in names}, "index": tfds.features.Scalar(np.int64)}
    return tfds.core.DatasetInfo(builder=builder, features=tfds.features.FeaturesDict(features), homepage=homepage)
