import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from azr_jax.model import weights
from azr_jax.model.transformer import abstract

from .tiny import QWEN, merged, rows, write_torch

UNTIED = dataclasses.replace(QWEN, tie_embeddings=False)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """An untied bfloat16 model in one file, as transformers writes it."""
    path = tmp_path_factory.mktemp("hf")
    write_torch(UNTIED, path / "f32")
    model = transformers.AutoModelForCausalLM.from_pretrained(path / "f32", dtype=torch.bfloat16)
    model.save_pretrained(path / "bf16")
    return path / "bf16"


def _tensors(path):
    return {name: tensor for file in sorted(path.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def _same_bytes(first, second):
    first, second = _tensors(first), _tensors(second)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert (tensor.dtype, tensor.shape) == (second[name].dtype, second[name].shape), name
        assert tensor.tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_load_then_save_gives_the_same_bytes(directory, tmp_path, dtype):
    config, params = weights.load(directory, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    weights.save(tmp_path / "out", config, params, dtype=jnp.bfloat16)
    _same_bytes(directory, tmp_path / "out")
    modes = {file.stat().st_mode for file in (tmp_path / "out").iterdir()}
    assert len(modes) == 1, "who may read the folder may read all of it"


def test_sharded_export_is_read_back_and_by_transformers(directory, tmp_path):
    config, params = weights.load(directory, dtype=jnp.bfloat16)
    weights.save(tmp_path / "out", config, params, shard_bytes=20_000)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    assert not (tmp_path / "out" / "model.safetensors").exists()
    _same_bytes(directory, tmp_path / "out")
    reloaded_config, reloaded = weights.load(tmp_path / "out", dtype=jnp.bfloat16)
    assert reloaded_config == config
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), params, reloaded))
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert model.dtype == torch.bfloat16
    for name, tensor in model.state_dict().items():
        assert np.array_equal(tensor.float().numpy(), _tensors(directory)[name].astype(np.float32)), name


@pytest.mark.slow
def test_random_initial_weights_run_in_transformers(tmp_path):
    params = weights.init(QWEN, seed=3)
    weights.save(tmp_path / "out", QWEN, params)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    graphdef, _ = abstract(QWEN, compute_dtype=jnp.float32)
    tokens_BT, positions_BT, segments_BT = rows(QWEN, 1, 9)
    transformer = merged(graphdef, params)
    logits_BTV = transformer.logits(transformer.hidden(tokens_BT, positions_BT, segments_BT))
    with torch.no_grad():
        expected_BTV = model(torch.tensor(np.asarray(tokens_BT), dtype=torch.long)).logits.numpy()
    np.testing.assert_allclose(logits_BTV, expected_BTV, atol=1e-4)
    assert not jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), params, weights.init(QWEN, seed=4)))


def test_end_tokens_of_generation_config_are_added(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "m")
    (tmp_path / "m" / "generation_config.json").write_text('{"eos_token_id": [7, 3]}')
    assert weights.load_config(tmp_path / "m").eos_ids == (3, 7)


def test_a_model_that_is_not_supported_is_named_by_its_folder(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match=f"{tmp_path}: config.json: model_type is 'gpt2', which is not supported"):
        weights.load_config(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(ValueError, match=f"{tmp_path}: generation_config.json: eos_token_id is '</s>'"):
        weights.load_config(tmp_path)


NORM = "model.layers.1.input_layernorm.weight"
INDEX = "model.safetensors.index.json"


def _bytes(path, change):
    file = path / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))


def _change_tensors(path, remove=(), **add):
    file = path / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if name not in remove}
    save_file(tensors | add, file)


def _index(path, weight_map):
    (path / INDEX).write_text(json.dumps({"weight_map": weight_map(load_file(path / "model.safetensors"))}))


def _tie(path):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))


EXTRA = {"model.layers.9.mlp.up_proj.weight": np.zeros((48, 32), np.float32)}
BREAKS = {
    "truncated": (lambda path: _bytes(path, lambda raw: raw[: len(raw) // 2]), ["truncated", "download"]),
    "garbage": (lambda path: _bytes(path, lambda raw: b"not this format" * 10), ["corrupt", "download"]),
    "empty": (lambda path: _bytes(path, lambda raw: b""), ["model.safetensors", "corrupt", "download"]),
    "missing tensor": (lambda path: _change_tensors(path, remove=[NORM]), [NORM, "in no file", "download"]),
    "wrong shape": (
        lambda path: _change_tensors(path, **{NORM: np.zeros(31, np.float32)}),
        ["model.safetensors", NORM, "(31,)", "(32,)", "config.json"],
    ),
    "wrong type": (lambda path: _change_tensors(path, **{NORM: np.zeros(32, np.int8)}), [NORM, "I8", "unquantised"]),
    "unknown tensor": (lambda path: _change_tensors(path, **EXTRA), [*EXTRA, "unknown", "config.json"]),
    "head not in file": (
        lambda path: _change_tensors(path, remove=["lm_head.weight"]),
        ["lm_head.weight", "tie_word_embeddings"],
    ),
    "head differs": (_tie, ["lm_head.weight", "tie_word_embeddings"]),
    "config not JSON": (lambda path: (path / "config.json").write_text("{"), ["config.json", "not JSON"]),
    "index names a missing file": (
        lambda path: _index(path, lambda tensors: dict.fromkeys(tensors, "model-00001-of-00002.safetensors")),
        ["model-00001-of-00002.safetensors", "missing", "download"],
    ),
    "index names an absent tensor": (
        lambda path: _index(path, lambda tensors: dict.fromkeys([*tensors, "model.extra"], "model.safetensors")),
        ["model.extra", "absent", "download"],
    ),
    "index not JSON": (lambda path: (path / INDEX).write_text("[1]"), [INDEX, "weight_map", "download"]),
}


@pytest.mark.parametrize(("change", "words"), BREAKS.values(), ids=BREAKS.keys())
def test_bad_files_name_file_tensor_and_fix(directory, tmp_path, change, words):
    path = tmp_path / "model"
    shutil.copytree(directory, path)
    change(path)
    with pytest.raises(ValueError) as error:
        weights.load(path)
    for word in words:
        assert word in str(error.value)


def test_a_stored_copy_of_a_tied_head_and_old_buffers_are_accepted(tmp_path):
    write_torch(QWEN, tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    extra = {
        "lm_head.weight": tensors["model.embed_tokens.weight"],
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(4, np.float32),
    }
    _, expected = weights.load(tmp_path)
    save_file(tensors | extra, file)
    _, params = weights.load(tmp_path)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), params, expected))


@pytest.mark.parametrize("present", [(), ("config.json",)])
def test_missing_weights_say_what_to_download(directory, tmp_path, present):
    for name in present:
        shutil.copyfile(directory / name, tmp_path / name)
    with pytest.raises(FileNotFoundError) as error:
        weights.load(tmp_path)
    assert f"hf download OWNER/{tmp_path.name} --local-dir {tmp_path}" in str(error.value)


def test_save_replaces_an_export_and_nothing_else(directory, tmp_path):
    config, params = weights.load(directory)
    weights.save(tmp_path / "out", config, params, shard_bytes=20_000)
    weights.save(tmp_path / "out", config, params)
    assert [file.name for file in (tmp_path / "out").glob("*.safetensors*")] == ["model.safetensors"]
    (tmp_path / "link").symlink_to(tmp_path / "out")
    weights.save(tmp_path / "link", config, params, shard_bytes=20_000)
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "out" / "model.safetensors").exists()
    assert not list(tmp_path.glob(".*.partial"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes holds something that is no model"):
        weights.save(tmp_path / "notes", config, params)
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
    # A run's workdir has a config.json as well.
    (tmp_path / "run" / "checkpoints" / "64").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="run holds checkpoints, which is no part of an export"):
        weights.save(tmp_path / "run", config, params)
    assert (tmp_path / "run" / "checkpoints" / "64").is_dir()
    with pytest.raises(ValueError, match="remote"):
        weights.save("gs://bucket/model", config, params)
    with pytest.raises(ValueError, match="also the tokenizer_source"):
        weights.save(directory, config, params, tokenizer_source=directory)
    with pytest.raises(ValueError, match=r"holds no tokenizer\.json"):
        weights.save(tmp_path / "third", config, params, tokenizer_source=tmp_path / "notes")
    with pytest.raises(ValueError, match="int8"):
        weights.save(tmp_path / "third", config, params, dtype=jnp.int8)
    assert not (tmp_path / "third").exists()
