"""The record of one step: metrics by conventional names, and a few transcripts."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from azr_jax.loop.begun import lag_metrics
from azr_jax.loop.play import Proposal, Solution, mean_accuracy
from azr_jax.loop.stages import Played, rollouts, values_of
from azr_jax.selfplay.curriculum import program_metrics
from azr_jax.selfplay.estimates import accuracy_histogram, accuracy_metrics
from azr_jax.selfplay.novelty import alike_by_behaviour, constant_share, copied_share
from azr_jax.selfplay.problems import passed_share
from azr_jax.selfplay.rewards import ERROR_KINDS, error_kind
from azr_jax.selfplay.validation import is_dropped
from azr_jax.types import (
    TASK_TYPES,
    InductionProblem,
    Role,
    Rollout,
    Scored,
    StopReason,
    TaskType,
    Triplet,
    VerifiedProblem,
)
from executors.language import Language

# Of a problem's tests, what a transcript shows: an output may have megabytes.
_SHOWN_TESTS, _SHOWN_CHARS = 20, 500


@dataclasses.dataclass(frozen=True, slots=True)
class StepRecord:
    """One step's metrics by key, and a few of its transcripts."""

    step: int
    metrics: Mapping[str, float]
    transcripts: Sequence[Mapping[str, Any]] = ()

    def with_metrics(self, *more: Mapping[str, float]) -> StepRecord:
        """The record with these metrics added; a later value of a key replaces an earlier one."""
        metrics = dict(self.metrics)
        for values in more:
            metrics |= values
        return dataclasses.replace(self, metrics=metrics)

    def to_json(self) -> dict[str, Any]:
        """The record as plain types, without its step."""
        return {
            "metrics": {key: float(value) for key, value in self.metrics.items()},
            "transcripts": list(self.transcripts),
        }

    @classmethod
    def from_json(cls, step: int, state: Mapping[str, Any]) -> StepRecord:
        """The record that `to_json` described."""
        return cls(step, dict(state["metrics"]), list(state["transcripts"]))


def record_of(
    step: int, played: Played, scored: Sequence[Scored], languages: Mapping[str, Language], transcripts: int
) -> StepRecord:
    """The metrics of a step's responses, with up to `transcripts` transcripts."""
    pairs = list(zip(played.proposals, played.estimates, strict=True))
    metrics = _proposals(pairs, "propose", by_type=True) | _solutions(played.solutions, "solve", by_type=True)
    for name, language in languages.items():
        metrics |= _programs(played, language)
        if len(languages) > 1:
            own = [pair for pair in pairs if pair[0].task.language == name]
            metrics |= _proposals(own, f"propose/{name}", by_type=False)
            solved = [solution for solution in played.solutions if solution.task.language == name]
            metrics |= _solutions(solved, f"solve/{name}", by_type=False)
            metrics |= _problems([tried for tried in played.problems if tried.task.language == name], name)
    metrics |= _problems(played.problems)
    metrics |= _cut_off("propose", [proposal.rollout for proposal, _ in pairs])
    solved_by = [*played.solutions, *(sample for _, samples in pairs for sample in samples)]
    metrics |= _cut_off("solve", [solution.rollout for solution in solved_by])
    metrics |= _rewards(scored) | _sampling(played) | lag_metrics(scored, played.lag_updates)
    metrics |= {f"buffer/{name}": float(value) for name, value in played.buffers.counters().items()}
    return StepRecord(step, metrics, _transcripts(scored, transcripts))


def seeding_record(number: int, played: Played, transcripts: int) -> StepRecord:
    """The metrics of a seeding round, without rewards; its `step` is the round's number."""
    outcomes = [proposal.outcome for proposal in played.proposals]
    metrics = _outcome_shares(outcomes, "propose") | _sampling(played)
    metrics |= _cut_off("propose", [proposal.rollout for proposal in played.proposals])
    metrics["propose/valid"] = outcomes.count("valid") / max(len(outcomes), 1)
    responses = [
        Scored(
            proposal.task,
            proposal.rollout,
            0.0,
            proposal.formatted,
            proposal.item is not None,
            proposal.outcome,
            detail=proposal.detail,
            claimed=values_of(proposal.item),
        )
        for proposal in played.proposals
    ]
    return StepRecord(number, metrics, _transcripts(responses, transcripts))


def _proposals(pairs: Sequence[tuple[Proposal, Sequence[Solution]]], prefix: str, *, by_type: bool) -> dict[str, float]:
    """Metrics of proposals with the estimation samples of each: acc, validity, outcomes and errors."""
    metrics: dict[str, float] = {}
    for kind in (*TASK_TYPES, None) if by_type else (None,):
        chosen = [(proposal, samples) for proposal, samples in pairs if kind is None or proposal.task.type is kind]
        name = prefix if kind is None else f"{prefix}/{kind}"
        # As in the batch: neither counts a valid proposal if the executors failed on all its samples.
        invalid = sum(proposal.item is None and not is_dropped(proposal.outcome) for proposal, _ in chosen)
        estimates = [mean_accuracy(samples) for proposal, samples in chosen if proposal.item is not None]
        known = [acc for acc in estimates if acc is not None]
        judged, most = len(known) + invalid, max((len(samples) for _, samples in chosen), default=0)
        measured = accuracy_metrics(known, judged) | accuracy_histogram(known, most)
        metrics |= {f"{name}/{key}": value for key, value in measured.items()}
        if judged:
            metrics[f"{name}/valid"] = len(known) / judged
    proposals = [proposal for proposal, _ in pairs]
    metrics |= _outcome_shares((proposal.outcome for proposal in proposals), prefix)
    judged = [(proposal.formatted, proposal.item is not None, proposal.outcome) for proposal in proposals]
    return metrics | _error_shares(judged, prefix)


def _programs(played: Played, language: Language) -> dict[str, float]:
    """`propose/LANGUAGE/program/...`: size, depth and difference of the programs that the step's proposers wrote."""
    own = [proposal for proposal in played.proposals if proposal.task.language == language.name]
    written = [proposal.item for proposal in own if isinstance(proposal.item, Triplet)]
    values = program_metrics([item.program for item in written], [item.output for item in written], language)
    compared = played.compared.get(language.name)
    if compared is not None and compared.ids and compared.behaviours:
        step_alone = compared.behaviours[: len(compared.ids)]
        values["behaviour_copies"] = copied_share(alike_by_behaviour(step_alone))
        if (share := constant_share(step_alone)) is not None:
            values["constant"] = share
    return {f"propose/{language.name}/program/{key}": value for key, value in values.items()}


def _solutions(solutions: Sequence[Solution], prefix: str, *, by_type: bool) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for kind in (*TASK_TYPES, None) if by_type else (None,):
        of_kind = [solution for solution in solutions if kind is None or solution.task.type is kind]
        judged = [solution for solution in of_kind if not is_dropped(solution.outcome)]
        formatted = [solution for solution in judged if solution.formatted]
        name = prefix if kind is None else f"{prefix}/{kind}"
        if judged:
            metrics[f"{name}/accuracy"] = sum(solution.correct for solution in judged) / len(judged)
            metrics[f"{name}/formatted"] = len(formatted) / len(judged)
        if formatted:
            metrics[f"{name}/accuracy_formatted"] = sum(solution.correct for solution in formatted) / len(formatted)
    metrics |= _outcome_shares((solution.outcome for solution in solutions), prefix)
    outcomes = [(solution.formatted, solution.correct, solution.outcome) for solution in solutions]
    return metrics | _error_shares(outcomes, prefix)


def _problems(solutions: Sequence[Solution], language: str = "") -> dict[str, float]:
    """`solve/problems/...` of problems of `problems.path`, and of one language; nothing without them."""
    prefix = f"solve/problems/{language}".rstrip("/")
    metrics = _solutions(solutions, prefix, by_type=False)
    shares = [
        passed_share(solution.task.source, solution.verdict)
        for solution in solutions
        if isinstance(solution.task.source, VerifiedProblem) and not is_dropped(solution.outcome)
    ]
    return metrics | ({f"{prefix}/tests_passed": sum(shares) / len(shares)} if shares else {})


def _error_shares(responses: Iterable[tuple[bool, bool, str]], prefix: str) -> dict[str, float]:
    """Share of each kind of error, time-outs apart from other runtime errors; of (formatted, good, outcome)."""
    judged = [response for response in responses if not is_dropped(response[2])]
    kinds = collections.Counter("timeout" if response[2] == "timeout" else error_kind(*response) for response in judged)
    return {f"{prefix}/error/{kind}": kinds[kind] / len(judged) for kind in (*ERROR_KINDS, "timeout") if judged}


def _outcome_shares(outcomes: Iterable[str], prefix: str) -> dict[str, float]:
    counts = collections.Counter(outcomes)
    return {f"{prefix}/outcome/{name}": count / counts.total() for name, count in sorted(counts.items())}


def _rewards(scored: Sequence[Scored]) -> dict[str, float]:
    metrics = {}
    for role in Role:
        for kind in (*TaskType, None):
            kinds = TASK_TYPES if kind is None else (kind,)
            earned = [
                response.reward for response in scored if response.task.role is role and response.task.type in kinds
            ]
            if earned:
                metrics[f"{role}/reward" if kind is None else f"{role}/{kind}/reward"] = sum(earned) / len(earned)
    return metrics


def _cut_off(role: str, rollouts: Sequence[Rollout]) -> dict[str, float]:
    """`ROLE/length_capped`: the share of the role's responses that the length limit cut off; {} if it has none."""
    return {f"{role}/length_capped": _capped_share(rollouts)} if rollouts else {}


def _capped_share(rollouts: Sequence[Rollout]) -> float:
    return sum(rollout.stop_reason is StopReason.LENGTH for rollout in rollouts) / max(len(rollouts), 1)


def _sampling(played: Played) -> dict[str, float]:
    responses, clock = rollouts(played), played.clock
    busy = clock.sampling_s + clock.waiting_s
    drafts = clock.drafts
    drafting = (
        {"sample/tokens_per_draft_step": drafts.drawn / drafts.steps, "sample/drafts_kept": drafts.kept_share}
        if drafts.steps
        else {}
    )
    return drafting | {
        "sample/response_tokens": clock.response_tokens / max(clock.responses, 1),
        "sample/prompt_tokens": clock.prompt_tokens / max(clock.responses, 1),
        "sample/slots": float(clock.slots),
        "sample/length_capped": _capped_share(responses),
        "sample/empty": sum(not rollout.text.strip() for rollout in responses) / max(len(responses), 1),
        "sample/tokens_per_s": clock.response_tokens / busy if busy else 0.0,
        "exec/programs": float(clock.programs),
        "exec/programs_per_s": clock.programs / busy if busy else 0.0,
        "exec/timeouts": float(clock.timeouts),
        "exec/infrastructure": float(clock.infrastructure),
        "exec/cold_languages": float(clock.cold_languages),
        "exec/waiting_share": clock.waiting_s / busy if busy else 0.0,
        "time/sampling_s": clock.sampling_s,
        "time/prefill_s": clock.prefill_s,
        "time/decode_s": clock.decode_s,
        "time/waiting_s": clock.waiting_s,
        "time/decode_steps": float(clock.decode_steps),
        "time/occupancy": clock.occupancy,
    }


def _transcripts(scored: Sequence[Scored], wanted: int) -> list[dict[str, Any]]:
    """`wanted` of the step's responses, spread over the tasks."""
    by_task: dict[tuple[Role, TaskType], list[Scored]] = {}
    for response in scored:
        by_task.setdefault((response.task.role, response.task.type), []).append(response)
    kept: list[Scored] = []
    rank = 0
    while len(kept) < wanted and any(len(group) > rank for group in by_task.values()):
        kept += [group[rank] for group in by_task.values() if len(group) > rank]
        rank += 1
    return [_transcript(response) for response in kept[:wanted]]


def _transcript(response: Scored) -> dict[str, Any]:
    task, rollout = response.task, response.rollout
    expected, claimed = _expected(response), response.claimed
    if isinstance(task.source, VerifiedProblem):
        expected, claimed = ([text[:_SHOWN_CHARS] for text in texts[:_SHOWN_TESTS]] for texts in (expected, claimed))
    return {
        "task_id": task.id,
        "role": task.role.value,
        "type": task.type.value,
        "language": task.language,
        "prompt": task.prompt,
        "response": rollout.text,
        "stop_reason": rollout.stop_reason.value,
        "tokens": len(rollout.token_ids),
        "earlier_tokens": rollout.earlier_tokens,
        "outcome": response.outcome,
        "detail": response.detail,
        "expected": list(expected),  # for the reader: no program ever sees it
        "claimed": list(claimed),
        "correct": response.correct,
        "reward": response.reward,
        "acc": response.acc,
    }


def _expected(response: Scored) -> tuple[str, ...]:
    source = response.task.source
    if response.task.role is Role.PROPOSE or source is None:
        return ()
    if isinstance(source, VerifiedProblem):
        return source.expected
    return source.outputs if isinstance(source, InductionProblem) else (source.output,)
