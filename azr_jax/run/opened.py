"""What a run holds open from its first step to its last: engine, executor pools, saves, metrics, display, signals."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

from absl import logging
from rich.console import Console

from azr_jax import checkpoint
from azr_jax.config import Config
from azr_jax.engine import Engine, open_engine
from azr_jax.evaluation.scoring import heldout
from azr_jax.evaluation.scoring.benchmarks import Benchmarks
from azr_jax.hosts.hosts import Hosts
from azr_jax.learner.state import TrainState
from azr_jax.learner.update import Learner
from azr_jax.loop.interruption import Signals
from azr_jax.loop.play import Player
from azr_jax.loop.pools import SharedPools
from azr_jax.loop.record import StepRecord
from azr_jax.monitor import stall, telemetry
from azr_jax.monitor.alerts import Watch
from azr_jax.monitor.display import Progress
from azr_jax.monitor.whereabouts import Whereabouts
from azr_jax.run.interpreters import open_pool, run_languages
from azr_jax.run.problems import check_problems, load_problems
from azr_jax.run.remarks import check_best_metric, remarks
from azr_jax.run.saving import Saving
from azr_jax.run.session import SessionState
from azr_jax.selfplay import worked
from azr_jax.types import TASK_TYPES, Task
from azr_jax.workdir import metrics
from azr_jax.workdir.files import PROGRESS_FILE
from azr_jax.workdir.mirror import Mirror

# How often progress.json is written, and copied to a bucket.
_WRITTEN_EVERY_S, _PUSHED_EVERY_S = 5.0, 60.0


@dataclasses.dataclass(frozen=True)
class OpenRun:
    """Everything that a run works with and no step changes; made by `open_run`.

    `workdir` is the local folder: a mirror if the run is on gs://. `allow_config_change`: whether a resumed run may
    differ from what it was.
    """

    config: Config
    workdir: Path
    engine: Engine
    learner: Learner
    player: Player
    heldout_tasks: tuple[Task, ...]
    benchmarks: Benchmarks
    saves: checkpoint.Manager
    writers: metrics.Writers
    mirror: Mirror
    saving: Saving
    progress: Progress
    watch: Watch
    signals: Signals
    hosts: Hosts
    clock: telemetry.StepClock
    allow_config_change: bool = False
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Wall seconds since this start of the run."""
        return time.monotonic() - self.started

    @contextlib.contextmanager
    def phase(self, name: str, title: str = "") -> Iterator[None]:
        """Shows the work as `title` (by default `name`) and times it under `name`."""
        stall.alive(self.config.monitoring.stall_s)
        self.progress.phase(title or name)
        with self.clock.phase(name):
            yield

    def interruptible(self) -> contextlib.AbstractContextManager[None]:
        """Work that SIGTERM may cut short with Preempted, unless `checkpoint.cut_steps` is off."""
        return self.signals.interruptible(self.hosts, self.config.checkpoint.cut_steps)

    @contextlib.contextmanager
    def measured(self, step: int) -> Iterator[None]:
        """Times one step, and traces it if it is in `monitoring.profile_steps`."""
        traced_steps = self.config.monitoring.profile_steps if self.hosts.is_first else ()
        with telemetry.profiled(step, traced_steps, self.workdir), self.clock.step():
            yield

    def measurements(self) -> dict[str, float]:
        """`time/...`, `device/...` and `host/...` of the step that has ended, and of the save before it."""
        return {**self.clock.take(), "time/save_write_s": self.saving.write_seconds, **telemetry.machine_metrics()}

    def should_stop(self) -> bool:
        """Whether a signal asked the run, on any of its hosts, to save and end."""
        return self.hosts.any("stop", self.signals.received)

    def write(self, record: StepRecord) -> None:
        """Writes a step's metrics and transcripts to their files, shows the metrics and logs new alerts."""
        self.saving.write(record)
        self.saving.check()
        self.progress.update(record.step, record.metrics)
        if not self.hosts.is_first:
            return
        for alert in self.watch.new_alerts(record.step, record.metrics):
            logging.warning("step %d, alert %s: %s", record.step, alert.name, alert)

    def must_save(self, record: StepRecord) -> bool:
        """Whether this step is saved: each `checkpoint.every` and `keep_every`, and the last before the run ends or
        stops.
        """
        last = self.should_stop() or record.step == self.config.steps or self._too_many_nonfinite(record)
        # A failure on one host counts for all: they save together.
        is_failing = self.hosts.any("failing", self.saving.is_failing)
        dues = (self.config.checkpoint.every, self.config.checkpoint.keep_every)
        return last or is_failing or any(due and record.step % due == 0 for due in dues)

    def save(
        self, state: TrainState, session: SessionState, record: StepRecord | None = None, last: bool = False
    ) -> None:
        """One atomic save of all that the next step depends on; `record` is the step's, for its score.

        A save that fails is tried again after each step; only the `last` one of a run must succeed.
        """
        with self.phase("save"):
            last = last or self.should_stop() or session.step >= self.config.steps
            saved = session.to_json(self.elapsed_s)
            self.saving.save(session.step, state, saved, record.metrics if record else {}, must_succeed=last)

    def save_and_say(self, state: TrainState, session: SessionState) -> None:
        """Saves a run that a signal or a stall ends, unless there is nothing to save, and prints how to resume."""
        if session.scores_before is None:
            self.progress.message(f"stopped before the first save; the same command begins {self.workdir} anew")
            return
        self.save(state, session, last=True)
        self.progress.message(f"saved at step {session.step}; the same command resumes {self.workdir}")

    def check_updates(self, record: StepRecord) -> None:
        """Raises RuntimeError when more updates were skipped than `learner.max_nonfinite_updates` allows."""
        if self._too_many_nonfinite(record):
            raise RuntimeError(
                f"learner: {record.metrics['ppo/skipped_updates']:.0f} updates had a loss or gradient that is not"
                f" finite, more than learner.max_nonfinite_updates={self.config.learner.max_nonfinite_updates}; step"
                f" {record.step} is saved: lower learner.lr and resume with --allow_config_change"
            )

    def _too_many_nonfinite(self, record: StepRecord) -> bool:
        return record.metrics["ppo/skipped_updates"] > self.config.learner.max_nonfinite_updates


def load_heldout(config: Config) -> list[heldout.HeldoutProblem]:
    """The problems of `evaluation.heldout`.

    Raises:
      FileNotFoundError, ValueError: no such file, a line that is no problem, a language that the run does not have.
    """
    settings = config.evaluation
    problems = heldout.load(settings.heldout, settings.heldout_limit) if settings.heldout else []
    heldout.check_languages(config, problems)
    return problems


def load_examples(config: Config) -> worked.Examples:
    """The worked examples of the run's prompts; none if it names no file.

    Raises:
      FileNotFoundError, ValueError: no such file, a line that is no problem, a language without examples of a type.
    """
    path = config.selfplay.worked_examples
    examples = worked.by_language(heldout.load(path, key="selfplay.worked_examples")) if path else {}
    for language in config.languages if path else ():
        for kind in TASK_TYPES:
            if kind not in examples.get(language, {}):
                raise ValueError(
                    f"selfplay.worked_examples={path!r}: has no {kind} problem in {language}; it needs one of each type"
                    " in every language of the run"
                )
    return examples


@contextlib.contextmanager
def open_run(
    config: Config, workdir: str, allow_config_change: bool = False, hosts: Hosts | None = None
) -> Iterator[OpenRun]:
    """Checks the workdir, builds the engine and starts the pools; closes all at the end.

    Every one of several `hosts` opens the run; only the first writes its files, except saves.

    Raises:
      ValueError: a workdir of another run or in use, settings that differ from its own, files that do not fit.
      FileNotFoundError: no model, tokenizer or problems file, with what to do.
      RuntimeError: an interpreter or a sandbox feature is missing, with what to install.
    """
    hosts = hosts or Hosts()
    check_best_metric(config)
    checkpoint.open_on_all_hosts(workdir, config, allow_config_change, hosts)
    languages = run_languages(config)
    heldout_problems, examples, problems = load_heldout(config), load_examples(config), load_problems(config)
    engine = open_engine(config)
    with contextlib.ExitStack() as stack:
        benchmarks = stack.enter_context(Benchmarks.open(config))
        learner, sampler = engine.learner(config), engine.sampler(config.sampler)
        if hosts.is_first:
            stack.enter_context(checkpoint.held(workdir))
        pools = {name: stack.enter_context(open_pool(config, own)) for name, own in languages.items()}
        progress = Progress(config.steps, None if hosts.is_first else Console(quiet=True))
        signals = Signals(progress.message, agreed=hosts.are_many)
        shared = SharedPools(pools, hosts, lambda: signals.must_cut) if hosts.are_many else None
        player = Player(config, sampler, engine.tokenizer, languages, pools, shared, examples, problems)
        check_problems(player)
        player.show = progress.detail
        heldout_tasks = heldout.tasks(player, heldout_problems)
        saves, mirror, writers = _open_workdir(config, workdir, hosts, stack)
        saves.check_space(learner.abstract_state)
        if hosts.is_first:
            checkpoint.note_start(workdir, config)
        stack.enter_context(progress)
        devices = f"{engine.mesh.devices.size} x {engine.mesh.devices.flat[0].device_kind}"
        if hosts.is_first:
            sizes = lambda: {"devices": devices, "slots": sampler.slots or config.sampler.slots}  # noqa: E731
            every_s = _PUSHED_EVERY_S if "://" in workdir else _WRITTEN_EVERY_S
            where = Whereabouts(mirror.local, sizes, every_s, lambda: mirror.push((PROGRESS_FILE,)))
            progress.note = where.note
        progress.message(
            f"{config.model.path} learns {', '.join(config.languages)} in {workdir} on {devices},"
            f" {config.sampler.slots or 'as many as fit'} slots"
        )
        for remark in remarks(config):
            progress.message(remark)
        stack.enter_context(signals)
        stack.callback(stall.ended)
        yield OpenRun(
            config=config,
            workdir=mirror.local,
            engine=engine,
            learner=learner,
            player=player,
            heldout_tasks=heldout_tasks,
            benchmarks=benchmarks,
            saves=saves,
            writers=writers,
            mirror=mirror,
            saving=Saving(saves, writers, mirror, progress.message, config.checkpoint.best_metric, hosts),
            progress=progress,
            watch=Watch(config),
            signals=signals,
            hosts=hosts,
            clock=telemetry.StepClock(),
            allow_config_change=allow_config_change,
        )


def _open_workdir(
    config: Config, workdir: str, hosts: Hosts, stack: contextlib.ExitStack
) -> tuple[checkpoint.Manager, Mirror, metrics.Writers]:
    """Opens saves, mirror and metric writers of the workdir."""
    keep, keep_every = config.checkpoint.keep, config.checkpoint.keep_every
    saves = stack.enter_context(checkpoint.Manager(workdir, keep, keep_every, json.loads(config.to_json())))
    mirror = Mirror(workdir)
    if hosts.is_first:
        mirror.fetch()
    writing = config.metrics if hosts.is_first else dataclasses.replace(config.metrics, wandb=False)
    return saves, mirror, stack.enter_context(metrics.Writers(mirror.local, writing, config.to_json()))
