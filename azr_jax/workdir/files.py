"""The files in a run's workdir: their names, and whether they say that the run has ended. No jax."""

from __future__ import annotations

from etils import epath

from azr_jax.workdir.json_lines import json_object

CONFIG_FILE = "config.json"
CHECKPOINTS = "checkpoints"
SUMMARY_FILE = "summary.json"
START_FILE = "start.json"
REPORT_FILE = "report.html"
METRICS_FILE = "metrics.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"
WANDB_FILE = "wandb.json"
# An object for each seeding round, with its transcripts; `step` is the round.
SEEDING_FILE = "seeding.jsonl"
# What the run does now.
PROGRESS_FILE = "progress.json"
# The last object of a save in a bucket.
COMMIT_FILE = "commit_success.txt"


def ended_steps(workdir: epath.PathLike) -> int | None:
    """Steps of the finished run in this workdir; None if its last files, summary and report, are not both there.

    A report alone may be of a run that goes on; a finished run may have been given more steps.

    Raises:
      ValueError: a damaged summary.
    """
    summary = epath.Path(workdir) / SUMMARY_FILE
    if not (epath.Path(workdir) / REPORT_FILE).exists() or not summary.exists():
        return None
    try:
        return int(json_object(summary)["steps"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{summary}: damaged ({error!r}); delete it: the run's own command makes it again") from error
