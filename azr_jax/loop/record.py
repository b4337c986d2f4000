"""What one step leaves behind: metrics by the field's keys, and a few transcripts."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from azr_jax.loop.play import Clock, Proposal, Solution, mean_accuracy
from azr_jax.loop.stages import Played, rollouts
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.curriculum import program_metrics
from azr_jax.selfplay.diversity import diversity
from azr_jax.selfplay.estimates import accuracy_histogram, accuracy_metrics
from azr_jax.selfplay.rewards import ERROR_KINDS, error_kind
from azr_jax.selfplay.validation import is_dropped
from azr_jax.types import Role, Scored, StopReason, TaskType, Triplet
from executors.language import Language

# Of the newest triplets: the whole buffer changes too slowly to show a proposer that repeats itself.
_DIVERSITY_ENTRIES = 256


class StepRecord:
    """Collects one step's metrics and transcripts."""

    def __init__(self, step: int, transcripts_wanted: int) -> None:
        self.step = step
        self.metrics: dict[str, float] = {}
        self.transcripts: list[dict[str, Any]] = []
        self.written = False
        self._wanted = transcripts_wanted

    @classmethod
    def from_json(cls, step: int, state: Mapping[str, Any]) -> StepRecord:
        """The record that `to_json` described; it is not written yet."""
        record = cls(step, 0)
        record.metrics, record.transcripts = dict(state["metrics"]), list(state["transcripts"])
        return record

    def to_json(self) -> dict[str, Any]:
        """What is recorded so far, as plain types; a copy."""
        return {"metrics": {key: float(value) for key, value in self.metrics.items()}, "transcripts": self.transcripts}

    def update(self, values: Mapping[str, float]) -> None:
        """Adds metrics."""
        self.metrics.update(values)

    def play(
        self,
        played: Played,
        scored: Sequence[Scored],
        buffers: Buffers,
        clock: Clock,
        languages: Mapping[str, Language],
    ) -> None:
        """Adds what the step's responses were worth; `clock` is the player's after the step."""
        pairs = list(zip(played.proposals, played.estimates, strict=True))
        self.update(_proposals(pairs, "propose", by_type=True))
        self.update(_solutions(played.solutions, "solve", by_type=True))
        for name, language in languages.items():
            self.update(_programs(played.proposals, language))
            if len(languages) > 1:
                own = [pair for pair in pairs if pair[0].task.language == name]
                self.update(_proposals(own, f"propose/{name}", by_type=False))
                solved = [one for one in played.solutions if one.task.language == name]
                self.update(_solutions(solved, f"solve/{name}", by_type=False))
        self.update(_rewards(scored))
        self.update(_sampling(played, clock))
        self.update({f"buffer/{name}": float(value) for name, value in buffers.counters().items()})
        self.update({f"buffer/{name}": value for name, value in _diversity(buffers, played).items()})
        self.transcripts = _transcripts(scored, self._wanted)


def _proposals(pairs: Sequence[tuple[Proposal, Sequence[Solution]]], prefix: str, *, by_type: bool) -> dict[str, float]:
    """Metrics of proposals with the estimation samples of each: acc, validity, outcomes and errors."""
    metrics: dict[str, float] = {}
    for kind in (*TaskType, None) if by_type else (None,):
        chosen = [(one, tries) for one, tries in pairs if kind is None or one.task.type is kind]
        name = prefix if kind is None else f"{prefix}/{kind}"
        # As in the batch: a valid proposal whose samples the executors all failed on is in neither count.
        invalid = sum(one.item is None and not is_dropped(one.outcome) for one, _ in chosen)
        known = [acc for one, tries in chosen if one.item is not None and (acc := mean_accuracy(tries)) is not None]
        judged, samples = len(known) + invalid, max((len(tries) for _, tries in chosen), default=0)
        measured = accuracy_metrics(known, judged) | accuracy_histogram(known, samples)
        metrics |= {f"{name}/{key}": value for key, value in measured.items()}
        if judged:
            metrics[f"{name}/valid"] = len(known) / judged
    metrics |= _outcome_shares((one.outcome for one, _ in pairs), prefix)
    return metrics | _error_shares(((one.formatted, one.item is not None, one.outcome) for one, _ in pairs), prefix)


def _programs(proposals: Sequence[Proposal], language: Language) -> dict[str, float]:
    """`propose/LANGUAGE/program/...`: size, depth and difference of the programs that the step's proposers wrote."""
    own = [one for one in proposals if one.task.language == language.name]
    written = [one.item.program for one in own if isinstance(one.item, Triplet)]
    values = program_metrics(written, language)
    return {f"propose/{language.name}/program/{key}": value for key, value in values.items()}


def _solutions(solutions: Sequence[Solution], prefix: str, *, by_type: bool) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for kind in (*TaskType, None) if by_type else (None,):
        chosen = [one for one in solutions if (kind is None or one.task.type is kind) and not is_dropped(one.outcome)]
        name = prefix if kind is None else f"{prefix}/{kind}"
        formatted = [one for one in chosen if one.formatted]
        if chosen:
            metrics[f"{name}/accuracy"] = sum(one.correct for one in chosen) / len(chosen)
            metrics[f"{name}/formatted"] = len(formatted) / len(chosen)
        if formatted:
            metrics[f"{name}/accuracy_formatted"] = sum(one.correct for one in formatted) / len(formatted)
    metrics |= _outcome_shares((one.outcome for one in solutions), prefix)
    return metrics | _error_shares(((one.formatted, one.correct, one.outcome) for one in solutions), prefix)


def _error_shares(responses: Iterable[tuple[bool, bool, str]], prefix: str) -> dict[str, float]:
    """Share of each kind of error, time-outs apart from other runtime errors; of (formatted, good, outcome)."""
    judged = [one for one in responses if not is_dropped(one[2])]
    kinds = collections.Counter("timeout" if one[2] == "timeout" else error_kind(*one) for one in judged)
    return {f"{prefix}/error/{kind}": kinds[kind] / len(judged) for kind in (*ERROR_KINDS, "timeout") if judged}


def _diversity(buffers: Buffers, played: Played) -> dict[str, float]:
    """How different the newest programs of each of the step's languages are from each other."""
    metrics = {}
    for language in sorted({one.task.language for one in played.proposals}):
        newest = buffers[language].triplets.newest(_DIVERSITY_ENTRIES)
        values = diversity([one.program for one in newest], [one.output for one in newest])
        metrics |= {f"{language}/diversity/{key}": value for key, value in values.items()}
    return metrics


def _outcome_shares(outcomes: Iterable[str], prefix: str) -> dict[str, float]:
    counts = collections.Counter(outcomes)
    return {f"{prefix}/outcome/{name}": count / counts.total() for name, count in sorted(counts.items())}


def _rewards(scored: Sequence[Scored]) -> dict[str, float]:
    metrics = {}
    for role in Role:
        for kind in (*TaskType, None):
            chosen = [one.reward for one in scored if one.task.role is role and kind in (None, one.task.type)]
            if chosen:
                metrics[f"{role}/reward" if kind is None else f"{role}/{kind}/reward"] = sum(chosen) / len(chosen)
    return metrics


def _sampling(played: Played, clock: Clock) -> dict[str, float]:
    responses = rollouts(played)
    capped = sum(one.stop_reason is StopReason.LENGTH for one in responses)
    busy = clock.sampling_s + clock.waiting_s
    return {
        "sample/response_tokens": clock.response_tokens / max(clock.responses, 1),
        "sample/prompt_tokens": clock.prompt_tokens / max(clock.responses, 1),
        "sample/slots": float(clock.slots),
        "sample/length_capped": capped / max(len(responses), 1),
        "sample/tokens_per_s": clock.response_tokens / busy if busy else 0.0,
        "exec/programs": float(clock.programs),
        "exec/programs_per_s": clock.programs / busy if busy else 0.0,
        "exec/timeouts": float(clock.timeouts),
        "exec/infrastructure": float(clock.infrastructure),
        "exec/waiting_share": clock.waiting_s / busy if busy else 0.0,
        "time/sampling_s": clock.sampling_s,
        "time/prefill_s": clock.prefill_s,
        "time/decode_s": clock.decode_s,
        "time/waiting_s": clock.waiting_s,
    }


def _transcripts(scored: Sequence[Scored], wanted: int) -> list[dict[str, Any]]:
    """`wanted` of the step's responses, spread over the six tasks."""
    by_task: dict[tuple[Role, TaskType], list[Scored]] = {}
    for one in scored:
        by_task.setdefault((one.task.role, one.task.type), []).append(one)
    chosen: list[Scored] = []
    rank = 0
    while len(chosen) < wanted and any(len(group) > rank for group in by_task.values()):
        chosen += [group[rank] for group in by_task.values() if len(group) > rank]
        rank += 1
    return [
        {
            "task_id": one.task.id,
            "role": one.task.role.value,
            "type": one.task.type.value,
            "language": one.task.language,
            "prompt": one.task.prompt,
            "response": one.rollout.text,
            "stop_reason": one.rollout.stop_reason.value,
            "outcome": one.outcome,
            "correct": one.correct,
            "reward": one.reward,
            "acc": one.acc,
        }
        for one in chosen[:wanted]
    ]
