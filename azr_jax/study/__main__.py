"""Runs a grid and reports on it: `python -m azr_jax.study --study=FILE --seeds=N [--parallel=N] [--resume]`.

Each run is `python -m azr_jax.main` in OUT/LANGUAGE/ARM-SEED with its log next to it. --resume goes on where an earlier
start of the same study stopped: finished runs are kept, others resume from their last save. --languages and --arms
start a part of the grid, in any order; --report_only starts nothing and reports on the finished runs, also while
another process runs the study. --merge counts the finished runs of other machines or earlier times by their study.json.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from azr_jax.flags import run
from azr_jax.study import grid

_STUDY = config_flags.DEFINE_config_file("study", None, "Study file, such as configs/studies/learning_tiny.py.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each arm and language, with seeds 0, 1, ...")
_OUT = flags.DEFINE_string("out", None, "Where the runs and the report go; runs/studies/NAME if not given.")
_PARALLEL = flags.DEFINE_integer("parallel", 1, "Runs at the same time; each gets its share of the cores.")
_DEVICE_VARIABLE = flags.DEFINE_string(
    "device_variable", "", "Environment variable that chooses a run's accelerator, such as CUDA_VISIBLE_DEVICES."
)
_LANGUAGES = flags.DEFINE_list("languages", [], "Start only runs of these languages; all if not given.")
_ARMS = flags.DEFINE_list("arms", [], "Start only runs of these arms; all if not given.")
_REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Start no run: report on the finished ones.")
_RESUME = flags.DEFINE_bool("resume", False, "Go on with a study that was started before.")
_MERGE = flags.DEFINE_list(
    "merge", [], "Files study.json of other starts of this study: what they finished is reported and not run again."
)


def main(argv: Sequence[str]) -> None:
    """Checks every run's settings, runs those that are not done, reports."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    if _STUDY.value is None:
        raise app.UsageError("--study is missing: name a study file, such as configs/studies/learning_tiny.py")
    name = Path(config_flags.get_config_filename(flags.FLAGS["study"])).stem
    try:
        failed = _run(name, Path(_OUT.value or f"runs/studies/{name}"))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command with --resume goes on")
    if failed:
        sys.exit(f"error: {len(failed)} runs failed: {', '.join(failed)}; their logs are next to their workdirs")


def _run(name: str, out: Path) -> list[str]:
    study = grid.study_of(_STUDY.value.to_dict(), name)
    cells = grid.cells_of(study, _SEEDS.value, out)
    configs = {cell.name: grid.config_of(study, cell) for cell in cells}
    wanted = grid.chosen(study, cells, _LANGUAGES.value, _ARMS.value)
    if out.exists() and any(out.iterdir()) and not (_RESUME.value or _REPORT_ONLY.value):
        raise ValueError(f"--out={out} holds something already: pass --resume to go on with it, or choose another")
    out.mkdir(parents=True, exist_ok=True)
    from azr_jax.study import outcome, page  # imports matplotlib

    elsewhere = outcome.merged(map(Path, _MERGE.value), configs)
    waiting = [cell for cell in wanted if cell.name not in elsewhere and not grid.is_done(cell, configs[cell.name])]
    logging.info("study %s: %d runs, %d of them done before", name, len(wanted), len(wanted) - len(waiting))
    started = time.monotonic()

    def on_end(cell: grid.Cell, status: int) -> None:
        done = grid.is_done(cell, configs[cell.name])
        what = f"failed with status {status}" if status else ("done" if done else "stopped")
        logging.info("%s: %s after %.0f s of the study", cell.name, what, time.monotonic() - started)

    # A machine that is taken away: as Ctrl-C, or the runs would go on without the study.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    runner = grid.Runner(study, _PARALLEL.value, _DEVICE_VARIABLE.value, out / "compiled")
    failed = {} if _REPORT_ONLY.value else runner.run_all(waiting, on_end)
    here = [cell for cell in cells if cell.name not in elsewhere and grid.is_done(cell, configs[cell.name])]
    results = [*elsewhere.values(), *(outcome.read(cell, configs[cell.name]) for cell in here)]
    (out / "study.json").write_text(outcome.to_json(results))
    known = {result.name for result in results}
    text = page.write(study, results, out, [cell for cell in cells if cell.name not in known])
    logging.info("%s\n%s", out / "study.html", text)
    return list(failed)


if __name__ == "__main__":
    run(main, "azr_jax.study")
