"""Checks a run's settings: choices, ranges and combinations; every wrong value is a ValueError with the fix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azr_jax.config import (
        Config,
        EvaluationSettings,
        LearnerSettings,
        PretrainSettings,
        RewardSettings,
        SamplerSettings,
    )

CHOICES = {
    "model.compute_dtype": ("bfloat16", "float32"),
    "model.remat": ("auto", "full", "attention", "gate", "dots", "none"),
    "model.attention": ("auto", "xla", "cudnn", "splash"),
    "model.chat_template": ("none", "model"),
    "mesh.resting_state": ("auto", "device", "host"),
    "selfplay.entry_functions": ("any", "one"),
    "selfplay.buffers": ("shared", "apart"),
    "selfplay.solver_tasks": ("before", "after"),
    "selfplay.duplicates": ("allow", "-1", "0"),
    "selfplay.constant_programs": ("allow", "-1"),
    "selfplay.format": ("azr", "strict"),
    "selfplay.program_tags": ("own", "any"),
    "selfplay.prompt_template": ("paper", "brief"),
    "problems.reward": ("all", "share"),
    "pipeline.lag": (0, 1),
    "reward.proposer": ("eq3", "eq4", "switch", "linear", "adaptive", "learnability", "uncertainty"),
    "reward.solver": ("plain", "graded", "graded_shift"),
    "reward.novelty_by": ("tokens", "bleu", "behaviour"),
    "reward.overlong": ("keep", "mask", "penalty"),
    "learner.estimator": ("trrpp", "trrpp_tokens", "role", "gae", "grpo", "dr_grpo", "rloo"),
    "learner.lr_schedule": ("constant", "linear", "cosine"),
    "learner.decay": ("matrices", "all"),
    "learner.moment_dtype": ("float32", "bfloat16"),
    "learner.policy_loss": ("ppo", "cispo"),
    "learner.ratio": ("token", "sequence"),
    "learner.kl_estimator": ("k1", "k2", "k3", "k3+"),
    "learner.kl_in": ("loss", "reward"),
    "learner.importance": ("truncate", "token_mask", "sequence_mask"),
    "learner.loss_aggregation": ("token", "sequence", "task", "microbatch", "constant"),
    "executor.allow_tier": ("namespaces", "landlock", "limits"),
    "evaluation.benchmark_prompt": ("chat", "completion", "instruct"),
    "evaluation.benchmark_missing": ("error", "skip"),
    "evaluation.benchmark_base_prompt": ("chat", "completion", "instruct", "none"),
}
AT_LEAST = {
    "seed": 0,
    "steps": 0,
    "selfplay.seed_triplets": 1,
    "selfplay.seed_problems": 0,
    "selfplay.seed_rounds": 1,
    "selfplay.references": 1,
    "selfplay.batch_per_task": 1,
    "selfplay.estimate_samples": 1,
    "selfplay.estimate_temperature": 0.0,
    "selfplay.redraws": 0,
    "selfplay.probes": 0,
    "selfplay.composite_share": 0.0,
    "selfplay.composite_from": 0,
    "selfplay.induction_inputs": 2,
    "selfplay.induction_shown": 1,
    "selfplay.buffer_capacity": 1,
    "selfplay.max_program_chars": 16,
    "selfplay.band_low": 0.0,
    "sampler.max_prompt_tokens": 16,
    "sampler.max_response_tokens": 1,
    "sampler.temperature": 0.0,
    "sampler.eval_temperature": 0.0,
    "sampler.top_k": 0,
    "sampler.slots": 0,
    "sampler.chunk": 1,
    "sampler.prefill_tokens": 16,
    "sampler.draft_rows": 0,
    "sampler.draft_tokens": 1,
    "reward.switch_step": 0,
    "reward.linear_from": 0,
    "reward.adaptive_low": 0.0,
    "reward.smoothing": 1e-6,
    "reward.graded_shift_share": 1e-6,
    "reward.lambda_solve": 0.0,
    "reward.overlong_tokens": 1,
    "reward.novelty": 0.0,
    "reward.novelty_recent": 0,
    "learner.lr": 0.0,
    "learner.lr_decay_steps": 0,
    "learner.lr_end": 0.0,
    "learner.warmup_steps": 0,
    "learner.beta1": 0.0,
    "learner.beta2": 0.0,
    "learner.epsilon": 1e-38,  # must not be 0 in float32: the moments of a weight without gradient are 0
    "learner.weight_decay": 0.0,
    "learner.gradient_clip": 1e-12,
    "learner.clip_epsilon": 1e-12,
    "learner.clip_epsilon_high": 0.0,
    "learner.dual_clip": 0.0,
    "learner.kl_coef": 0.0,
    "learner.gamma": 0.0,
    "learner.gae_lambda": 0.0,
    "learner.value_coef": 0.0,
    "learner.epochs": 1,
    "learner.microbatch_responses": 1,
    "learner.propose_every": 1,
    "learner.rows_per_microbatch": 0,
    "learner.logit_chunk": 1,
    "learner.importance_low": 0.0,
    "learner.importance_cap": 0.0,
    "learner.max_nonfinite_updates": 1,
    "executor.workers": 0,
    "executor.wall_s": 0.05,
    "executor.cpu_s": 0.05,
    "executor.memory_mib": 16,
    "executor.value_chars": 16,
    "executor.max_infrastructure_share": 0.0,
    "evaluation.every": 0,
    "evaluation.heldout_limit": 0,
    "evaluation.temperature_samples": 0,
    "evaluation.benchmark_limit": 0,
    "evaluation.pass_at_k_temperature": 0.0,
    "checkpoint.every": 1,
    "checkpoint.keep": 1,
    "checkpoint.keep_every": 0,
    "metrics.transcripts_per_step": 0,
    "monitoring.stall_s": 0.0,
    "monitoring.alert_mismatch_above": 0.0,
    "monitoring.alert_prob_error_above": 1.0,
    "pretrain.heldout": 1,
    "pretrain.vocab_size": 257,  # all bytes and an end token
    "pretrain.embed_dim": 2,
    "pretrain.ffn_dim": 1,
    "pretrain.layers": 1,
    "pretrain.heads": 1,
    "pretrain.row_tokens": 16,
    "pretrain.copying_steps": 0,
    "pretrain.clean_share": 0.0,
    "pretrain.batch_rows": 1,
    "pretrain.learning_rate": 0.0,
    "pretrain.prompt_weight": 0.0,
}
# Other counts and sizes: 2**24.
AT_MOST = {"sampler.chunk": 2**14, "executor.workers": 2**12}


def check(config: Config) -> None:
    """Raises ValueError for the first value out of range or impossible combination, with key, value and fix."""
    _check_ranges(config)
    _check_counts(config)
    _check_texts(config)
    _check_combinations(config)


def _lookup(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _integers(settings: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Every integer of the settings with its key, those in tuples too."""
    for field in dataclasses.fields(settings):
        key, value = f"{prefix}{field.name}", getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _integers(value, f"{key}.")
        else:
            entries = value if isinstance(value, tuple) else (value,)
            yield from ((key, entry) for entry in entries if isinstance(entry, int))


def _check_counts(config: Config) -> None:
    for key, value in _integers(config):
        if value > (most := AT_MOST.get(key, 2**24)) and key != "seed":
            raise ValueError(f"{key}={value!r}: must be at most {most}; no machine has room for more")


def _check_ranges(config: Config) -> None:
    for key, choices in CHOICES.items():
        if (value := _lookup(config, key)) not in choices:
            raise ValueError(f"{key}={value!r}: use one of {', '.join(map(str, choices))}")
    for key, least in AT_LEAST.items():
        if not (value := _lookup(config, key)) >= least:
            raise ValueError(f"{key}={value!r}: must be at least {least}")
    for key in ("learner.beta1", "learner.beta2"):
        if (value := _lookup(config, key)) >= 1.0:
            raise ValueError(f"{key}={value!r}: must be below 1, or the moments never move")
    for key in ("learner.gamma", "learner.gae_lambda", "pretrain.clean_share"):
        if (value := _lookup(config, key)) > 1.0:
            raise ValueError(f"{key}={value!r}: must be at most 1")
    if config.seed >= 2**32:
        raise ValueError(f"seed={config.seed}: must be below 2**32")
    if not 0.0 < config.sampler.top_p <= 1.0:
        raise ValueError(f"sampler.top_p={config.sampler.top_p!r}: must be above 0 and at most 1")


def _check_texts(config: Config) -> None:
    for key in ("sampler.stop", "model.masked_tokens"):
        if not all(value := _lookup(config, key)):
            raise ValueError(f"{key}={value!r}: holds an empty string; leave it out")


def _check_combinations(config: Config) -> None:
    if not config.languages:
        raise ValueError("languages=(): name at least one language, as in languages=('racket',)")
    if len(set(config.languages)) < len(config.languages):
        raise ValueError(f"languages={config.languages!r}: name each language once; language_weights say how often")
    weights = config.language_weights
    if len(config.languages) != len(weights) or min(weights) <= 0 or not math.isfinite(sum(weights)):
        raise ValueError(
            f"language_weights={config.language_weights!r}: give one positive weight for each of"
            f" languages={config.languages!r}, such as 1.0"
        )
    _check_selfplay(config)
    longest = config.sampler.max_prompt_tokens + config.sampler.max_response_tokens
    if config.learner.row_tokens < longest:
        raise ValueError(
            f"learner.row_tokens={config.learner.row_tokens}: must be at least sampler.max_prompt_tokens +"
            f" sampler.max_response_tokens = {longest}, so that one row holds any response"
        )
    _check_sampler(config.sampler)
    _check_rewards(config.reward)
    if config.reward.permute and config.learner.estimator == "gae":
        raise ValueError("reward.permute=True: needs an estimator without critic; set learner.estimator='trrpp'")
    several = config.selfplay.train_on_estimates and config.selfplay.estimate_samples > 1
    if config.learner.estimator in ("grpo", "dr_grpo") and not several:
        raise ValueError(
            f"learner.estimator={config.learner.estimator!r}: every prompt has one response, so nothing would be"
            " learned; set selfplay.train_on_estimates=True with selfplay.estimate_samples above 1, or use 'trrpp'"
        )
    if config.learner.estimator in ("grpo", "dr_grpo") and config.reward.lambda_solve == 0.0:
        raise ValueError(
            f"reward.lambda_solve=0.0: learner.estimator={config.learner.estimator!r} learns from solvers alone, so"
            " nothing would be learned; raise it, or use 'trrpp'"
        )
    _check_problems(config)
    _check_learner(config.learner)
    _check_minibatches(config)
    _check_pipeline(config)
    if config.reward.overlong_tokens >= config.sampler.max_response_tokens and config.reward.overlong == "penalty":
        raise ValueError(
            f"reward.overlong_tokens={config.reward.overlong_tokens}: must be below"
            f" sampler.max_response_tokens={config.sampler.max_response_tokens}; it covers the end of a response"
        )
    if config.selfplay.train_on_estimates and config.selfplay.estimate_temperature != config.sampler.temperature:
        raise ValueError(
            f"selfplay.estimate_temperature={config.selfplay.estimate_temperature}: with"
            " selfplay.train_on_estimates=True"
            f" it must be sampler.temperature={config.sampler.temperature}, so that the sampled distribution is trained"
        )
    if config.sampler.temperature == 0.0:
        raise ValueError("sampler.temperature=0.0: greedy samples have no distribution to train; set it above 0")
    _check_pass_at_k(config.evaluation)
    _check_pretrain(config.pretrain)
    if sum(axis == -1 for axis in (config.mesh.data, config.mesh.fsdp, config.mesh.tensor)) > 1:
        raise ValueError(f"mesh={dataclasses.asdict(config.mesh)}: only one axis may be -1")


def _check_pretrain(settings: PretrainSettings) -> None:
    if settings.embed_dim % (2 * settings.heads):
        raise ValueError(
            f"pretrain.embed_dim={settings.embed_dim}: must be a multiple of 2 * pretrain.heads = {2 * settings.heads},"
            " so that every head has a whole number of pairs of dimensions"
        )
    for key in ("programs", "transcripts"):
        counts = getattr(settings, key)
        if len(counts) != len(settings.languages) or min(counts, default=0) < 1:
            raise ValueError(
                f"pretrain.{key}={counts!r}: give one number of at least 1 for each of"
                f" pretrain.languages={settings.languages!r}"
            )


def _check_sampler(settings: SamplerSettings) -> None:
    if settings.prefill_tokens < settings.max_prompt_tokens:
        raise ValueError(
            f"sampler.prefill_tokens={settings.prefill_tokens}: must be at least"
            f" sampler.max_prompt_tokens={settings.max_prompt_tokens}"
        )
    if settings.draft_tokens >= settings.chunk and settings.draft_rows:
        raise ValueError(
            f"sampler.draft_tokens={settings.draft_tokens}: must be below sampler.chunk={settings.chunk}: a step with"
            " drafts may draw one token more than they have; or set sampler.draft_rows=0"
        )


def _check_selfplay(config: Config) -> None:
    if config.selfplay.induction_shown >= config.selfplay.induction_inputs:
        raise ValueError(
            f"selfplay.induction_shown={config.selfplay.induction_shown}: must be below"
            f" selfplay.induction_inputs={config.selfplay.induction_inputs}, so that some pairs are held out"
        )
    settings = config.selfplay
    if settings.redraws and (settings.estimate_samples < 2 or settings.estimate_temperature == 0.0):
        raise ValueError(
            f"selfplay.redraws={settings.redraws}: with selfplay.estimate_samples={settings.estimate_samples} at"
            f" temperature {settings.estimate_temperature} no proposal has samples that differ; set redraws to 0"
        )
    if config.reward.novelty and config.reward.novelty_by == "behaviour" and not settings.probes:
        raise ValueError(
            "selfplay.probes=0: reward.novelty_by='behaviour' compares programs by their values on shared inputs; set"
            " selfplay.probes to a number of inputs, such as 8"
        )
    if settings.constant_programs != "allow" and not settings.probes:
        raise ValueError(
            f"selfplay.probes=0: selfplay.constant_programs={settings.constant_programs!r} compares a program's outputs"
            " for other inputs; set selfplay.probes to how many must agree, such as 8"
        )
    if settings.constant_programs != "allow" and settings.probes >= settings.buffer_capacity:
        raise ValueError(
            f"selfplay.probes={settings.probes}: selfplay.constant_programs={settings.constant_programs!r} takes as"
            " many other inputs from the buffer, whose"
            f" selfplay.buffer_capacity={settings.buffer_capacity} is not above that; lower it, such as to 8"
        )
    if settings.composite_share > 1.0:
        raise ValueError(f"selfplay.composite_share={settings.composite_share}: must be at most 1")
    if settings.composite_to < settings.composite_from:
        raise ValueError(
            f"selfplay.composite_to={settings.composite_to}: must be at least"
            f" selfplay.composite_from={settings.composite_from}"
        )
    if not config.selfplay.band_low < config.selfplay.band_high <= 1.0:
        raise ValueError(
            f"selfplay.band_high={config.selfplay.band_high}: must be above"
            f" selfplay.band_low={config.selfplay.band_low} and at most 1"
        )
    room = config.selfplay.buffer_capacity * len(config.languages)
    for key in ("selfplay.seed_triplets", "selfplay.seed_problems"):
        if (value := _lookup(config, key)) > room:
            raise ValueError(
                f"{key}={value}: the buffers of {len(config.languages)} languages hold {room}; lower it or raise"
                f" selfplay.buffer_capacity={config.selfplay.buffer_capacity}"
            )


def _check_pass_at_k(settings: EvaluationSettings) -> None:
    ks = settings.pass_at_k
    if not ks:
        return
    if min(ks) < 1 or len(set(ks)) < len(ks):
        raise ValueError(f"evaluation.pass_at_k={ks!r}: name each k once, from 1, as in (1, 8, 64)")
    if not settings.benchmarks:
        raise ValueError(f"evaluation.pass_at_k={ks!r}: it needs benchmarks; name some in evaluation.benchmarks")
    if max(ks) > 1 and settings.pass_at_k_temperature == 0.0:
        raise ValueError(
            f"evaluation.pass_at_k_temperature=0.0: the {max(ks)} samples of a problem would be equal; set it above 0"
        )


def _check_problems(config: Config) -> None:
    if not 0.0 < config.problems.share < 1.0:
        raise ValueError(
            f"problems.share={config.problems.share}: is the share of problems among a step's solver tasks, above 0 and"
            " below 1; problems.path='' leaves them out"
        )
    if not config.problems.path:
        return
    if not config.problems_per_step:
        raise ValueError(
            f"problems.share={config.problems.share}: is no problem a step beside 3 x selfplay.batch_per_task="
            f"{config.selfplay.batch_per_task} solver tasks; raise it"
        )
    if config.learner.estimator in ("grpo", "dr_grpo"):
        raise ValueError(
            f"problems.path={config.problems.path!r}: a problem has one response, of which learner.estimator="
            f"{config.learner.estimator!r} learns nothing; use 'trrpp', or set problems.path to ''"
        )


def _check_learner(learner: LearnerSettings) -> None:
    if 0.0 < learner.dual_clip <= 1.0:
        raise ValueError(f"learner.dual_clip={learner.dual_clip}: must be above 1 (3 is usual), or 0 for none")
    if learner.policy_loss == "cispo" and learner.dual_clip:
        raise ValueError(f"learner.dual_clip={learner.dual_clip}: needs policy_loss='ppo'; set it to 0 for 'cispo'")
    if learner.ratio == "sequence" and learner.estimator == "gae":
        raise ValueError("learner.ratio='sequence': a response has one ratio and needs one advantage; not with 'gae'")
    if learner.lr_schedule != "constant" and learner.lr_decay_steps <= learner.warmup_steps:
        raise ValueError(
            f"learner.lr_decay_steps={learner.lr_decay_steps}: with lr_schedule={learner.lr_schedule!r} it must be"
            f" above warmup_steps={learner.warmup_steps}; a run has steps * epochs * minibatches optimizer steps"
        )
    if learner.lr_end > 1.0:
        raise ValueError(f"learner.lr_end={learner.lr_end}: must be at most 1, a share of learner.lr")
    _check_corrections(learner)


def _check_minibatches(config: Config) -> None:
    text, selfplay = config.learner.minibatches, config.selfplay
    if text == "task_type":
        return
    if not (text.isdecimal() and len(text) < 10 and int(text) >= 1):
        raise ValueError(f"learner.minibatches={text!r}: use task_type, or a number such as '1' or '4'")
    solutions = 1 + selfplay.estimate_samples * selfplay.train_on_estimates
    responses = 3 * selfplay.batch_per_task * (1 + solutions) + config.problems_per_step
    if int(text) > responses:
        raise ValueError(
            f"learner.minibatches={text!r}: a step has at most {responses} responses with selfplay.batch_per_task="
            f"{selfplay.batch_per_task}, and an optimizer step needs one; lower it, such as to '4'"
        )


def _check_corrections(learner: LearnerSettings) -> None:
    if learner.importance != "truncate" and learner.importance_cap == 0.0:
        raise ValueError(
            f"learner.importance_cap=0.0: turns off what learner.importance={learner.importance!r} asks for; set it to"
            " the upper bound of ratios, such as 2"
        )
    if 0.0 < learner.importance_cap < 1.0:
        raise ValueError(
            f"learner.importance_cap={learner.importance_cap}: must be at least 1, the ratio where sampler and learner"
            " agree, or 0 for no correction"
        )
    if learner.importance_low > 1.0:
        raise ValueError(
            f"learner.importance_low={learner.importance_low}: must be at most 1, the ratio where sampler and learner"
            " agree"
        )
    if learner.kl_coef > 0 and learner.kl_in == "reward":
        if not learner.recompute_old_logprobs:
            raise ValueError("learner.kl_in='reward': needs the old policy's logprobs; set recompute_old_logprobs=True")
        if learner.ratio == "sequence":
            raise ValueError(
                "learner.kl_in='reward': gives each token an advantage, and learner.ratio='sequence' needs one for a"
                " response; set kl_in to 'loss'"
            )


def _check_pipeline(config: Config) -> None:
    if not 0.0 < config.pipeline.early_share <= 1.0:
        raise ValueError(f"pipeline.early_share={config.pipeline.early_share}: must be above 0 and at most 1")
    if config.pipeline.lag and config.learner.recompute_old_logprobs and config.learner.importance_cap == 0.0:
        raise ValueError(
            f"pipeline.lag={config.pipeline.lag}: tokens of the policy before the last update need a correction; set"
            " learner.importance_cap above 0, such as 2, or learner.recompute_old_logprobs=False"
        )


def _check_rewards(reward: RewardSettings) -> None:
    if reward.linear_to <= reward.linear_from:
        raise ValueError(f"reward.linear_to={reward.linear_to}: must be above reward.linear_from={reward.linear_from}")
    if not reward.adaptive_low < reward.adaptive_high <= 1.0:
        raise ValueError(
            f"reward.adaptive_high={reward.adaptive_high}: must be above reward.adaptive_low={reward.adaptive_low} and"
            " at most 1"
        )
    if reward.smoothing > 1.0:
        raise ValueError(f"reward.smoothing={reward.smoothing}: must be at most 1, which forgets all but the last step")
    if not -1.0 <= reward.graded_syntax < reward.graded_runtime < reward.graded_wrong <= 0.0:
        raise ValueError(
            f"reward.graded_syntax={reward.graded_syntax}, graded_runtime={reward.graded_runtime},"
            f" graded_wrong={reward.graded_wrong}: must ascend, between -1 and 0"
        )
