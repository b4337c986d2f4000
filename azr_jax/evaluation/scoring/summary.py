"""From the results of a folder to its scores, and to a report of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from azr_jax.evaluation.judging.judge import MULTIPL_E, SOUND
from azr_jax.evaluation.scoring import pass_at_k, results
from azr_jax.types import StopReason

PUBLISHED_STOP = "sound, stop tokens as published"
# The field of a result that has a policy's status.
STATUS_KEYS = {SOUND: "status", MULTIPL_E: "multipl_e_status", PUBLISHED_STOP: "published_stop_status"}
_NAMES = {"humaneval": "HumanEval", "mbpp": "MBPP"}


def benchmark_name(benchmark: str, suffix: str) -> str:
    """The usual name of a benchmark: in Python humaneval is HumanEval+."""
    name = _NAMES.get(benchmark, benchmark)
    return f"{name}+" if suffix == "py" and benchmark in _NAMES else name


def default_ks(samples: int) -> list[int]:
    """1, 10 and 100, as far as the samples go; with fewer than ten, 1 and their number."""
    return sorted({1, min(samples, 10)} | ({100} if samples >= 100 else set()))


def summarise(
    done: Mapping[str, Sequence[Mapping[str, Any]]],
    policies: Sequence[str],
    ks: Sequence[int],
    unsatisfiable: frozenset[str],
) -> dict[str, Any]:
    """Scores under each policy: pass@k as [estimate, low, high] for each of `ks`."""
    statuses: dict[str, int] = {}
    every = [result for problem_results in done.values() for result in problem_results]
    for result in every:
        statuses[result["status"]] = statuses.get(result["status"], 0) + 1
    summary: dict[str, Any] = {
        "scored": len(done),
        "responses": len(every),
        "hit_max_tokens": sum(result.get("stop_reason") == StopReason.LENGTH.value for result in every),
        "statuses": statuses,
        "infrastructure": sum(bool(result.get("infrastructure")) for result in every),
        "own_way": sum("judged" in result for result in every),
        "scores": {},
    }
    for policy in policies:
        counts = results.counts(done, STATUS_KEYS[policy])
        summary["scores"][policy] = {f"pass@{k}": pass_at_k.interval(counts, k) for k in ks}
    rest = {name: problem_results for name, problem_results in done.items() if name not in unsatisfiable}
    if rest and len(rest) < len(done):
        counts = results.counts(rest)
        summary["satisfiable"] = {"problems": len(rest), "pass@1": pass_at_k.interval(counts, 1)}
    return summary


def report(settings: Mapping[str, Any], facts: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The printed report: what was scored, and the score."""
    model = settings["model"]
    step = "" if model["step"] is None else f" step {model['step']}"
    name = benchmark_name(settings["benchmark"], settings["language"])
    lines = [
        f"{name} {settings['language']}, {settings['prompt']} prompt, {summary['scored']} problems ({facts['data']})",
        f"model {model['path']}{step} ({model['digest']}), {facts['interpreter']}, seed {settings['seed']},"
        f" {facts['finished']}",
    ]
    cut = f"{summary['hit_max_tokens']} of {summary['responses']} responses hit max_tokens={settings['max_tokens']}"
    for policy, scores in summary["scores"].items():
        for score, (estimate, low, high) in scores.items():
            lines.append(f"{policy}: {score} {estimate:.1%} (95% interval {low:.1%} to {high:.1%}); {cut}")
    if "satisfiable" in summary:
        estimate, low, high = summary["satisfiable"]["pass@1"]
        count = summary["satisfiable"]["problems"]
        lines.append(f"of the {count} problems that can be passed: pass@1 {estimate:.1%} ({low:.1%} to {high:.1%})")
    lines.append(", ".join(f"{word} {count}" for word, count in sorted(summary["statuses"].items())))
    if summary["own_way"]:
        lines.append(f"{summary['own_way']} were judged by their own tests, which a completion can fool")
    if summary["infrastructure"]:
        lines.append(f"the executors failed on {summary['infrastructure']}: run `python -m executors doctor`")
    return "\n".join(lines) + "\n"
