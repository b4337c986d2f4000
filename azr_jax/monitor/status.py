"""`python -m azr_jax.status WORKDIR`: how a run is doing, only from its files; WORKDIR may be on gs://. No jax.

With --finished it prints nothing and ends with 0 when the run has finished, with 3 when it has not.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from typing import Any

from absl import logging
from etils import epath
from rich.console import Console

from azr_jax.config import Config
from azr_jax.monitor import whereabouts
from azr_jax.monitor.alerts import alerts
from azr_jax.monitor.display import Progress, clock
from azr_jax.workdir import json_lines
from azr_jax.workdir.files import CONFIG_FILE, METRICS_FILE, SEEDING_FILE, ended_steps
from azr_jax.workdir.saved import saved_steps
from azr_jax.workdir.settings import read_config, reading
from executors.interruption import exit_with

_LATEST = 10
_NOT_FINISHED = 3
# A run that has written nothing for this many of its usual steps has probably ended.
_SILENT_STEPS = 5


def describe(workdir: str, now: float | None = None) -> str:
    """The status, in lines of at most 100 columns except alerts; `now` is in seconds since 1970.

    Raises:
      ValueError: no run there, or a damaged file, which it names.
    """
    folder = epath.Path(workdir)
    config = read_config(workdir)
    rows = _rows(folder / METRICS_FILE)
    step = rows[-1]["step"] if rows else 0
    lines = [f"{workdir}: step {step} of {config.steps}, {_state(folder, config, rows, now)}"]
    lines.append(_saves(folder, rows))
    lines.append(f"{config.model.path}, {', '.join(config.languages)}")
    if not _is_finished(folder, config):
        lines += whereabouts.describe(folder, time.time() if now is None else now)
    if not rows:
        lines.append(_seeding(folder))
    if rows:
        latest = rows[-_LATEST:]
        progress = Progress(config.steps, Console(file=io.StringIO()))
        for row in latest:
            progress.update(row["step"], {key: value for key, value in row.items() if value is not None})
        lines += [progress.line(), _times(latest), _memory(rows[-1])]
        lines += [f"alert {alert.name}: {alert}" for alert in alerts(rows[-1], config)] or ["no alerts"]
    return "\n".join(line for line in lines if line)


def _seeding(folder: epath.Path) -> str:
    """The newest seeding round: the share of valid proposals, and the most frequent outcomes of the others."""
    rounds = list(json_lines.rows(folder / SEEDING_FILE, {"metrics": dict}))
    if not rounds:
        return ""
    newest, values = rounds[-1], rounds[-1]["metrics"]
    shares = {key.removeprefix("propose/outcome/"): share for key, share in values.items() if "/outcome/" in key}
    shares.pop("valid", None)
    frequent = sorted(shares.items(), key=lambda pair: -pair[1])[:3]
    reasons = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in frequent)
    return (
        f"seeding round {newest['step']}: {values['propose/valid']:.0%} valid, {values['sample/length_capped']:.0%} at"
        f" the length limit, {values['sample/response_tokens']:.0f} tokens; {reasons or 'all valid'}"
    )


def is_finished(workdir: str) -> bool:
    """Whether the run has written summary and report of all its steps, its last files.

    Raises:
      ValueError: as `describe`.
    """
    folder = epath.Path(workdir)
    return _is_finished(folder, read_config(workdir))


def _is_finished(folder: epath.Path, config: Config) -> bool:
    try:
        return ended_steps(folder) == config.steps
    except ValueError:
        return False


def _rows(file: epath.Path) -> list[dict[str, Any]]:
    rows = []
    for number, row in enumerate(json_lines.rows(file), start=1):
        try:
            rows.append(row | {"time/step_s": abs(row["time/step_s"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{file}, line {number}: damaged ({error!r}); delete the line") from error
    return rows


def _state(folder: epath.Path, config: Config, rows: list[dict[str, Any]], now: float | None) -> str:
    if _is_finished(folder, config):
        return "finished"
    file = folder / (METRICS_FILE if rows else CONFIG_FILE)
    silent_s = (time.time() if now is None else now) - file.stat().mtime
    if not rows:
        return f"before its first step for {clock(silent_s)}"
    usual_s = statistics.median(row["time/step_s"] for row in rows[-_LATEST:]) or 1.0
    if silent_s > _SILENT_STEPS * usual_s:
        return f"silent for {clock(silent_s)} ({silent_s / usual_s:.0f} times a usual step): probably not running"
    return f"last step {clock(silent_s)} ago"


def _saves(folder: epath.Path, rows: list[dict[str, Any]]) -> str:
    seconds = rows[-1].get("time/save_write_s") if rows else None
    how_long = f" (the last took {seconds:.1f} s to write)" if seconds else ""
    return f"saves: {', '.join(map(str, saved_steps(folder))) or 'none yet'}{how_long}"


def _times(rows: list[dict[str, Any]]) -> str:
    def mean(key: str) -> float:
        return statistics.fmean(row.get(key) or 0.0 for row in rows)

    play = (
        f"play {mean('time/play_s'):.1f} ({mean('time/sampling_s'):.1f} sampling, {mean('time/waiting_s'):.1f} waiting)"
    )
    parts = [play, *(f"{name} {mean(f'time/{name}_s'):.1f}" for name in ("update", "evaluate", "save"))]
    return f"seconds per step: {', '.join(parts)}"


def _memory(row: dict[str, Any]) -> str:
    parts = []
    known = {key: value for key, value in row.items() if value is not None}
    if "device/peak_gib" in known:
        parts.append(f"device {known['device/peak_gib']:.2f} GiB at peak, limit {known.get('device/limit_gib', 0):.2f}")
    if {"host/memory_mib", "host/open_files", "host/processes"} <= set(known):
        parts.append(f"host {known['host/memory_mib']:.0f} MiB, {known['host/open_files']:.0f} open files,")
        parts[-1] += f" {known['host/processes']:.0f} processes"
    return f"memory: {'; '.join(parts)}" if parts else ""


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, 1 after an error message, or 3 (see above)."""
    parser = argparse.ArgumentParser(prog="python -m azr_jax.status", description=__doc__)
    parser.add_argument("workdir", metavar="WORKDIR", help="the run's --workdir")
    parser.add_argument("--finished", action="store_true", help="print nothing: exit with 0 if it has finished, else 3")
    args = parser.parse_args(arguments)
    try:
        with reading(args.workdir):
            if args.finished:
                return 0 if is_finished(args.workdir) else _NOT_FINISHED
            sys.stdout.write(describe(args.workdir) + "\n")
    except (ValueError, OSError) as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    exit_with(main)
