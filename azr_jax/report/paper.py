"""Tables 1 and 2 in the paper's form: its numbers, and those that the runs measured."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from azr_jax.report.arms import Arm
from azr_jax.report.markup import text
from azr_jax.report.runs import RunData

BENCHMARKS = ("humaneval", "mbpp")
_NAMES = {"humaneval": "HumanEval", "mbpp": "MBPP"}
_PYTHON_NAMES = {"humaneval": "HumanEval+", "mbpp": "MBPP+"}
LANGUAGES = {"julia": "Julia", "racket": "Racket", "javascript": "JavaScript", "python": "Python"}
# Inoue and Tsuruoka, Table 1: pass@1 in per cent of the base model and after self-play.
TABLE_1 = {
    "julia": {"humaneval": (38.4, 50.3), "mbpp": (39.5, 61.8)},
    "racket": {"humaneval": (50.1, 64.6), "mbpp": (39.0, 68.3)},
    "javascript": {"humaneval": (54.0, 70.8), "mbpp": (54.2, 60.0)},
    "python": {"humaneval": (67.1, 71.3), "mbpp": (65.9, 69.0)},
}
# Table 2: the proposer's rewards in Racket, by the name that reward.proposer gives them.
TABLE_2 = {
    "eq3": ("Eq. 3 (original)", {"humaneval": 64.6, "mbpp": 68.3}),
    "eq4": ("Eq. 4 (revised) from the start", {"humaneval": 41.6, "mbpp": 60.5}),
    "switch": ("Eq. 3 to step 64, then Eq. 4 (combined)", {"humaneval": 66.5, "mbpp": 72.5}),
}
_OTHERS = {
    "linear": "Eq. 3 to Eq. 4 linearly",
    "adaptive": "Eq. 3 to Eq. 4 by solver accuracy",
    "learnability": "acc (1 - acc)",
}
_HOW = "--config.evaluation.benchmarks=\"('humaneval','mbpp')\""


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """pass@1 as shares of 1; `low` and `high` are its 95% interval for one seed and the range for several."""

    value: float
    low: float
    high: float
    problems: int | None
    seeds: int


def score(arm: Arm, benchmark: str, language: str, when: str) -> Score | None:
    """The score `before` or `after` training, the mean over seeds; None if it was not measured."""
    name = f"eval/{benchmark}/{language}"
    scored = [scores for run in arm.runs if f"{name}/pass_at_1" in (scores := _benchmarks(run, when))]
    if not scored:
        return None
    values = [scores[f"{name}/pass_at_1"] for scores in scored]
    low, high = min(values), max(values)
    if len(scored) == 1:
        low, high = scored[0][f"{name}/low"], scored[0][f"{name}/high"]
    problems = scored[0].get(f"{name}/problems")
    return Score(statistics.fmean(values), low, high, None if problems is None else int(problems), len(values))


def _benchmarks(run: RunData, when: str) -> dict[str, float]:
    """The benchmark metrics of a run's end or, before it, of the newest step that has some."""
    if when == "before" or run.summary:
        return run.summary.get(f"benchmarks_{when}") or {}
    return next((row for row in reversed(run.rows) if any(key.endswith("/pass_at_1") for key in row)), {})


def section(arms: Sequence[Arm]) -> str:
    """Both tables."""
    measured = any(_languages(arm) for arm in arms)
    note = "" if measured else f" No benchmark was scored in these runs: {_HOW} scores both."
    return (
        '<section id="paper" class="card"><h2>The paper\'s tables</h2>'
        '<p class="note"><span class="chip paper">paper</span> Numbers of Inoue and Tsuruoka with Qwen2.5-Coder-3B,'
        ' printed for comparison, not measured here. <span class="chip run">run</span> What these runs'
        " measured, with their own models: pass@1, greedy, one sample a problem, per cent, with 95% Wilson interval;"
        f" for several seeds the mean and the range.{text(note)}</p>{_table_1(arms)}{_table_2(arms)}</section>"
    )


def _languages(arm: Arm) -> list[str]:
    return [
        language
        for language in dict.fromkeys(name for run in arm.runs for name in run.config.get("languages", ()))
        if any(score(arm, benchmark, language, when) for benchmark in BENCHMARKS for when in ("before", "after"))
    ]


def _table_1(arms: Sequence[Arm]) -> str:
    rows = []
    measured = {
        language: [arm for arm in arms if language in _languages(arm)] for arm in arms for language in _languages(arm)
    }
    for language in dict.fromkeys((*LANGUAGES, *measured)):
        name = LANGUAGES.get(language, language)
        if language in TABLE_1:
            cells = [f"{value:.1f}" for benchmark in BENCHMARKS for value in TABLE_1[language][benchmark]]
            plus = " (HumanEval+, MBPP+)" if language == "python" else ""
            rows.append(_line(name + plus, "paper", "paper", cells))
        for arm in measured.get(language, ()):
            cells = [
                _cell(score(arm, benchmark, language, when)) for benchmark in BENCHMARKS for when in ("before", "after")
            ]
            rows.append(_line("" if language in TABLE_1 else name, "run", f"{arm.label}; {_protocol(arm)}", cells))
    head = ("HumanEval base", "HumanEval + AZR", "MBPP base", "MBPP + AZR")
    return _table("Table 1: benchmark scores before and after self-play", ("language", "source", *head), rows)


def _table_2(arms: Sequence[Arm]) -> str:
    rows = []
    for reward in dict.fromkeys((*TABLE_2, *_OTHERS)):
        label, numbers = TABLE_2.get(reward, (_OTHERS.get(reward, reward), None))
        own = [
            (arm, language)
            for arm in arms
            for language in _languages(arm)
            if arm.runs[0].config.get("reward", {}).get("proposer") == reward
        ]
        if numbers:
            rows.append(
                _line(label, "paper", "paper, Racket", [f"{numbers[benchmark]:.1f}" for benchmark in BENCHMARKS])
            )
        for index, (arm, language) in enumerate(own):
            cells = [_cell(score(arm, benchmark, language, "after")) for benchmark in BENCHMARKS]
            first = label if not numbers and index == 0 else ""
            rows.append(
                _line(first, "run", f"{arm.label}, {LANGUAGES.get(language, language)}; {_reward_note(arm)}", cells)
            )
    return _table("Table 2: the proposer's rewards", ("proposer's reward", "source", "HumanEval", "MBPP"), rows)


def _protocol(arm: Arm) -> str:
    settings = arm.runs[0].config.get("evaluation", {})
    words = [f"prompts {settings.get('benchmark_base_prompt', '?')} -> {settings.get('benchmark_prompt', '?')}"]
    words += [f"step {_step(arm)}", f"model {arm.runs[0].config['model']['path']}"]
    words.append(f"seed {', '.join(str(run.config.get('seed', '?')) for run in arm.runs)}")
    summary = arm.runs[0].summary
    known = arm.runs[0].config.get("languages", ())
    words += [f"{name} {version}" for name, version in summary.get("versions", {}).items() if name in known]
    words.append(summary["finished"][:10] if "finished" in summary else "not finished")
    return ", ".join(words)


def _step(arm: Arm) -> object:
    """The step of the later score."""
    run = arm.runs[0]
    return run.summary.get("steps") or _benchmarks(run, "after").get("step", "?")


def _reward_note(arm: Arm) -> str:
    rewards = arm.runs[0].config.get("reward", {})
    words = [f"step {_step(arm)}"]
    if rewards.get("proposer") == "switch":
        words.append(f"Eq. 4 from step {rewards.get('switch_step', 0) + 1}")
    if rewards.get("permute"):
        words.append("rewards permuted (control)")
    return ", ".join(words)


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    problems = "" if score.problems is None else f", n={score.problems}"
    return f"{100 * score.value:.1f} ({100 * score.low:.1f}-{100 * score.high:.1f}{problems})"


def _line(label: str, kind: str, source: str, cells: Iterable[str]) -> str:
    chip = f'<span class="chip {kind}">{kind}</span> ' + (
        "" if source == "paper" else text(source.removeprefix("paper, "))
    )
    values = "".join(f"<td>{text(cell)}</td>" for cell in cells)
    return f'<tr class="{kind}"><td>{text(label)}</td><td class="source">{chip}</td>{values}</tr>'


def _table(title: str, head: Sequence[str], rows: Sequence[str]) -> str:
    heads = "".join(f"<th>{text(cell)}</th>" for cell in head)
    return (
        f'<h3>{text(title)}</h3><div class="scroll"><table class="paper-table"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
