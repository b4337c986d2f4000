"""What an evaluation opens: a run, one save of it and its export are the same model, by the same command."""

import jax
import numpy as np
import pytest

from azr_jax.checkpoint.export import export
from azr_jax.checkpoint.saves import Manager
from azr_jax.evaluation.scoring.model import open_model
from azr_jax.workdir.files import CONFIG_FILE


@pytest.mark.ci
def test_a_run_one_save_of_it_and_its_export_are_the_same_model(opened, tmp_path):
    workdir = tmp_path / "a run"
    state = opened.learner.init(opened.engine.load_params())
    with Manager(workdir, keep=2) as saves:
        saves.save(3, state, {})
    (workdir / CONFIG_FILE).write_text(opened.config.to_json())
    exported = tmp_path / "an export"
    assert export(str(workdir), exported) == 3
    paths = (str(workdir), str(workdir / "checkpoints" / "3"), str(exported))
    models = [open_model(path, None, "", "float32") for path in paths]
    assert [model.identity["step"] for model in models] == [3, 3, None]
    assert [model.identity["path"] for model in models] == [str(workdir), str(workdir), str(exported)]
    assert len({model.identity["digest"] for model in models}) == 1
    prompt = models[0].engine.tokenizer.encode_prompt("f(x) = ")
    assert all(list(model.engine.tokenizer.encode_prompt("f(x) = ")) == list(prompt) for model in models)
    assert {leaf.dtype for leaf in jax.tree.leaves(models[0].params)} == {np.dtype("float32")}
    with pytest.raises(ValueError, match="step 4"):
        open_model(str(workdir), 4, "", "float32")
