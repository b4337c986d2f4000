"""The held-out table: solver accuracy before and after, by task type, for the page and for the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azr_jax.evaluation.scoring.intervals import wilson
from azr_jax.report.runs import read_summary
from azr_jax.workdir.files import METRICS_FILE, REPORT_FILE
from azr_jax.workdir.saved import save_folder, saved_steps

MODES = ("greedy", "sampled")


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Answers to held-out problems: how many, right, well-formatted (None if that was not counted)."""

    n: int
    correct: int
    formatted: int | None

    @property
    def accuracy(self) -> str:
        """Per cent right with its 95% Wilson interval, such as "41.0 (31.9-50.8)"."""
        return _with_interval(self.correct, self.n)

    @property
    def formatted_share(self) -> str:
        """Per cent well-formatted."""
        return "-" if self.formatted is None or not self.n else f"{100 * self.formatted / self.n:.1f}"

    @property
    def accuracy_formatted(self) -> str:
        """Per cent right among the well-formatted, with its interval."""
        return "-" if self.formatted is None else _with_interval(self.correct, self.formatted)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `before` or `after` is None if it was not measured."""

    mode: str
    type: str
    before: Counts | None
    after: Counts | None

    @property
    def change(self) -> str:
        """Points gained."""
        if not self.before or not self.after or not self.before.n or not self.after.n:
            return "-"
        return f"{100 * (self.after.correct / self.after.n - self.before.correct / self.before.n):+.1f}"

    @property
    def n(self) -> str:
        """How many answers; both numbers if they differ."""
        numbers = list(dict.fromkeys(str(counts.n) for counts in (self.before, self.after) if counts))
        return " / ".join(numbers)


def heldout_rows(summary: Mapping[str, Any]) -> list[Row]:
    """Rows by mode and task type with one for all types, from summary.json; none if nothing was measured."""
    rows = []
    for mode in MODES:
        suffix = "" if mode == "greedy" else f"_{mode}"
        before, after = (summary.get(f"heldout_{when}{suffix}") or {} for when in ("before", "after"))
        kinds = [
            kind for kind in dict.fromkeys((*before, *after)) if any(counts.get(kind) for counts in (before, after))
        ]
        for kind in (*kinds, "all") if kinds else ():
            rows.append(Row(mode, kind, _counts(before, kind), _counts(after, kind)))
    return rows


def share_of_all(counts: Mapping[str, Mapping[str, int]]) -> float | None:
    """Share of right answers over the task types together; None without any answer."""
    together = _counts(counts, "all")
    return together.correct / together.n if together and together.n else None


def summary_text(workdir: str | Path) -> str:
    """The end of a run for a terminal of 100 columns: the held-out table, and where everything is."""
    workdir = Path(workdir)
    lines = _table_lines(heldout_rows(read_summary(workdir)))
    places = {
        "checkpoint": save_folder(workdir, max(saved_steps(workdir), default=0)),
        "export": workdir / "export",
        "metrics": workdir / METRICS_FILE,
        "report": workdir / REPORT_FILE,
    }
    return "\n".join(lines + [f"{name:<11}{place}" for name, place in places.items() if place.exists()])


def _table_lines(rows: list[Row]) -> list[str]:
    if not rows:
        return ["No held-out problems were scored (evaluation.heldout)."]
    lines = ["Solver accuracy on held-out problems, per cent (95% interval); sampled: at temperature 1"]
    for mode in MODES:
        chosen = [row for row in rows if row.mode == mode]
        if chosen:
            lines += ["", _columns((mode, "n", "before", "after", "change", "formatted", "of these right"))]
            lines += [_columns((row.type, row.n, *_cells(row))) for row in chosen]
    return [*lines, ""]


def _cells(row: Row) -> tuple[str, ...]:
    both = (row.before, row.after)
    accuracy = tuple(counts.accuracy if counts else "-" for counts in both)
    formatted = " -> ".join(counts.formatted_share if counts else "-" for counts in both)
    right = " -> ".join(counts.accuracy_formatted.split(" ")[0] if counts else "-" for counts in both)
    return *accuracy, row.change, formatted, right


def _columns(cells: tuple[str, ...]) -> str:
    first, n, before, after, change, formatted, right = cells
    return f"{first:<9} {n:>5}  {before:>17}  {after:>17}  {change:>6}  {formatted:>14}  {right:>14}"


def _counts(by_type: Mapping[str, Mapping[str, int]], kind: str) -> Counts | None:
    if not by_type:
        return None
    chosen = list(by_type.values()) if kind == "all" else [by_type[kind]] if kind in by_type else []
    if not chosen:
        return None
    formatted = (
        sum(counts["formatted"] for counts in chosen) if all("formatted" in counts for counts in chosen) else None
    )
    return Counts(sum(counts["n"] for counts in chosen), sum(counts["correct"] for counts in chosen), formatted)


def _with_interval(correct: int, n: int) -> str:
    if not n:
        return "-"
    low, high = wilson(correct, n)
    return f"{100 * correct / n:.1f} ({100 * low:.1f}-{100 * high:.1f})"
