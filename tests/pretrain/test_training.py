"""Packing and training of the embedded model, in small."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import transformers
from flax import nnx

from azr_jax.config import PretrainSettings, from_mapping
from azr_jax.evaluation.scoring import heldout
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.tokenizer import load_tokenizer
from azr_jax.model.transformer import Transformer
from azr_jax.pretrain import train, vocabulary
from azr_jax.pretrain.initialisation import copying_weights
from azr_jax.selfplay import prompts
from azr_jax.selfplay.parsing import Form, parse
from azr_jax.types import Answer, Role
from configs import tiny
from executors import LANGUAGES


def settings(**changes) -> PretrainSettings:
    config = tiny.get_config()
    config.pretrain.update(changes)
    return from_mapping(config.to_dict()).pretrain


def test_packing_weights_what_predicts_the_response():
    rows = train.rows_of([([1, 2, 3], [4, 5]), ([6], [7, 8])], row_tokens=10, prompt_weight=0.25)
    np.testing.assert_array_equal(rows.tokens_RT, [[1, 2, 3, 4, 5, 6, 7, 8, 0, 0]])
    np.testing.assert_array_equal(rows.positions_RT, [[0, 1, 2, 3, 4, 0, 1, 2, 0, 0]])
    np.testing.assert_array_equal(rows.segment_ids_RT, [[1, 1, 1, 1, 1, 2, 2, 2, 0, 0]])
    np.testing.assert_array_equal(rows.weight_RT, [[0.25, 0.25, 1, 1, 0, 1, 1, 0, 0, 0]])


def test_a_document_longer_than_a_row_is_an_error():
    with pytest.raises(ValueError, match=r"raise pretrain\.row_tokens=4"):
        train.rows_of([([1, 2, 3], [4, 5])], row_tokens=4, prompt_weight=0.0)


@pytest.mark.ci
def test_training_learns_a_pattern():
    rng = np.random.default_rng(0)
    documents = [([start, start], [start + 1, start + 2, 1]) for start in rng.integers(2, 20, 6400)]
    config = ModelConfig(
        vocab_size=32, embed_dim=32, ffn_dim=64, layers=2, heads=2, kv_heads=2, head_dim=16, eos_ids=(1,)
    )
    chosen = settings(batch_rows=8, row_tokens=20, learning_rate=1e-2, prompt_weight=0.0)
    rows = train.rows_of(documents, chosen.row_tokens, chosen.prompt_weight)
    result = train.fit(config, chosen, [rows], rows, seed=0)
    assert result.heldback_loss < 0.5 < np.log(32)


def test_copying_documents_repeat_a_run():
    for prompt, response in train.copying_documents([5, 6, 7, 8], count=20, length=60, seed=0):
        whole, run = prompt + response, len(prompt)
        assert len(whole) == 60 and 3 <= run <= 40
        assert all(whole[at] == whole[at - run] for at in range(run, 60))


def test_starting_weights_copy_sooner_than_random_ones():
    config = ModelConfig(
        vocab_size=64, embed_dim=64, ffn_dim=64, layers=2, heads=2, kv_heads=2, head_dim=32, eos_ids=(1,)
    )
    tokens = np.resize(np.random.default_rng(0).permutation(np.arange(2, 26)), 48)[None]
    positions, segments = np.arange(48)[None], np.ones((1, 48), np.int32)

    def repetition_loss(graphdef, params):
        model = nnx.merge(graphdef, params)
        logits = model.logits(model.hidden(tokens, positions, segments))[0, 24:-1]
        return float(optax.softmax_cross_entropy_with_integer_labels(logits, tokens[0, 25:]).mean())

    plain = nnx.split(Transformer(config, rngs=nnx.Rngs(0), compute_dtype=jnp.float32))
    assert repetition_loss(*copying_weights(config, seed=0)) < repetition_loss(*plain)


def test_copying_weights_want_full_heads():
    config = ModelConfig(vocab_size=8, embed_dim=8, ffn_dim=8, layers=2, heads=2, kv_heads=1, head_dim=4)
    with pytest.raises(ValueError, match="kv_heads=1"):
        copying_weights(config, seed=0)


def test_the_tokenizer_is_read_alike_by_transformers_and_by_us(tmp_path):
    text = "(define (f x)\n  (+ x 12345))\n# Ünïcode λ 日本\r\n\tend </think>\n<answer>\n```output\n-42\n```"
    tokenizer = vocabulary.train([text] * 50 + vocabulary.general_text(), vocab_size=1000)
    vocabulary.save(tokenizer, tmp_path, max_positions=512)
    ours, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == text
    assert theirs.eos_token == "<|endoftext|>" and ours.eos_ids == {theirs.eos_token_id}


def test_a_vocabulary_larger_than_the_text_is_an_error():
    with pytest.raises(ValueError, match=r"pretrain\.vocab_size=5000"):
        vocabulary.train(["abc"] * 10, vocab_size=5000)


def test_the_record_of_the_shipped_model_is_of_the_present_settings():
    record = json.loads(open("azr_jax/embedded/pretrain.json", encoding="utf-8").read())
    present = json.loads(from_mapping(tiny.get_config().to_dict()).to_json())["pretrain"]
    del present["output"]
    assert record["settings"] == present


def test_the_shipped_model_is_an_ordinary_hugging_face_directory():
    directory = Path("azr_jax/embedded/azr-tiny")
    assert sum(file.stat().st_size for file in directory.iterdir()) <= 16 * 2**20
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    assert model.config.model_type == "qwen2"
    assert 1e6 <= model.num_parameters() <= 5e6
    assert 1000 <= len(tokenizer) <= model.config.vocab_size < 10_000
    kind, triplet = heldout.load("azr_jax/embedded/validation_python.jsonl")[0]
    prompt = tokenizer(prompts.solve(LANGUAGES["python"], kind, triplet, "brief"), return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=160, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    response = tokenizer.decode(written, skip_special_tokens=True)
    assert written[-1] == tokenizer.eos_token_id
    parsed = parse(Role.SOLVE, kind, response, Form("strict", ("python",), 6, 1024))
    assert isinstance(parsed, Answer), response


@pytest.mark.ci
def test_training_again_gives_the_same_weights():
    rng = np.random.default_rng(1)
    documents = [([start, start], [start + 1, 1]) for start in rng.integers(2, 20, 160)]
    config = ModelConfig(
        vocab_size=32, embed_dim=16, ffn_dim=16, layers=2, heads=2, kv_heads=2, head_dim=8, eos_ids=(1,)
    )
    chosen = settings(batch_rows=8, row_tokens=16)
    rows = train.rows_of(documents, chosen.row_tokens, chosen.prompt_weight)
    first, again = (train.fit(config, chosen, [rows], rows, seed=0) for _ in range(2))
    assert first.final_loss < np.log(32)
    for leaf, other in zip(jax.tree.leaves(first.params), jax.tree.leaves(again.params), strict=True):
        assert np.asarray(leaf).tobytes() == np.asarray(other).tobytes()
