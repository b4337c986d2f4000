"""Every figure of the page: its metrics and its caption."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence

from azr_jax.report import curriculum, sampled
from azr_jax.report.arms import Arm
from azr_jax.report.curves import (
    BAD,
    COLORS,
    FAIR,
    GOOD,
    GREY,
    POOR,
    TYPE_COLORS,
    TYPES,
    Case,
    Curve,
    Figure,
    Panel,
    arm_label,
    curve,
    filled,
    joined,
    known,
    look,
    names_with,
    panels,
    stack,
)
from azr_jax.report.runs import RunData
from azr_jax.report.tables import MODES, share_of_all

_ROLES = (("proposals", "propose"), ("solutions", "solve"))
_GOOD_OUTCOMES = ("valid", "correct")


def figures(arms: Sequence[Arm]) -> list[Figure]:
    """Every figure of the page; those without data have no points."""
    return [
        _scores(arms),
        *sampled.figures(arms),
        _proposer(arms),
        _solver(arms),
        _histogram(arms),
        _composition(arms),
        _rewards(arms),
        _errors(arms),
        _outcomes(arms),
        _buffers(arms),
        curriculum.curriculum(arms),
        *curriculum.languages(arms),
        _entropy(arms),
        _time(arms),
    ]


def _scores(arms: Sequence[Arm]) -> Figure:
    # With many arms, one curve each, by colour: four each would be unreadable.
    many = len(arms) > 2
    score_panels = []
    for mode in MODES:
        curves = []
        for kind in ("all",) if many else ("all", *TYPES):
            for number, arm in enumerate(arms):
                scores = [(run.name, tuple(scores_of(run, mode, kind))) for run in arm.runs]
                series = [(name, points) for name, points in scores if points]
                if series:
                    color = COLORS[number % len(COLORS)] if many else TYPE_COLORS[kind]
                    label = arm_label(arm) if many else joined(kind, arm, arms)
                    runs, points = zip(*series, strict=True)
                    curves.append(Curve(label, points, color, 0 if many else number, False, runs))
        if curves or mode == MODES[0]:
            score_panels.append(Panel(f"held-out problems, {mode}", tuple(curves), share=True))
    for name in names_with(arms, "eval/", "/pass_at_1"):
        benchmark = name.removesuffix("/pass_at_1")
        curves = (_benchmark(arm, benchmark, COLORS[number % len(COLORS)]) for number, arm in enumerate(arms))
        score_panels.append(Panel(f"{benchmark}, pass@1", known(curves), share=True))
    caption = (
        "Score by step. Held-out problems: the first and last points are those of the table above. Benchmarks: greedy,"
        " one sample a problem; step 0 is the starting model with the prompt of evaluation.benchmark_base_prompt."
    )
    return Figure("fig2_score", "Fig. 2: score by step", caption, tuple(score_panels))


def scores_of(run: RunData, mode: str, kind: str) -> list[tuple[float, float]]:
    """(step, held-out accuracy) of a mode and a task type or "all", the scores before and after the run included."""
    points = {float(step): value for step, value in run.series(f"eval/heldout/{mode}/{kind}/accuracy")}
    suffix = "" if mode == "greedy" else f"_{mode}"
    for name, step in (("heldout_before", 0), ("heldout_after", run.summary.get("steps"))):
        counts = run.summary.get(f"{name}{suffix}") or {}
        share = share_of_all(counts) if kind == "all" else share_of_all({kind: counts[kind]} if kind in counts else {})
        if share is not None and step is not None:
            points[float(step)] = share
    return sorted(points.items())


def _benchmark(arm: Arm, name: str, color: str) -> Curve | None:
    """pass@1 of a benchmark, its ends from the summary included; the interval is the benchmark's own."""
    series, interval = [], ()
    for run in arm.runs:
        scores_by_step = {}
        for end in ("pass_at_1", "low", "high"):
            key = f"eval/{name}/{end}"
            scores_by_step[end] = {float(step): value for step, value in run.series(key)}
            for when, step in (("before", 0), ("after", run.summary.get("steps"))):
                scores = run.summary.get(f"benchmarks_{when}") or {}
                if key in scores and step is not None:
                    scores_by_step[end][float(step)] = scores[key]
        value, low, high = (scores_by_step[end] for end in ("pass_at_1", "low", "high"))
        if value:
            series.append((run.name, tuple(sorted(value.items()))))
            interval = tuple((step, low[step], high[step]) for step in sorted(low.keys() & high.keys()))
    if not series:
        return None
    runs, points = zip(*series, strict=True)
    return Curve(arm_label(arm), points, color, 0, False, runs, interval)


def _proposer(arms: Sequence[Arm]) -> Figure:
    acc_panels = panels("mean acc", arms, {kind: f"propose/{kind}/acc" for kind in TYPES}, TYPE_COLORS, share=True)
    for kind in TYPES:
        cases: dict[str, Case] = {
            label: (color, (f"propose/{kind}/{key}",), lambda share: share)
            for label, key, color in (
                ("none right", "acc_zero", BAD),
                ("some right", "acc_between", GOOD),
                ("all right", "acc_one", FAIR),
            )
        }
        acc_panels += [stack(joined(f"{kind}: solver's samples", arm, arms), arm, cases) for arm in arms]
    caption = (
        "Proposer accuracy: mean solver accuracy (acc) on the valid proposals of a step, and the share of them on which"
        " none, some or all of the solver's samples were right. Eq. 3 gives none and all the same reward. The paper's"
        " figure shows deduction and abduction; induction is estimated and rewarded in the same way, and shown too."
    )
    return Figure("fig3_proposer", "Fig. 3: proposer accuracy by step", caption, tuple(acc_panels), columns=2)


def _solver(arms: Sequence[Arm]) -> Figure:
    accuracy_panels = []
    for title, key in (
        ("right, of all", "accuracy"),
        ("right, of the well-formatted", "accuracy_formatted"),
        ("well-formatted", "formatted"),
    ):
        accuracy_panels += panels(title, arms, {kind: f"solve/{kind}/{key}" for kind in TYPES}, TYPE_COLORS, share=True)
    caption = "Solver accuracy for each task type, on problems from the buffers."
    if names_with(arms, "solve/problems/"):
        keys = {"right": "accuracy", "tests passed": "tests_passed", "well-formatted": "formatted"}
        keys = {label: f"solve/problems/{key}" for label, key in keys.items()}
        accuracy_panels += panels("problems of problems.path", arms, keys, share=True)
        caption += " Problems of problems.path are apart: their tests are of whole programs."
    return Figure("fig4_solver", "Fig. 4: solver accuracy by step", caption, tuple(accuracy_panels))


def _histogram(arms: Sequence[Arm]) -> Figure:
    histograms = []
    for arm in arms:
        for kind in TYPES:
            prefix = f"propose/{kind}/acc_histogram/"
            bins = [name.partition("_of_") for name in names_with([arm], prefix)]
            cells = []
            for k, middle, m in sorted(bins, key=lambda parts: int(parts[0])):
                cells.append(curve(arm, f"{prefix}{k}{middle}{m}", f"{k}/{m}", COLORS[0], smooth=False))
            histograms.append(Panel(joined(kind, arm, arms), filled(known(cells)), share=True, kind="heat"))
    caption = (
        "acc of the valid proposals: each column is the histogram of a step, from no sample right at the bottom to all"
        " right at the top. Eq. 3 rewards the rows between the bottom and the top one."
    )
    return Figure("acc_histogram", "acc histograms by step", caption, tuple(histograms))


# The cases of the rewards: label to (colour, metrics, their share of a step's responses).
_PROPOSER_CASES: dict[str, Case] = {
    "valid, 0 < acc < 1": (GOOD, ("propose/valid", "propose/acc_between"), lambda valid, share: valid * share),
    "valid, acc = 1": (FAIR, ("propose/valid", "propose/acc_one"), lambda valid, share: valid * share),
    "valid, acc = 0": (POOR, ("propose/valid", "propose/acc_zero"), lambda valid, share: valid * share),
    "not valid": (BAD, ("propose/valid",), lambda valid: 1.0 - valid),
}
_SOLVER_CASES: dict[str, Case] = {
    "right": (GOOD, ("solve/accuracy",), lambda right: right),
    "formatted, not right": (POOR, ("solve/formatted", "solve/accuracy"), lambda formatted, right: formatted - right),
    "not formatted": (BAD, ("solve/formatted",), lambda formatted: 1.0 - formatted),
}


def _composition(arms: Sequence[Arm]) -> Figure:
    stacks = []
    for arm in arms:
        for title, cases in (("proposer", _PROPOSER_CASES), ("solver", _SOLVER_CASES)):
            stacks.append(stack(joined(title, arm, arms), arm, cases))
    caption = (
        "What the rewards consist of: the share of a step's responses in each case of Eqs. 3 and 4 (proposer; acc is"
        " the share of the solver's samples that were right) and of Eq. 2 (solver)."
    )
    return Figure("reward_composition", "Reward composition by step", caption, tuple(stacks), columns=2)


def _rewards(arms: Sequence[Arm]) -> Figure:
    reward_panels = []
    for title, role in (("proposer", "propose"), ("solver", "solve")):
        keys = {"all": f"{role}/reward", **{kind: f"{role}/{kind}/reward" for kind in TYPES}}
        reward_panels += panels(f"{title}: mean reward", arms, keys, TYPE_COLORS)
    if names_with(arms, "solve/problems/"):
        reward_panels += panels("problems: mean reward", arms, {"problems": "solve/problems/reward"})
    valid = {"all": "propose/valid", **{kind: f"propose/{kind}/valid" for kind in TYPES}}
    reward_panels += panels("valid proposals", arms, valid, TYPE_COLORS, share=True)
    return Figure("rewards", "Rewards by step", "Mean reward of a step's responses.", tuple(reward_panels))


def _errors(arms: Sequence[Arm]) -> Figure:
    kinds = {"wrong": POOR, "timeout": "#7a5195", "runtime": "#d9596a", "syntax": "#3566c8", "format": GREY}
    stacks = []
    for title, role in _ROLES:
        cases: dict[str, Case] = {
            {"timeout": "time-out"}.get(kind, kind): (color, (f"{role}/error/{kind}",), lambda share: share)
            for kind, color in kinds.items()
        }
        stacks += [stack(joined(title, arm, arms), arm, cases) for arm in arms]
    caption = (
        "Kinds of error, as shares of all responses; the rest to 100% was right. Format: no answer could be"
        " read. Syntax: the language's reader or compiler refuses the program, or the answer is no value of the"
        " language. Runtime: it ran and gave no value; a proposal's also when it was refused for what it is (a"
        " duplicate, nondeterministic). Runs of an older version count time-outs under runtime."
    )
    return Figure("errors", "Error kinds by step", caption, tuple(stacks), columns=2)


def _outcomes(arms: Sequence[Arm]) -> Figure:
    """Each outcome has one look in all panels: the good ones are green, each other has a colour and a pattern."""
    totals: collections.Counter[str] = collections.Counter()
    for _, role in _ROLES:
        for name in names_with(arms, f"{role}/outcome/"):
            totals[name] += sum(run.rows[-1].get(f"{role}/outcome/{name}", 0) for arm in arms for run in arm.runs)
    others = [name for name, _ in sorted(totals.items(), key=lambda item: -item[1]) if name not in _GOOD_OUTCOMES]
    looks = {name: (GOOD, "") for name in _GOOD_OUTCOMES} | {name: look(n) for n, name in enumerate(others)}
    stacks = []
    for title, role in _ROLES:
        for arm in arms:
            prefix = f"{role}/outcome/"
            names = [name for name in looks if name in names_with([arm], prefix)]
            cases: dict[str, Case] = {name: (looks[name][0], (prefix + name,), lambda share: share) for name in names}
            panel = stack(joined(title, arm, arms), arm, cases)
            curves = (dataclasses.replace(curve, pattern=looks[curve.label][1]) for curve in panel.curves)
            stacks.append(dataclasses.replace(panel, curves=tuple(curves)))
    caption = "The outcome of each response: a status of the executor or the parser."
    return Figure("outcomes", "Outcomes by step", caption, tuple(stacks), columns=2)


def _buffers(arms: Sequence[Arm]) -> Figure:
    buffer_panels = []
    for title, suffix in (
        ("entries", "_size"),
        ("duplicates refused so far", "_refused_duplicates"),
        ("evicted so far", "_evicted"),
    ):
        keys = {name.removesuffix(suffix): f"buffer/{name}" for name in names_with(arms, "buffer/", suffix)}
        buffer_panels += panels(title, arms, keys, smooth=False)
    return Figure("buffers", "Buffers by step", "Valid triplets and induction problems kept.", tuple(buffer_panels))


def _entropy(arms: Sequence[Arm]) -> Figure:
    update_panels = []
    for title, key in (
        ("entropy, nats a token", "ppo/entropy"),
        ("gradient norm before clipping", "ppo/grad_norm"),
        ("tokens a response", "sample/response_tokens"),
    ):
        update_panels += panels(title, arms, {title.partition(",")[0]: key})
    caption = "Of the sampled responses and the update."
    return Figure("entropy", "Entropy, gradients and lengths", caption, tuple(update_panels))


# Parts that do not overlap, since they are stacked: their sum is the step and the save before it.
_TIME_CASES: dict[str, tuple[tuple[str, ...], Callable[..., float]]] = {
    "prefill": (("prefill",), lambda prefill: prefill),
    "decode": (("decode",), lambda decode: decode),
    "sampling, the rest": (("sampling", "prefill", "decode"), lambda whole, *parts: max(0.0, whole - sum(parts))),
    "waiting": (("waiting",), lambda waiting: waiting),
    "play, the rest": (("play", "sampling", "waiting"), lambda whole, *parts: max(0.0, whole - sum(parts))),
    "update": (("update",), lambda update: update),
    "evaluate": (("evaluate",), lambda evaluate: evaluate),
    "the rest": (("step", "play", "update", "evaluate"), lambda whole, *parts: max(0.0, whole - sum(parts))),
    "save": (("save",), lambda save: save),
}


def _time(arms: Sequence[Arm]) -> Figure:
    time_panels = []
    for arm in arms:
        cases: dict[str, Case] = {
            label: (COLORS[number], tuple(f"time/{name}_s" for name in names), function)
            for number, (label, (names, function)) in enumerate(_TIME_CASES.items())
        }
        time_panels.append(stack(joined("seconds per step", arm, arms), arm, cases, share=False))
    time_panels += panels("programs per second", arms, {"programs": "exec/programs_per_s"})
    time_panels += panels("tokens sampled a second", arms, {"tokens": "sample/tokens_per_s"})
    caption = (
        "Time of each phase of a step, and of waiting for the save before it. Waiting: the device was idle until"
        " programs had finished."
    )
    return Figure("time", "Time of a step", caption, tuple(time_panels))
