"""Which curves each figure has, from the metric keys of the runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from azr_jax.report.runs import RunData
from azr_jax.report.tables import MODES, share_of_all
from azr_jax.types import TaskType

TYPES = tuple(kind.value for kind in TaskType)
_NAME_CHARS = 24


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel: `points` are (step, value); `run` numbers the run, `smooth` adds a running mean."""

    label: str
    points: tuple[tuple[float, float], ...]
    color: int
    run: int = 0
    smooth: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `share`: the values are shares of 1, drawn from 0 to 1. `stacked`: areas upon each other."""

    title: str
    curves: tuple[Curve, ...]
    share: bool = False
    stacked: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A figure: `name` is its file's, panels are side by side."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw yet."""
        return not any(curve.points for panel in self.panels for curve in panel.curves)


def figures(runs: Sequence[RunData]) -> list[Figure]:
    """Every figure of the page; those without data have no points."""
    return [
        _scores(runs),
        _proposer(runs),
        _solver(runs),
        _rewards(runs),
        _entropy(runs),
        _outcomes(runs),
        _buffers(runs),
        _time(runs),
    ]


def _curves(runs: Sequence[RunData], keys: Mapping[str, str], smooth: bool = True) -> tuple[Curve, ...]:
    """A curve for each run and each metric key that has numbers; `keys` is label to metric."""
    made = []
    for color, (label, key) in enumerate(keys.items()):
        for number, run in enumerate(runs):
            if points := run.series(key):
                made.append(Curve(_label(label, run, runs), tuple(points), color, number, smooth))
    return tuple(made)


def _label(label: str, run: RunData, runs: Sequence[RunData]) -> str:
    """The curve's name; of a long run name the end, which is where names differ."""
    name = run.name if len(run.name) <= _NAME_CHARS else "..." + run.name[3 - _NAME_CHARS :]
    return label if len(runs) == 1 else f"{label}, {name}"


def _scores(runs: Sequence[RunData]) -> Figure:
    # Of many runs one curve each, told apart by colour: four of each could not be read.
    many = len(runs) > 2
    panels = []
    for mode in MODES:
        curves = []
        for color, kind in enumerate(("all",) if many else ("all", *TYPES)):
            for number, run in enumerate(runs):
                if points := scores_of(run, mode, kind):
                    shade = number if many else color
                    curves.append(Curve(_label(kind, run, runs), tuple(points), shade, number, smooth=False))
        if curves or mode == MODES[0]:
            panels.append(Panel(f"held-out problems, {mode}", tuple(curves), share=True))
    benchmarks = {
        key.removeprefix("eval/"): key
        for run in runs
        for key in run.keys
        if key.startswith("eval/") and not key.startswith("eval/heldout/") and key.endswith(("/accuracy", "/pass_at_1"))
    }
    if benchmarks:
        panels.append(Panel("benchmarks", _curves(runs, benchmarks, smooth=False), share=True))
    caption = "Score by step (Fig. 2 of the paper). The first and last points are those of the table above."
    return Figure("fig2_score", "Fig. 2: score by step", caption, tuple(panels))


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


def _proposer(runs: Sequence[RunData]) -> Figure:
    kinds = ("deduction", "abduction")
    panels = [Panel("mean acc", _curves(runs, {kind: f"propose/{kind}/acc" for kind in kinds}), share=True)]
    for kind in kinds:
        keys = {
            "acc = 0": f"propose/{kind}/acc_zero",
            "0 < acc < 1": f"propose/{kind}/acc_between",
            "acc = 1": f"propose/{kind}/acc_one",
        }
        panels.append(Panel(f"{kind}: share of proposals", _curves(runs, keys), share=True))
    caption = (
        "Proposer accuracy by step (Fig. 3 of the paper): mean solver accuracy on the valid proposals of a step, and"
        " the share of them on which none, some or all of the solver's samples were right."
    )
    return Figure("fig3_proposer", "Fig. 3: proposer accuracy by step", caption, tuple(panels))


def _solver(runs: Sequence[RunData]) -> Figure:
    panels = [
        Panel(title, _curves(runs, {kind: f"solve/{kind}/{key}" for kind in TYPES}), share=True)
        for title, key in (
            ("right, of all", "accuracy"),
            ("right, of the well-formatted", "accuracy_formatted"),
            ("well-formatted", "formatted"),
        )
    ]
    caption = "Solver accuracy by step for each task type (Fig. 4 of the paper), on problems from the buffers."
    return Figure("fig4_solver", "Fig. 4: solver accuracy by step", caption, tuple(panels))


def _rewards(runs: Sequence[RunData]) -> Figure:
    panels = [
        Panel(title, _curves(runs, {"all": f"{role}/reward", **{kind: f"{role}/{kind}/reward" for kind in TYPES}}))
        for title, role in (("proposer", "propose"), ("solver", "solve"))
    ]
    valid = Panel("valid proposals", _curves(runs, {"all": "propose/valid"} | _by_type("propose", "valid")), share=True)
    return Figure("rewards", "Rewards by step", "Mean reward of a step's responses.", (*panels, valid))


def _entropy(runs: Sequence[RunData]) -> Figure:
    panels = (
        Panel("entropy, nats a token", _curves(runs, {"entropy": "ppo/entropy"})),
        Panel("gradient norm", _curves(runs, {"norm before clipping": "ppo/grad_norm"})),
        Panel("tokens a response", _curves(runs, {"response": "sample/response_tokens"})),
    )
    return Figure("entropy", "Entropy, gradients and lengths", "Of the sampled responses and the update.", panels)


def _outcomes(runs: Sequence[RunData]) -> Figure:
    panels = []
    for title, role in (("proposals", "propose"), ("solutions", "solve")):
        names = _with_prefix(runs, f"{role}/outcome/")
        several = len(runs) > 1
        curves = _curves(runs, {name: f"{role}/outcome/{name}" for name in names}, smooth=several)
        panels.append(Panel(title, curves if several else _filled(curves), share=True, stacked=not several))
    return Figure("outcomes", "Outcomes by step", "What became of a step's proposals and solutions.", tuple(panels))


def _buffers(runs: Sequence[RunData]) -> Figure:
    keys = {name.removesuffix("_size"): f"buffer/{name}" for name in _with_prefix(runs, "buffer/", "_size")}
    duplicates = {
        name.removesuffix("_refused_duplicates"): f"buffer/{name}"
        for name in _with_prefix(runs, "buffer/", "_refused_duplicates")
    }
    panels = (
        Panel("entries", _curves(runs, keys, smooth=False)),
        Panel("duplicates refused so far", _curves(runs, duplicates, smooth=False)),
    )
    return Figure("buffers", "Buffers by step", "Valid triplets and induction problems kept.", panels)


def _time(runs: Sequence[RunData]) -> Figure:
    panels = []
    for run in runs:
        whole = dict(run.series("time/step_s"))
        names = [name for name in _with_prefix([run], "time/") if name != "step_s"]
        parts = {name.removesuffix("_s"): dict(run.series(f"time/{name}")) for name in names}
        rest = {step: max(0.0, value - sum(p.get(step, 0.0) for p in parts.values())) for step, value in whole.items()}
        everything = {**parts, "update and the rest": rest} if whole else parts
        curves = tuple(
            Curve(label, tuple(sorted(points.items())), color, smooth=False)
            for color, (label, points) in enumerate(everything.items())
            if points
        )
        title = _label("seconds a step", run, runs)
        panels.append(Panel(title, _filled(curves), stacked=True))
    return Figure("time", "Time of a step", "Waiting: the device was idle until programs had finished.", tuple(panels))


def _by_type(role: str, key: str) -> dict[str, str]:
    return {kind: f"{role}/{kind}/{key}" for kind in TYPES}


def _with_prefix(runs: Iterable[RunData], prefix: str, suffix: str = "") -> list[str]:
    """The rest of every metric key with this prefix, sorted; deeper keys only where `suffix` asks for them."""
    names = {key.removeprefix(prefix) for run in runs for key in run.keys if key.startswith(prefix)}
    return sorted(name for name in names if name.endswith(suffix) and (suffix or "/" not in name))


def _filled(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """The same steps in every curve, 0 where one has none: an outcome that did not occur has no metric."""
    steps = sorted({step for curve in curves for step, _ in curve.points})
    return tuple(
        dataclasses.replace(curve, points=tuple((step, dict(curve.points).get(step, 0.0)) for step in steps))
        for curve in curves
    )
