"""How a run ends: the final model's scores, its export, summary.json and report.html."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from absl import logging

from azr_jax import report
from azr_jax.learner.state import TrainState
from azr_jax.model import weights
from azr_jax.run.interpreters import versions
from azr_jax.run.opened import OpenRun
from azr_jax.run.scoring import heldout_counts, pass_at_k, show
from azr_jax.run.session import SessionState
from azr_jax.workdir import atomic, metrics
from azr_jax.workdir.files import REPORT_FILE, SUMMARY_FILE, ended_steps


def is_finished(run: OpenRun, session: SessionState) -> bool:
    """Whether the restored run has all its steps, export, summary and report; if so, prints its result again."""
    if session.scores_before is None or session.unfinished is not None or session.step < run.config.steps:
        return False
    if not run.hosts.first("ended", lambda: _has_ended(run)):
        return False
    _say_result(
        run,
        f"{run.workdir} has all its {run.config.steps} steps: raise --config.steps to go on, or choose another"
        " --workdir\n",
    )
    return True


def finish(run: OpenRun, state: TrainState, session: SessionState) -> None:
    """Scores the final model, exports it, and writes summary.json and report.html.

    Raises:
      OSError: they can't be written, with what to do; the run is saved.
    """
    with run.phase("evaluate"):
        after = heldout_counts(run, state.params, "after")
        scores = run.benchmarks.score(run.player.sampler, state.params, run.hosts)
        sampled = pass_at_k(run, state.params)
    show(run, run.config.steps, after, scores)
    try:
        _write(run, state, session, after, {"benchmarks_after": scores, "pass_at_k_after": sampled})
    except OSError as error:
        raise OSError(
            f"{run.workdir}: the run's export and report can't be written ({error}); free space there or make it"
            f" writable, then run the same command again: it goes on from step {run.config.steps}, which is saved"
        ) from error
    _say_result(run)


def _write(
    run: OpenRun, state: TrainState, session: SessionState, after: Mapping[str, Any], scores: Mapping[str, Any]
) -> None:
    if run.config.checkpoint.export_at_end:
        with run.phase("export"):
            origin = {"run": run.saves.directory.parent.name, "step": run.config.steps}
            weights.save(
                run.workdir / "export", run.engine.model_config, state.params, run.engine.source, origin=origin
            )
    if not run.hosts.is_first:
        return
    before = session.scores_before or {}
    summary = {
        "steps": run.config.steps,
        "seconds": round(session.seconds + run.elapsed_s, 1),
        "heldout_before": before.get("greedy", {}),
        "heldout_after": after.get("greedy", {}),
        "heldout_before_sampled": before.get("sampled", {}),
        "heldout_after_sampled": after.get("sampled", {}),
        "heldout_languages": {
            name: {"before": before.get(name, {}), "after": counts} for name, counts in after.items() if "/" in name
        },
        "benchmarks_before": before.get("benchmarks", {}),
        "pass_at_k_before": before.get("pass_at_k", {}),
        **scores,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seeding_rounds": session.seeding_rounds,
        "versions": versions(run.player.languages),
    }
    # The report is written last: if it is there, a later start knows that nothing is missing.
    (run.workdir / REPORT_FILE).unlink(missing_ok=True)
    atomic.write(run.workdir / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")
    report.write([run.workdir], run.workdir / REPORT_FILE)
    run.mirror.push((metrics.METRICS_FILE, metrics.TENSORBOARD, "export", "figures", SUMMARY_FILE, REPORT_FILE))


def _has_ended(run: OpenRun) -> bool:
    """Whether the export, summary and report of a run of these steps are there."""
    try:
        return ended_steps(run.workdir) == run.config.steps
    except ValueError as error:
        logging.warning("%s; it is made again now", error)
        return False


def _say_result(run: OpenRun, before: str = "") -> None:
    if run.hosts.is_first:
        run.progress.message(before + report.summary_text(run.workdir))
