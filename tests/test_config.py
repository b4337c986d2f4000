"""Settings: Table 3 in the language configs, and one clear error for each wrong value."""

import importlib
import json
import re
from pathlib import Path

import pytest

from azr_jax.config import differences, from_mapping, located
from configs import base

# Table 2's runs, of Racket alone.
TABLE_2 = {"racket_eq4": "eq4", "racket_switch": "switch"}
LANGUAGES = ("racket", "julia", "javascript", "python")


def resolved(**changes):
    mapping = base.get_config().to_dict()
    for key, value in changes.items():
        section = mapping
        *path, last = key.split("__")
        for part in path:
            section = section[part]
        section[last] = value
    return from_mapping(mapping)


@pytest.mark.parametrize("name", TABLE_2)
def test_table_2s_configs_are_table_1s_with_another_reward_and_fewer_steps(name):
    own, racket = (importlib.import_module(f"configs.{file}").get_config().to_dict() for file in (name, "racket"))
    changed = differences(racket, own)
    assert changed == [f"reward.proposer: 'eq3' -> {TABLE_2[name]!r}", "steps: 500 -> 256"]


def test_the_papers_configs_follow_the_public_code():
    config = from_mapping(importlib.import_module("configs.julia").get_config().to_dict())
    learner, selfplay = config.learner, config.selfplay
    assert (learner.estimator, learner.loss_aggregation) == ("trrpp_tokens", "microbatch")
    assert (learner.minibatches, learner.minibatch_count, learner.epochs) == ("task_type", 3, 1)
    assert learner.microbatch_responses == 16
    assert (learner.clip_epsilon, learner.clip_epsilon_high, learner.entropy_coef, learner.kl_coef) == (
        0.2,
        0,
        0.001,
        0,
    )
    assert (learner.beta1, learner.beta2, learner.weight_decay, learner.decay) == (0.9, 0.999, 0.01, "all")
    assert (learner.importance_cap, learner.lr_schedule, learner.warmup_steps) == (0.0, "constant", 0)
    assert (selfplay.buffers, selfplay.duplicates, selfplay.shuffle_new) == ("apart", "allow", True)
    assert selfplay.solver_tasks == "before"
    assert (config.executor.wall_s, config.executor.cpu_s) == (10.0, 10.0)
    # Fig. 2: every 64 steps a score and a save that is kept.
    assert config.evaluation.every == config.checkpoint.keep_every == 64 == 4 * config.checkpoint.every
    assert config.evaluation.benchmarks == ("humaneval", "mbpp") and config.evaluation.benchmark_missing == "skip"


@pytest.mark.parametrize("language", LANGUAGES)
def test_language_configs_carry_table_3(language):
    config = from_mapping(importlib.import_module(f"configs.{language}").get_config().to_dict())
    assert config.languages == (language,)
    assert config.steps == 500
    assert (config.selfplay.seed_triplets, config.selfplay.seed_problems) == (256, 256)
    assert (config.sampler.temperature, config.sampler.eval_temperature) == (1.0, 0.0)
    assert (config.sampler.max_prompt_tokens, config.sampler.max_response_tokens) == (6144, 8096)
    assert config.selfplay.buffer_capacity == 16384
    assert config.selfplay.batch_per_task == 64
    assert (config.learner.lr, config.learner.gradient_clip) == (1e-6, 1.0)
    assert config.model.path.endswith("Qwen2.5-Coder-3B")
    assert (config.selfplay.references, config.selfplay.estimate_samples, config.selfplay.induction_inputs) == (
        6,
        8,
        10,
    )
    assert (config.reward.proposer, config.reward.switch_step, config.reward.lambda_solve) == ("eq3", 64, 1.0)
    assert config.evaluation.every == 64


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("steps", "8", ("steps", "'8'", "int")),
        ("steps", -1, ("steps", "-1", "at least 0")),
        ("steps", True, ("steps", "True", "int")),
        ("learner__estimator", "ppo", ("learner.estimator", "'ppo'", "trrpp")),
        ("reward__proposer", "eq5", ("reward.proposer", "'eq5'", "eq3")),
        ("languages", 3, ("languages", "3", "tuple")),
        ("languages", (), ("languages", "at least one")),
        ("languages", ("racket", "julia"), ("language_weights", "one positive weight")),
        ("language_weights", (0.0,), ("language_weights=(0.0,)", "such as 1.0")),
        ("selfplay__induction_shown", 10, ("selfplay.induction_shown", "10", "below")),
        ("selfplay__buffer_capacity", 100, ("selfplay.seed_triplets=256", "hold 100", "selfplay.buffer_capacity=100")),
        ("selfplay__seed_problems", 16385, ("selfplay.seed_problems=16385", "hold 16384", "lower it")),
        ("learner__row_tokens", 4096, ("learner.row_tokens", "4096", "14240")),
        ("pretrain__heads", 0, ("pretrain.heads=0", "at least 1")),
        ("pretrain__heads", 3, ("pretrain.embed_dim=128", "multiple of 2 * pretrain.heads = 6")),
        ("pretrain__programs", (5,), ("pretrain.programs=(5,)", "'racket', 'julia', 'javascript', 'python'")),
        ("pretrain__clean_share", 1.5, ("pretrain.clean_share=1.5", "at most 1")),
        ("sampler__top_p", 0.0, ("sampler.top_p", "0.0", "above 0")),
        ("sampler__prefill_tokens", 64, ("sampler.prefill_tokens", "64", "6144")),
        ("sampler__draft_rows", -1, ("sampler.draft_rows", "-1", "at least 0")),
        ("sampler__draft_tokens", 0, ("sampler.draft_tokens", "0", "at least 1")),
        ("mesh__tensor", -1, ("mesh", "-1", "only one")),
        ("selfplay__train_on_estimates", 1, ("selfplay.train_on_estimates", "1", "bool")),
        ("seed", -1, ("seed", "-1", "at least 0")),
        ("seed", 2**32, ("seed", "4294967296", "below")),
        ("language_weights", (float("inf"),), ("language_weights", "inf", "finite")),
        ("language_weights", (float("nan"),), ("language_weights", "nan", "finite")),
        ("learner__lr", float("inf"), ("learner.lr", "inf", "finite")),
        ("learner__weight_decay", float("nan"), ("learner.weight_decay", "nan", "finite")),
        ("learner__beta1", 1.0, ("learner.beta1", "1.0", "below 1")),
        ("learner__beta2", -0.1, ("learner.beta2", "-0.1", "at least 0")),
        ("learner__epsilon", 0.0, ("learner.epsilon", "0.0", "at least")),
        ("learner__gamma", 1.5, ("learner.gamma", "1.5", "at most 1")),
        ("learner__estimator", "grpo", ("learner.estimator", "grpo", "train_on_estimates", "trrpp")),
        ("learner__estimator", "dr_grpo", ("learner.estimator", "dr_grpo", "train_on_estimates", "trrpp")),
        ("learner__minibatches", "none", ("learner.minibatches", "none", "task_type", "'4'")),
        ("learner__minibatches", "0", ("learner.minibatches", "'0'", "task_type")),
        ("pipeline__lag", 2, ("pipeline.lag=2", "0, 1")),
        ("pipeline__early_share", 0.0, ("pipeline.early_share=0.0", "above 0")),
        ("learner__dual_clip", 1.0, ("learner.dual_clip", "1.0", "above 1")),
        ("learner__lr_schedule", "cosine", ("learner.lr_decay_steps=0", "cosine", "above")),
        ("learner__lr_end", 1.5, ("learner.lr_end", "1.5", "at most 1")),
        ("learner__kl_estimator", "k4", ("learner.kl_estimator", "k4", "k3+")),
        ("selfplay__band_low", 1.0, ("selfplay.band_high=1.0", "selfplay.band_low=1.0", "above")),
        ("selfplay__band_high", 0.0, ("selfplay.band_high=0.0", "selfplay.band_low=0.0", "above")),
        ("selfplay__composite_share", 1.5, ("selfplay.composite_share=1.5", "at most 1")),
        ("selfplay__composite_from", 9, ("selfplay.composite_to=0", "selfplay.composite_from=9", "at least")),
        ("reward__linear_to", 9, ("reward.linear_to=9", "above reward.linear_from=32")),
        ("reward__adaptive_high", 0.2, ("reward.adaptive_high=0.2", "above reward.adaptive_low=0.3")),
        ("reward__graded_runtime", -0.95, ("graded_runtime=-0.95", "must ascend")),
        ("selfplay__redraws", -1, ("selfplay.redraws", "-1", "at least 0")),
        ("sampler__chunk", 10**12, ("sampler.chunk=1000000000000", "at most 16384")),
        ("executor__workers", 5000, ("executor.workers=5000", "at most 4096")),
        ("selfplay__batch_per_task", 2**24 + 1, ("selfplay.batch_per_task=16777217", "at most 16777216")),
        ("learner__row_tokens", 10**15, ("learner.row_tokens=1000000000000000", "at most 16777216")),
        ("evaluation__pass_at_k", (1, 10**12), ("evaluation.pass_at_k=1000000000000", "at most 16777216")),
        ("pretrain__programs", (10**15, 1, 1, 1), ("pretrain.programs=1000000000000000", "at most")),
        ("learner__minibatches", "385", ("learner.minibatches='385'", "at most 384 responses", "'4'")),
        ("learner__minibatches", "9" * 5000, ("learner.minibatches='999", "task_type")),
        ("selfplay__constant_programs", "0", ("selfplay.constant_programs", "'0'", "allow, -1")),
        ("selfplay__duplicates", "drop", ("selfplay.duplicates", "drop", "allow, -1, 0")),
    ],
)
def test_a_wrong_value_is_an_error_with_key_value_and_fix(key, value, words):
    with pytest.raises(ValueError) as error:
        resolved(**{key: value})
    for word in words:
        assert word in str(error.value)


def test_comparing_by_behaviour_needs_probe_inputs():
    changes = {"reward__novelty": 0.5, "reward__novelty_by": "behaviour"}
    with pytest.raises(ValueError, match=r"selfplay.probes=0: reward.novelty_by='behaviour'.*such as 8"):
        resolved(**changes)
    assert resolved(**changes, selfplay__probes=8).selfplay.probes == 8
    with pytest.raises(ValueError, match=r"selfplay.probes=0: selfplay.constant_programs='-1'.*such as 8"):
        resolved(selfplay__constant_programs="-1")
    assert resolved(selfplay__constant_programs="-1", selfplay__probes=8).selfplay.probes == 8
    with pytest.raises(
        ValueError, match=r"selfplay.probes=16384: .*'-1'.* selfplay.buffer_capacity=16384 is not above"
    ):
        resolved(selfplay__constant_programs="-1", selfplay__probes=16384)


def test_a_language_named_twice_is_refused():
    """Its tasks would have the same ids twice, and wait for each other's answers."""
    with pytest.raises(ValueError, match=r"languages=\('racket', 'racket'\): name each language once"):
        resolved(languages=("racket", "racket"), language_weights=(1.0, 1.0))


def test_grpo_needs_several_responses_a_prompt():
    assert resolved(learner__estimator="grpo", selfplay__train_on_estimates=True).learner.estimator == "grpo"
    with pytest.raises(ValueError, match="estimate_samples above 1"):
        resolved(learner__estimator="grpo", selfplay__train_on_estimates=True, selfplay__estimate_samples=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"learner__importance": "token_mask", "learner__importance_cap": 0.0},
            "learner.importance_cap=0.0: turns off what learner.importance='token_mask' asks for",
        ),
        (
            {"learner__importance": "token_mask", "learner__importance_low": 3.0},
            "learner.importance_low=3.0: must be at most 1",
        ),
        ({"learner__importance_cap": 0.5}, "learner.importance_cap=0.5: must be at least 1"),
        (
            {"learner__kl_in": "reward", "learner__kl_coef": 0.1, "learner__ratio": "sequence"},
            "learner.kl_in='reward': gives each token an advantage",
        ),
        ({"pipeline__lag": 1, "learner__importance_cap": 0.0}, "pipeline.lag=1: tokens of the policy before"),
        (
            {"sampler__draft_rows": 8, "sampler__draft_tokens": 32},
            "sampler.draft_tokens=32: must be below sampler.chunk=32",
        ),
        (
            {"learner__policy_loss": "cispo", "learner__dual_clip": 3.0},
            "learner.dual_clip=3.0: needs policy_loss='ppo'",
        ),
        (
            {"learner__kl_in": "reward", "learner__kl_coef": 0.1, "learner__recompute_old_logprobs": False},
            "learner.kl_in='reward': needs the old policy's logprobs",
        ),
        (
            {"learner__estimator": "grpo", "selfplay__train_on_estimates": True, "reward__lambda_solve": 0.0},
            "reward.lambda_solve=0.0: learner.estimator='grpo' learns from solvers alone",
        ),
        (
            {"selfplay__redraws": 2, "selfplay__estimate_samples": 1},
            "selfplay.redraws=2: with selfplay.estimate_samples=1",
        ),
        (
            {"selfplay__band_low": 0.8, "selfplay__band_high": 0.3},
            "selfplay.band_high=0.3: must be above selfplay.band_low=0.8 and at most 1",
        ),
        (
            {"reward__overlong": "penalty", "reward__overlong_tokens": 9000},
            "reward.overlong_tokens=9000: must be below sampler.max_response_tokens=8096",
        ),
    ],
)
def test_combinations_that_cannot_work_are_one_message(changes, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        resolved(**changes)


def test_a_ratio_of_responses_has_no_advantages_of_tokens():
    with pytest.raises(ValueError, match=r"learner.ratio='sequence'.*not with 'gae'"):
        resolved(learner__ratio="sequence", learner__estimator="gae")


def test_estimates_give_more_minibatches_their_responses():
    changes = {"selfplay__batch_per_task": 2, "selfplay__estimate_samples": 3, "learner__minibatches": "30"}
    assert resolved(selfplay__train_on_estimates=True, **changes).learner.minibatch_count == 30
    with pytest.raises(ValueError, match=r"learner.minibatches='30': a step has at most 12 responses"):
        resolved(**changes)


def test_greedy_samples_are_no_training_data():
    with pytest.raises(ValueError, match=r"sampler.temperature=0.0: greedy samples have no distribution"):
        resolved(sampler__temperature=0.0)


def test_unknown_and_missing_keys_are_named():
    mapping = base.get_config().to_dict()
    with pytest.raises(ValueError, match=r"unknown config key learner\.learn: use one of"):
        from_mapping({**mapping, "learner": {**mapping["learner"], "learn": 1}})
    del mapping["seed"]
    with pytest.raises(ValueError, match="config key seed is missing"):
        from_mapping(mapping)


def test_the_config_refuses_new_keys():
    with pytest.raises((AttributeError, KeyError)):
        base.get_config().no_such_key = 1


def test_differences_name_every_changed_setting():
    old = json.loads(resolved().to_json())
    new = json.loads(resolved(learner__lr=2e-6, steps=8).to_json())
    assert differences(old, new) == ["learner.lr: 1e-06 -> 2e-06", "steps: 500 -> 8"]
    assert differences(old, old) == []


def test_train_on_estimates_needs_the_training_temperature():
    with pytest.raises(ValueError, match="estimate_temperature"):
        resolved(selfplay__train_on_estimates=True, selfplay__estimate_temperature=0.5)


def test_the_projects_own_files_are_found_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = importlib.import_module("configs.tiny").get_config()
    for path in (config.model.path, config.evaluation.heldout):
        assert not Path(path).exists() and Path(located(path)).exists()
    assert located("weights/Qwen2.5-Coder-3B") == "weights/Qwen2.5-Coder-3B"
    assert located("azr_jax/nothing") == "azr_jax/nothing"
    Path(config.model.path).mkdir(parents=True)
    assert located(config.model.path) == config.model.path


@pytest.mark.parametrize("value", ["racket,julia", ("racket,julia",), ("racket", "julia"), ["racket", "julia"]])
def test_names_are_told_apart_by_commas(value):
    assert resolved(languages=value, language_weights=(1.0, 1.0)).languages == ("racket", "julia")


def test_weights_of_languages_whose_sum_is_no_number_are_refused():
    with pytest.raises(ValueError, match=r"language_weights=\(1e\+308, 1e\+308\): give one positive weight"):
        resolved(languages=("racket", "julia"), language_weights=(1e308, 1e308))
