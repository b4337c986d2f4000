"""The page's table of format reasons by step: why no answer could be read, or no program taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azr_jax.report.markup import table, text
from azr_jax.report.runs import RunData
from azr_jax.selfplay.parsing import REASONS

_COLUMNS = 8  # ranges of steps at most
_ROLES = {"propose": "proposals", "solve": "solutions"}


def section(runs: Sequence[RunData]) -> str:
    """A table for each run and role: a row for each reason, a column for each range of steps, per cent."""
    parts = []
    for run in runs:
        heading = f"<h3>{text(run.name)}</h3>" if len(runs) > 1 else ""
        tables = "".join(_table(run, role) for role in _ROLES)
        parts.append(heading + (tables or '<p class="note">No answer was refused for its format.</p>'))
    return (
        '<section id="reasons" class="card"><h2>Format reasons by step</h2><p class="note">Why no answer could be read'
        f" from a response: per cent of the responses of these steps.</p>{''.join(parts)}</section>"
    )


def _table(run: RunData, role: str) -> str:
    prefix = f"{role}/outcome/"
    names = [name for name in REASONS if run.series(prefix + name)]
    if not names:
        return ""
    ranges = np.array_split(np.array([row["step"] for row in run.rows]), min(_COLUMNS, len(run.rows)))
    head = [f"{_ROLES[role]}: reason"]
    head += [f"{steps[0]}" if len(steps) == 1 else f"{steps[0]}-{steps[-1]}" for steps in ranges]
    # A step has no metric for an outcome that none of its responses had.
    shares = {name: dict(run.series(prefix + name)) for name in names}
    means = {
        name: [100 * np.mean([share.get(int(step), 0.0) for step in steps]) for steps in ranges]
        for name, share in shares.items()
    }
    rows = [[REASONS[name], *(f"{mean:.1f}" for mean in means[name])] for name in names]
    total = np.sum([means[name] for name in names], axis=0)
    return table(head, [*rows, ["together, all", *(f"{share:.1f}" for share in total)]], "reasons")
