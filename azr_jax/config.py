"""A locked ConfigDict becomes frozen dataclasses, once; every wrong value is a ValueError with key, value and fix."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azr_jax import config_checks
from azr_jax.types import TASK_TYPES

_PACKAGE = Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True, slots=True)
class ModelSettings:
    """Where the weights are and how the model computes; see configs/base.py for every key's meaning."""

    path: str
    compute_dtype: str
    remat: str
    attention: str
    chat_template: str
    masked_tokens: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class MeshSettings:
    """Sizes of the mesh axes (one may be -1 for the rest of the devices), and where the state is while sampling.

    `sampler_tensor`: size of the tensor axis while sampling, on the same devices.
    """

    data: int
    fsdp: int
    tensor: int
    sampler_tensor: int
    resting_state: str


@dataclasses.dataclass(frozen=True, slots=True)
class SelfplaySettings:
    """Seeding, proposing, estimating and the buffers."""

    seed_triplets: int
    seed_problems: int
    seed_rounds: int
    references: int
    batch_per_task: int
    estimate_samples: int
    estimate_temperature: float
    redraws: int
    probes: int
    composite_share: float
    composite_from: int
    composite_to: int
    train_on_estimates: bool
    induction_inputs: int
    induction_shown: int
    buffer_capacity: int
    buffers: str
    duplicates: str
    constant_programs: str
    solver_tasks: str
    shuffle_new: bool
    band_low: float
    band_high: float
    max_program_chars: int
    format: str
    drop_comments: bool
    entry_functions: str
    program_tags: str
    prompt_template: str
    worked_examples: str


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemsSettings:
    """Problems of a file that are solved beside self-play."""

    path: str
    share: float
    reward: str


@dataclasses.dataclass(frozen=True, slots=True)
class SamplerSettings:
    """Lengths in tokens, temperatures, slots."""

    max_prompt_tokens: int
    max_response_tokens: int
    temperature: float
    eval_temperature: float
    top_p: float
    top_k: int
    slots: int
    chunk: int
    prefill_tokens: int
    draft_rows: int
    draft_tokens: int
    stop: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What a step begins of the next one."""

    lag: int
    early_share: float


@dataclasses.dataclass(frozen=True, slots=True)
class RewardSettings:
    """Reward schedules by name and their constants."""

    proposer: str
    switch_step: int
    linear_from: int
    linear_to: int
    adaptive_low: float
    adaptive_high: float
    smoothing: float
    solver: str
    graded_syntax: float
    graded_runtime: float
    graded_wrong: float
    graded_shift_share: float
    novelty: float
    novelty_by: str
    novelty_recent: int
    overlong: str
    overlong_tokens: int
    lambda_solve: float
    permute: bool


@dataclasses.dataclass(frozen=True, slots=True)
class LearnerSettings:
    """The PPO update."""

    estimator: str
    lr: float
    lr_schedule: str
    lr_decay_steps: int
    lr_end: float
    warmup_steps: int
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    decay: str
    moment_dtype: str
    gradient_clip: float
    policy_loss: str
    ratio: str
    clip_epsilon: float
    clip_epsilon_high: float
    dual_clip: float
    entropy_coef: float
    kl_coef: float
    kl_estimator: str
    kl_in: str
    gamma: float
    gae_lambda: float
    value_coef: float
    epochs: int
    minibatches: str
    microbatch_responses: int
    propose_every: int
    row_tokens: int
    rows_per_microbatch: int
    logit_chunk: int
    recompute_old_logprobs: bool
    importance: str
    importance_low: float
    importance_cap: float
    loss_aggregation: str
    max_nonfinite_updates: int

    @property
    def minibatch_count(self) -> int:
        """Optimizer steps of an epoch: as many as `minibatches` says, or one for each task type of self-play."""
        return 3 if self.minibatches == "task_type" else int(self.minibatches)


@dataclasses.dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """Limits of one program and of the pool. Seconds, MiB, characters."""

    workers: int
    wall_s: float
    cpu_s: float
    memory_mib: int
    value_chars: int
    allow_tier: str
    max_infrastructure_share: float


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """When and on what the model is scored."""

    every: int
    heldout: str
    heldout_limit: int
    temperature_samples: int
    benchmarks: tuple[str, ...]
    benchmark_data: str
    benchmark_prompt: str
    benchmark_base_prompt: str
    benchmark_limit: int
    benchmark_missing: str
    pass_at_k: tuple[int, ...]
    pass_at_k_temperature: float


@dataclasses.dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """When to save, which saves to keep, and what a preemption notice does."""

    every: int
    keep: int
    keep_every: int
    best_metric: str
    export_at_end: bool
    cut_steps: bool


@dataclasses.dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Which writers get the metrics."""

    tensorboard: bool
    wandb: bool
    wandb_project: str
    transcripts_per_step: int


@dataclasses.dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """Which steps are traced, and beyond which values a step's metrics are warned about."""

    profile_steps: tuple[int, ...]
    stall_s: float
    alert_valid_below: float
    alert_acc_zero_above: float
    alert_acc_one_above: float
    alert_distinct_outputs_below: float
    alert_mismatch_above: float
    alert_prob_error_above: float
    alert_entropy_below: float


@dataclasses.dataclass(frozen=True, slots=True)
class PretrainSettings:
    """How `azr_jax.pretrain` makes a small model from nothing."""

    output: str
    languages: tuple[str, ...]
    programs: tuple[int, ...]
    transcripts: tuple[int, ...]
    heldout: int
    vocab_size: int
    embed_dim: int
    ffn_dim: int
    layers: int
    heads: int
    row_tokens: int
    copying_steps: int
    clean_share: float
    batch_rows: int
    learning_rate: float
    prompt_weight: float


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """One run's settings, read once."""

    languages: tuple[str, ...]
    language_weights: tuple[float, ...]
    language_directory: str
    seed: int
    steps: int
    model: ModelSettings
    mesh: MeshSettings
    selfplay: SelfplaySettings
    problems: ProblemsSettings
    sampler: SamplerSettings
    pipeline: PipelineSettings
    reward: RewardSettings
    learner: LearnerSettings
    executor: ExecutorSettings
    evaluation: EvaluationSettings
    checkpoint: CheckpointSettings
    metrics: MetricsSettings
    monitoring: MonitoringSettings
    pretrain: PretrainSettings

    @property
    def problems_per_step(self) -> int:
        """Tasks of `problems.path` in a step: `problems.share` of all its solver tasks, those of self-play besides."""
        if not self.problems.path:
            return 0
        odds = self.problems.share / (1.0 - self.problems.share)
        return round(len(TASK_TYPES) * self.selfplay.batch_per_task * odds)

    @property
    def minibatches_per_step(self) -> int:
        """Minibatches of a step whose task types all have responses; by task type, problems are one more."""
        of_problems = self.learner.minibatches == "task_type" and self.problems_per_step > 0
        return self.learner.minibatch_count + of_problems

    def to_json(self) -> str:
        """The resolved config as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def from_mapping(mapping: Mapping[str, Any]) -> Config:
    """The frozen settings of a ConfigDict or dict.

    Raises:
      ValueError: an unknown or missing key, a wrong type, a value out of range or an impossible combination; the
        message has the key, the value and the fix.
    """
    config = _build(Config, mapping, prefix="")
    config_checks.check(config)
    return config


def located(path: str) -> str:
    """A path from the settings, or the package's file if the working directory has none of that name.

    The package has `azr_jax/...` and, under a bare name, the content of azr_jax/embedded, such as `azr-tiny`.
    """
    if not path or Path(path).exists():
        return path
    own = _PACKAGE.parent / path if path.startswith(f"{_PACKAGE.name}/") else _PACKAGE / "embedded" / path
    return str(own) if own.exists() else path


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line `key: old -> new` for each setting that differs between two JSON forms of a config."""
    lines = []
    for key in sorted(set(old) | set(new)):
        name, before, after = f"{prefix}{key}", old.get(key, "(absent)"), new.get(key, "(absent)")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, prefix=f"{name}.")
        elif before != after:
            lines.append(f"{name}: {before!r} -> {after!r}")
    return lines


def _build(kind: type, mapping: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(mapping, Mapping):
        raise ValueError(f"config key {prefix[:-1]}={mapping!r}: must be a section of keys")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(mapping) - set(hints))
    if unknown:
        raise ValueError(f"unknown config key {prefix}{unknown[0]}: use one of {', '.join(sorted(hints))}")
    values = {}
    for name, hint in hints.items():
        key = f"{prefix}{name}"
        if name not in mapping:
            raise ValueError(f"config key {key} is missing: start from configs/base.py, which names every key")
        value = mapping[name]
        values[name] = (
            _build(hint, value, f"{key}.")
            if dataclasses.is_dataclass(hint) and isinstance(hint, type)
            else _typed(key, value, hint)
        )
    return kind(**values)


def _typed(key: str, value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if item is str and isinstance(value, str):
            value = (value,)
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise ValueError(f"{key}={value!r}: must be a tuple of {item.__name__}, as in {key}=({item()!r},)")
        if item is str:  # `--config.languages=julia,racket` names two, `julia,` one
            split = (entry.split(",") if isinstance(entry, str) and entry else [entry] for entry in value)
            value = [word for words in split for word in words if word or len(words) == 1]
        return tuple(_typed(key, entry, item) for entry in value)
    if isinstance(hint, types.UnionType):
        raise TypeError(f"{key}: union types are not used in configs")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{key}={value!r}: must be of type {hint.__name__}, not {type(value).__name__}")
    if hint is float and not math.isfinite(value):
        raise ValueError(f"{key}={value!r}: must be a finite number")
    return value
