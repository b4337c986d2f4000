"""The one assembly: what a run, an evaluation and a plan build is the same model."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from conftest import REPOSITORY, small_config

from azr_jax.engine import describe_engine, open_directory, open_engine
from azr_jax.model.sizes import PUBLISHED

MODEL = REPOSITORY / "azr_jax/embedded/azr-tiny"


def test_a_run_and_an_evaluation_build_the_same_model():
    config = small_config()
    run, evaluation = open_engine(config), open_directory(str(MODEL), "float32")
    assert run.model_config == evaluation.model_config
    assert run.shapes == evaluation.shapes
    assert run.tokenizer.eos_ids == evaluation.tokenizer.eos_ids
    loaded, again = run.load_params(), evaluation.load_params()
    assert jax.tree.map(lambda leaf: leaf.sharding, loaded) == run.shardings
    for left, right in zip(jax.tree.leaves(loaded), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(left, right)
    assert run.learner(config).abstract_state.params == run.shapes
    assert run.sampler(config.sampler).mesh == run.mesh


def test_sizes_alone_need_no_files():
    config = small_config(model__path="nowhere")
    model_config = PUBLISHED["Qwen2.5-Coder-3B"]
    engine = describe_engine(config, model_config, jax.devices()[:1])
    assert engine.source == "" and engine.tokenizer.vocab_size == model_config.vocab_size
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(engine.shapes))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_engine(config)
