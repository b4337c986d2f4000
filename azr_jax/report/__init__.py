"""Reports of runs: a self-contained HTML page of one or several, and a table for the terminal. No jax.

`python -m azr_jax.report WORKDIR [WORKDIR ...] --out=FILE`. Figures 2, 3 and 4 of the paper are drawn from the run's
metrics.jsonl; a run in progress, or one that was cut off, is shown up to its last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from azr_jax.report.tables import summary_text
from azr_jax.workdir import atomic

__all__ = ["summary_text", "write"]


def write(workdirs: Sequence[Path], out: Path, data_dir: str = "") -> None:
    """Writes the page, and every figure as PNG and CSV in a folder `figures` beside it.

    `data_dir`: a folder of benchmark files that training items are compared with; empty: the run's own or AZR_JAX_DATA.

    Raises:
      ValueError: no workdir, one without a run, or one whose files are damaged, with the place.
      OSError: `data_dir` lacks benchmark files, or a file can't be written.
    """
    from azr_jax.report import drawing, figures, page, runs  # imports matplotlib
    from azr_jax.report.arms import arms_of

    if not workdirs:
        raise ValueError("report: name at least one workdir")
    loaded = runs.load_all(workdirs)
    arms = arms_of(loaded)
    shown = figures.figures(arms)
    directory = out.absolute().parent / "figures"
    drawn = drawing.draw(shown, directory)
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(out, page.render(arms, shown, drawn, directory, out, data_dir))
