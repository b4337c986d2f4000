"""The head of the page: the runs, their progress, and their held-out scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azr_jax.config import from_mapping
from azr_jax.monitor.alerts import Watch
from azr_jax.report.arms import Arm
from azr_jax.report.markup import table, text, visible
from azr_jax.report.runs import RunData
from azr_jax.report.tables import Counts, heldout_rows
from azr_jax.selfplay.parsing import REASONS
from azr_jax.workdir.settings import completed

_HEAD = ("run", "seed", "step", "minutes", "rewards", "held-out before", "after", "change")
_HELDOUT_HEAD = (
    "answers",
    "n",
    "right before",
    "right after",
    "change",
    "formatted before",
    "formatted after",
    "of formatted, before",
    "after",
)


def section(arms: Sequence[Arm]) -> str:
    """The overview: tiles of a single run, one row a run of several, and every run's held-out table."""
    runs = [run for arm in arms for run in arm.runs]
    single = len(runs) == 1
    parts = [_tiles(runs[0])] if single else [table(_HEAD, [_row(run) for run in runs], "runs")]
    for run in runs:
        body = f'<p class="facts">{text(" · ".join(facts(run)))}</p>{_settings(run)}{_alerts(run)}'
        body += _seeding(run) + _heldout(run) + _versions(run)
        parts.append(body if single else f"<details><summary>{text(run.name)}</summary>{body}</details>")
    return f'<section id="overview" class="card"><h2>Overview</h2>{"".join(parts)}</section>'


def facts(run: RunData) -> list[str]:
    """The facts that make a run comparable: language, model, seed, rewards, progress and date."""
    words = [f"step {_reached(run)} of {_wanted(run)}"]
    if run.config:
        words += [f"languages {', '.join(run.config.get('languages', ()))}"]
        words += [f"model {run.config.get('model', {}).get('path', '?')}", f"seed {run.config.get('seed', '?')}"]
        words += [f"proposer reward {run.config.get('reward', {}).get('proposer', '?')}"]
    words += [f"{run.summary['seconds'] / 60:.1f} minutes" if "seconds" in run.summary else "not finished"]
    return words + ([f"finished {run.summary['finished']}"] if "finished" in run.summary else [])


def _settings(run: RunData) -> str:
    """Learning rate, batch sizes, command and commit."""
    selfplay, learner = run.config.get("selfplay", {}), run.config.get("learner", {})
    words = []
    if "lr" in learner:
        words.append(f"learning rate {learner['lr']:g}")
    if "batch_per_task" in selfplay:
        prompts, samples = 6 * selfplay["batch_per_task"], selfplay.get("estimate_samples", "?")
        words.append(f"batch: {prompts} prompts a step (6 x {selfplay['batch_per_task']})")
        words.append(f"{samples} samples for each valid proposal")
    if (problems := run.config.get("problems", {})).get("path"):
        words.append(f"problems of {problems['path']}: a share of {problems['share']:g} of the solver tasks")
    words += [f"{name} {learner[name]}" for name in ("epochs", "minibatches", "row_tokens") if name in learner]
    parts = [f'<p class="facts">{text(" · ".join(words))}</p>'] if words else []
    if run.started:
        parts.append(f'<p class="facts">commit {text(run.started.get("commit", "?"))}</p>')
        parts.append(f"<pre>{text(visible(str(run.started.get('command', '?'))))}</pre>")
    return "".join(parts)


def _seeding(run: RunData) -> str:
    """Outcomes of the seeding rounds' proposals, in at most eight ranges of rounds."""
    if not run.seeding:
        return ""
    rows = []
    for rounds in np.array_split(np.arange(len(run.seeding)), min(8, len(run.seeding))):
        metrics = [run.seeding[index]["metrics"] for index in rounds]
        means = {key: sum(row.get(key, 0.0) for row in metrics) / len(metrics) for key in set().union(*metrics)}
        shares = {key.partition("/outcome/")[2]: value for key, value in means.items() if "/outcome/" in key}
        shares.pop("valid", None)
        reasons = sorted(shares.items(), key=lambda pair: -pair[1])[:3]
        first, last = (run.seeding[rounds[place]]["step"] for place in (0, -1))
        rows.append(
            (
                f"{first}" if first == last else f"{first}-{last}",
                f"{means.get('propose/valid', 0.0):.0%}",
                f"{means.get('sample/response_tokens', 0.0):.0f}",
                f"{means.get('sample/length_capped', 0.0):.0%}",
                "; ".join(f"{REASONS.get(name, name.replace('_', ' '))} {share:.0%}" for name, share in reasons),
            )
        )
    head = ("seeding rounds", "valid", "tokens", "at the length limit", "most other outcomes")
    return f"<h3>Seeding</h3>{table(head, rows, 'alerts')}"


def _alerts(run: RunData) -> str:
    """The alerts of the run's steps, as in its log."""
    if not run.rows:
        return ""
    try:
        watch = Watch(from_mapping(completed(run.config)))
    except (ValueError, KeyError, TypeError):
        return '<p class="note">Alerts: not known, the run is of another version.</p>'
    raised = []
    for row in run.rows:
        numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
        raised += [(row["step"], alert) for alert in watch.new_alerts(row["step"], numbers)]
    if not raised:
        return '<p class="note">No alerts.</p>'
    rows = [(f"step {step}", alert.finding, alert.meaning, alert.advice) for step, alert in raised]
    return f"<h3>Alerts</h3>{table(('when', 'what', 'usual cause', 'try'), rows, 'alerts')}"


def _reached(run: RunData) -> int:
    return max((row["step"] for row in run.rows), default=0)


def _wanted(run: RunData) -> object:
    return run.config.get("steps", run.summary.get("steps", "?"))


def _all_types(run: RunData) -> tuple[str, str, str]:
    for row in heldout_rows(run.summary):
        if (row.mode, row.type) == ("greedy", "all"):
            before, after = (counts.accuracy if counts else "-" for counts in (row.before, row.after))
            return before, after, row.change
    return "-", "-", "-"


def _row(run: RunData) -> tuple[object, ...]:
    minutes = f"{run.summary['seconds'] / 60:.1f}" if "seconds" in run.summary else "not finished"
    rewards = run.config.get("reward", {})
    words = str(rewards.get("proposer", "?")) + (", permuted" if rewards.get("permute") else "")
    return run.name, run.config.get("seed", "?"), f"{_reached(run)} of {_wanted(run)}", minutes, words, *_all_types(run)


def _tiles(run: RunData) -> str:
    before, after, change = _all_types(run)
    values = [("steps", f"{_reached(run)}", f"of {_wanted(run)}")]
    if after != "-":
        value, _, interval = after.partition(" ")
        values.append(("held-out, right", f"{value}%", f"95% {interval} · from {before.partition(' ')[0]} ({change})"))
    for label, key in (("solver accuracy", "solve/accuracy"), ("valid proposals", "propose/valid")):
        series = run.series(key)
        if series:
            tenth = series[-max(1, len(series) // 10) :]
            first = series[: len(tenth)]
            mean, start = (sum(value for _, value in part) / len(part) for part in (tenth, first))
            words = f"last {len(tenth)} steps · first {len(first)}: {100 * start:.0f}%"
            values.append(
                (label, f"{100 * mean:.0f}%", words if len(tenth) > 1 else f"last step · first {100 * start:.0f}%")
            )
    programs = run.series("exec/programs")
    if programs:
        values.append(("programs run", f"{sum(value for _, value in programs):,.0f}", "in the sandbox"))
    tiles = "".join(
        f'<div class="tile"><span>{text(label)}</span><b>{text(value)}</b><small>{text(note)}</small></div>'
        for label, value, note in values
    )
    return f'<div class="tiles">{tiles}</div>'


def _heldout(run: RunData) -> str:
    rows = heldout_rows(run.summary)
    if not rows:
        return '<p class="note">No held-out scores yet.</p>'
    body = []
    for row in rows:
        both = (row.before, row.after)
        body.append(
            (
                f"{row.mode}, {row.type}",
                row.n,
                *(counts.accuracy if counts else "-" for counts in both),
                row.change,
                *(_formatted(counts) for counts in both),
                *(counts.accuracy_formatted if counts else "-" for counts in both),
            )
        )
    return (
        f"<h3>Held-out problems</h3>{table(_HELDOUT_HEAD, body, 'heldout')}"
        '<p class="note">Solver accuracy on held-out problems before and after training, per cent, with 95% Wilson'
        " intervals; change in points. Sampled answers are at temperature 1.</p>"
    )


def _formatted(counts: Counts | None) -> str:
    return counts.formatted_share if counts else "-"


def _versions(run: RunData) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run.summary.get("versions", {}).items())
    return f'<p class="low">{text(versions)}</p>'
