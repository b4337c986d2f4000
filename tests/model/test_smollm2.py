"""A real pretrained model, SmolLM2-135M-Instruct: the same numbers and texts as transformers on real prompts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from conftest import REPOSITORY, smollm2_environment
from flax import nnx

from azr_jax.config import SamplerSettings
from azr_jax.model import weights
from azr_jax.model.sizes import PUBLISHED
from azr_jax.model.tokenizer import load_tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.sampler import programs
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request
from configs import base

pytestmark = pytest.mark.ci
QUESTION = "Write a Racket function (f xs) that returns the sum of the squares of the numbers in the list xs."
# As the three prompt modes of evaluation: the model's own chat template, Listing 1, the start of a program.
PROMPTS = {
    "chat template": QUESTION,
    "Listing 1": (
        "# Task: You will be given a question (problem specification) and will generate a correct Racket program that"
        f" matches the specification and passes all tests.\nQuestion: {QUESTION}\n\nAssistant: <think>"
    ),
    "completion": "#lang racket\n;; The sum of the squares of the numbers in xs.\n(define (f xs)\n",
}


@pytest.fixture(scope="module", autouse=True)
def compiled_as_for_users():
    """Thousands of positions of a real model run for longer than they compile (see QUICK_COMPILE)."""
    options = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "compiler_options", lambda mesh: options)
        yield


@pytest.fixture(scope="module")
def reference(smollm2_directory):
    return transformers.AutoModelForCausalLM.from_pretrained(smollm2_directory, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def model(smollm2_directory):
    """(config, graphdef, params, tokenizer) in float32."""
    config, params = weights.load(smollm2_directory)
    graphdef, _ = abstract(config, compute_dtype=jnp.float32, remat="none")
    return config, graphdef, params, load_tokenizer(smollm2_directory, config)


def _sampler(model, prompt_tokens: int, response_tokens: int, slots: int = 4) -> Sampler:
    config, graphdef, _, tokenizer = model
    settings = SamplerSettings(
        **base.get_config().sampler.to_dict()
        | {
            "max_prompt_tokens": prompt_tokens,
            "max_response_tokens": response_tokens,
            "prefill_tokens": prompt_tokens,
            "slots": slots,
            "chunk": 16,
        }
    )
    return Sampler(graphdef, config, tokenizer, settings, None, jnp.float32)


def _ids(tokenizer, name: str) -> tuple[int, ...]:
    prompt = PROMPTS[name]
    return tuple(tokenizer.encode_chat(prompt) if name == "chat template" else tokenizer.encode_prompt(prompt))


def test_its_sizes_are_those_known_by_name(model):
    config, _, _, tokenizer = model
    known = PUBLISHED["SmolLM2-135M"]
    assert config.rms_epsilon == pytest.approx(known.rms_epsilon)  # a float32 in the file
    own = {name: getattr(config, name) for name in ("bos_id", "eos_ids", "rms_epsilon")}
    assert config == dataclasses.replace(known, **own)
    assert tokenizer.eos_ids == {tokenizer.backend.token_to_id("<|im_end|>")}


@pytest.mark.parametrize("name", PROMPTS)
def test_logits_and_greedy_text_are_those_of_transformers(model, reference, name):
    _, graphdef, params, tokenizer = model
    ids = _ids(tokenizer, name)
    transformer = nnx.merge(graphdef, params)
    positions_1T = jnp.arange(len(ids), dtype=jnp.int32)[None]
    logits_1TV = transformer.logits(transformer.hidden(jnp.asarray([ids]), positions_1T, jnp.ones_like(positions_1T)))
    with torch.no_grad():
        expected_1TV = reference(torch.tensor([ids])).logits.numpy()
        greedy = reference.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=48, do_sample=False
        )[0, len(ids) :].tolist()
    np.testing.assert_allclose(logits_1TV, expected_1TV, atol=1e-3)
    request = Request("greedy", ids, 48, 0.0)
    (rollout,) = _sampler(model, 192, 48).generate(params, [request], seed=0)
    assert list(rollout.token_ids) == greedy
    assert len(rollout.text) > 20


@pytest.mark.parametrize("length", [6016, 7968])
def test_logprobs_of_sampled_tokens_at_positions_6000_to_8000_are_those_of_transformers(model, reference, length):
    _, _, params, tokenizer = model
    text = "\n".join(f"{PROMPTS['completion']}  (apply + (map (lambda (x) (* x x {n})) xs)))" for n in range(400))
    ids = tuple(tokenizer.encode_prompt(text)[:length])
    assert len(ids) == length
    (rollout,) = _sampler(model, length, 24, slots=1).generate(params, [Request("sampled", ids, 24, 1.0)], seed=3)
    whole, count = torch.tensor([[*ids, *rollout.token_ids]]), len(rollout.token_ids)
    with torch.no_grad():
        hidden = reference.model(whole).last_hidden_state[:, -count - 1 : -1]
        logprobs = torch.log_softmax(reference.lm_head(hidden), dim=-1)[0]
    expected = logprobs[torch.arange(count), whole[0, -count:]].numpy()
    assert count > 4 and np.std(expected) > 0.01
    np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-3)


def test_an_export_is_the_same_model_in_transformers(model, reference, smollm2_directory, tmp_path):
    config, _, params, tokenizer = model
    weights.save(tmp_path / "export", config, params, tokenizer_source=smollm2_directory)
    exported = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32)
    state = exported.state_dict()
    for name, weight in reference.state_dict().items():
        assert torch.equal(weight, state[name]), name
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "export")
    message = [{"role": "user", "content": QUESTION}]
    expected = theirs.apply_chat_template(message, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert tokenizer.encode_chat(QUESTION) == expected
    _, reloaded = weights.load(tmp_path / "export")
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), params, reloaded))


def test_eight_devices_write_what_one_writes(model, smollm2_directory, tmp_path):
    """The weights over all eight, greedily, on the three kinds of prompt."""
    _, _, params, tokenizer = model
    requests = [Request(name, _ids(tokenizer, name), 24, 0.0) for name in PROMPTS]
    sampler = _sampler(model, 192, 24)
    expected = {rollout.request_id: rollout.text for rollout in sampler.generate(params, requests, seed=0)}
    program = Path(__file__).with_name("eight_devices_greedy.py")
    ids = {request.id: list(request.prompt_ids) for request in requests}
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    command = [
        sys.executable,
        str(program),
        str(smollm2_directory),
        str(tmp_path / "ids.json"),
        str(tmp_path / "texts.json"),
    ]
    done = subprocess.run(
        command, env=smollm2_environment(8), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "texts.json").read_text()) == expected
