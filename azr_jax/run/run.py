"""What one run is made of: model, sampler, learner, executor pools, checkpoints, metrics, progress, and its end."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from rich.console import Console

from azr_jax import checkpoint, report
from azr_jax.config import Config, located
from azr_jax.evaluation.scoring import heldout
from azr_jax.evaluation.scoring.benchmarks import Benchmarks
from azr_jax.hosts.hosts import Hosts
from azr_jax.learner import remat
from azr_jax.learner.state import TrainState
from azr_jax.learner.update import Learner, make_learner
from azr_jax.loop import stages
from azr_jax.loop.interruption import Preempted, Signals
from azr_jax.loop.play import Player
from azr_jax.loop.pools import SharedPools
from azr_jax.loop.record import StepRecord
from azr_jax.model import sharding, weights
from azr_jax.model.configuration import ModelConfig
from azr_jax.model.tokenizer import Tokenizer, load_tokenizer
from azr_jax.model.transformer import abstract
from azr_jax.monitor import telemetry
from azr_jax.monitor.alerts import Watch
from azr_jax.monitor.display import Progress
from azr_jax.run.interpreters import open_pool, run_languages, versions
from azr_jax.run.saving import Saving
from azr_jax.sampler.engine import Sampler
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.rewards import RewardState
from azr_jax.workdir import metrics
from azr_jax.workdir.files import REPORT_FILE, SUMMARY_FILE, ended_steps
from azr_jax.workdir.mirror import Mirror


@dataclasses.dataclass
class Run:
    """Everything a run holds open; made by `Run.open`."""

    config: Config
    workdir: Path
    model_config: ModelConfig
    tokenizer: Tokenizer
    params: Any
    learner: Learner
    player: Player
    saves: checkpoint.Manager
    writers: metrics.Writers
    mirror: Mirror
    saving: Saving
    progress: Progress
    benchmarks: Benchmarks
    watch: Watch
    signals: Signals
    hosts: Hosts = dataclasses.field(default_factory=Hosts)
    stopwatch: telemetry.Stopwatch = dataclasses.field(default_factory=telemetry.Stopwatch)
    restored_step: int = -1
    rests: bool | None = None  # whether the state leaves its devices while sampling; known once there is one
    seeding_rounds: int = 0
    reward_state: RewardState = dataclasses.field(default_factory=RewardState)
    before: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds_before: float = 0.0
    stopping: bool = False
    marked: tuple[int, TrainState, dict[str, Any]] | None = None
    unfinished: StepRecord | None = None
    started: float = dataclasses.field(default_factory=time.monotonic)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, config: Config, workdir: str, allow_config_change: bool = False, hosts: Hosts | None = None
    ) -> Iterator[Run]:
        """Checks the workdir, loads the model and starts the pools; closes all at the end.

        Every one of several `hosts` opens the run; the first alone writes its files, saves excepted.

        Raises:
          ValueError: a workdir of another run or in use, settings that differ from its own, files that do not fit.
          FileNotFoundError: no weights, tokenizer or problems file, with what to do.
          RuntimeError: an interpreter or a sandbox feature is missing, with what to install.
        """
        hosts = hosts or Hosts()
        checkpoint.open_on_all_hosts(workdir, config, allow_config_change, hosts)
        languages = run_languages(config)
        mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
        source = located(config.model.path)
        model_config, params = weights.load(source, mesh, jnp.float32)
        tokenizer = load_tokenizer(source, model_config)
        dtype = jnp.dtype(config.model.compute_dtype)
        graphdef, shapes = abstract(
            model_config,
            compute_dtype=dtype,
            remat=remat.choose(model_config, config.learner, config.model, mesh),
            attention_kernel=config.model.attention,
            mesh=mesh,
        )
        temperature = config.sampler.temperature
        learner = make_learner(graphdef, shapes, config.learner, mesh, temperature)
        sampler = Sampler(graphdef, model_config, tokenizer, config.sampler, mesh, dtype)
        with contextlib.ExitStack() as stack:
            benchmarks = stack.enter_context(Benchmarks.open(config))
            if hosts.is_first:
                stack.enter_context(checkpoint.held(workdir))
            pools = {name: stack.enter_context(open_pool(config, language)) for name, language in languages.items()}
            progress = Progress(config.steps, None if hosts.is_first else Console(quiet=True))
            signals = Signals(progress.message, agreed=hosts.are_many)
            shared = SharedPools(pools, hosts, lambda: signals.must_cut) if hosts.are_many else None
            player = Player(config, sampler, tokenizer, languages, pools, shared)
            settings = config.checkpoint
            saves = stack.enter_context(checkpoint.Manager(workdir, settings.keep, settings.keep_every))
            saves.check_space(learner.abstract_state)
            mirror = Mirror(workdir)
            if hosts.is_first:
                mirror.fetch()
            writing = config.metrics if hosts.is_first else dataclasses.replace(config.metrics, wandb=False)
            writers = stack.enter_context(metrics.Writers(mirror.local, writing, config.to_json()))
            stack.enter_context(progress)
            saving = Saving(saves, writers, mirror, progress.message, settings.best_metric, hosts)
            stack.enter_context(signals)
            run = cls(
                config,
                mirror.local,
                model_config,
                tokenizer,
                params,
                learner,
                player,
                saves,
                writers,
                mirror,
                saving,
                progress,
                benchmarks,
                Watch(config.monitoring),
                signals,
                hosts,
            )
            del params  # `restore` drops them
            yield run

    # State.

    def restore(self) -> tuple[TrainState, Buffers, int]:
        """(state, buffers, step) of the newest save, or a fresh start with step -1; the state at rest.

        Raises:
          ValueError: a save of a later step than `steps`, or one that is not what this version saves.
        """
        steps = self.hosts.first("saves", self.saves.steps)
        newest = max(steps, default=None)
        restored = None
        if newest is not None and newest > self.config.steps:
            raise ValueError(
                f"steps={self.config.steps}: {self.workdir} has a save of step {newest} already; set steps to at least"
                " that, or choose another --workdir"
            )
        if newest is not None:
            restored = self.saves.restore(self.learner.abstract_state, self.learner.shardings, newest)
        if restored is None:
            self._forget_after(-1)
            state = self.learner.init(self.params)
            self.params = None  # the state has its own; on a device these would be a third of it once more
            return self.rest(state), stages.starting_buffers(self.config, self.player), -1
        step, state, host = restored
        self.params = None
        self.restored_step = step
        try:
            buffers = self._take(step, host)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.saves.directory / str(step)}: its host item is not what this version of azr_jax saves"
                f" ({error!r}); resume with the version that made it, or delete it to go on from an older save"
            ) from error
        self._forget_after(step if self.unfinished is None else step - 1)
        if self.hosts.is_first and step < self.config.steps:
            self.mirror.forget(REPORT_FILE)  # of a run of fewer steps: tpu.sh takes it for the end
        self.progress.message(f"resumed {self.workdir} at step {step}")
        return self.rest(state), buffers, step

    def _take(self, step: int, host: Mapping[str, Any]) -> Buffers:
        """Takes over a save's counters; gives its buffers."""
        canonical = {name: language.canonical_program for name, language in self.player.languages.items()}
        buffers = Buffers.from_json(host["buffers"], canonical, self.config.selfplay.buffer_capacity)
        self.seeding_rounds, self.before, self.seconds_before = (
            host["seeding_rounds"],
            host["before"],
            host["seconds"],
        )
        self.reward_state = RewardState(**host["reward_state"])
        if host.get("unfinished") is not None:
            self.unfinished = StepRecord.from_json(step, host["unfinished"])
        return buffers

    def rest(self, state: TrainState) -> TrainState:
        """The state where it lies while sampling (`mesh.resting_state`); what was given may be gone afterwards."""
        where = self.config.mesh.resting_state
        if self.rests is None:
            self.rests = where == "host" or (where == "auto" and self.player.sampler.state_must_leave(state))
            logging.info("while sampling the learner's state rests on the %s", "host" if self.rests else "device")
        return self.learner.rest(state) if self.rests else state

    def _forget_after(self, step: int) -> None:
        if self.hosts.is_first:
            self.writers.truncate_after(step)

    def save(self, step: int, state: TrainState, buffers: Buffers, record: StepRecord | None = None) -> None:
        """One atomic save of all that the next step depends on; `record` is the step's, for its score.

        A save that fails is tried again after each step; only the last one of a run must succeed.
        """
        self.phase("save")
        last = self.should_stop() or step >= self.config.steps
        self.saving.save(step, state, self._host(buffers), record.metrics if record else {}, must_succeed=last)

    def _host(self, buffers: Buffers, unfinished: StepRecord | None = None) -> dict[str, Any]:
        return {
            "unfinished": None if unfinished is None else unfinished.to_json(),
            "buffers": buffers.to_json(),
            "seeding_rounds": self.seeding_rounds,
            "reward_state": dataclasses.asdict(self.reward_state),
            "before": self.before,
            "seconds": self._seconds(),
        }

    def mark(self, step: int, state: TrainState, buffers: Buffers, unfinished: StepRecord | None = None) -> None:
        """Notes what a SIGTERM saves from here to the next update, which changes the state in place.

        `unfinished` is the record of this step while its evaluation is missing: a resumed run does that first.

        Raises:
          Preempted: a signal came before there was anything to cut.
        """
        if self.config.checkpoint.cut_steps:
            self.marked = (step, state, self._host(buffers, unfinished))
            self._allow_cut()

    def _allow_cut(self) -> None:
        self.signals.may_cut = True
        if self.hosts.any("cut", self.signals.received):
            raise Preempted

    def phase(self, name: str) -> None:
        """What the run does from now on: shown, and timed under the name's first word."""
        if name in ("update", "save"):
            self.signals.may_cut = False
        self.progress.phase(name)
        self.stopwatch.start(name.split()[0])

    def save_marked(self) -> None:
        """Saves the state before the work that a SIGTERM cut short, and says how to resume."""
        if self.marked is not None:
            step, state, host = self.marked
            self.phase("save")
            self.saving.save(step, state, host, {}, must_succeed=True)
        saved = self.saves.steps()
        if saved:
            self._say_stopped(saved[-1])
        else:
            self.progress.message(f"stopped before the first save; the same command begins {self.workdir} anew")

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    # Seeding and steps.

    def next_seeding_round(self, missing: Mapping[str, int]) -> None:
        """Counts a round and shows what is missing.

        Raises:
          RuntimeError: `selfplay.seed_rounds` rounds did not fill the buffers.
        """
        if self.seeding_rounds == self.config.selfplay.seed_rounds:
            raise RuntimeError(
                f"seeding: after selfplay.seed_rounds={self.seeding_rounds} rounds {missing['triplets']} triplets and"
                f" {missing['problems']} problems are missing; the model proposes too few valid programs: raise"
                " selfplay.seed_rounds, lower selfplay.seed_triplets, or look at its responses"
            )
        self.seeding_rounds += 1
        self.phase(f"seed {missing['triplets']} triplets, {missing['problems']} problems to go")

    @contextlib.contextmanager
    def measured_step(self, step: int, unfinished: StepRecord | None = None) -> Iterator[StepRecord]:
        """A record that the step fills; its times are the step's, `time/save_s` how long the save before it held it.

        `unfinished` goes on being filled, with the times of what was still missing.
        """
        times = {"play": 0.0, "update": 0.0, "evaluate": 0.0, "save": self.stopwatch.take().get("save", 0.0)}
        record = unfinished or StepRecord(step, self.config.metrics.transcripts_per_step)
        started, cpu_started = time.monotonic(), time.process_time()
        profile_steps = self.config.monitoring.profile_steps if self.hosts.is_first else ()
        with telemetry.profiled(step, profile_steps, self.workdir):
            self.phase("play")
            yield record
            times |= self.stopwatch.take()
        cpu_s = time.process_time() - cpu_started
        record.update({"time/step_s": time.monotonic() - started, "time/cpu_s": cpu_s})
        record.update({f"time/{name}_s": seconds for name, seconds in times.items()})
        record.update({"time/save_write_s": self.saving.write_seconds})
        record.update(telemetry.device_metrics(jax.local_devices()) | telemetry.host_metrics())

    def check_infrastructure(self) -> None:
        """Raises RuntimeError when the executors themselves failed on too large a share of the step's programs."""
        clock, most = self.player.clock, self.config.executor.max_infrastructure_share
        if clock.programs and clock.infrastructure / clock.programs > most:
            raise RuntimeError(
                f"executors: {clock.infrastructure} of {clock.programs} programs failed for infrastructure, more than"
                f" executor.max_infrastructure_share={most}; run `python -m executors doctor`"
            )

    def write(self, record: StepRecord) -> None:
        """Metrics and transcripts of a step to their files and onto the display; what is off, into the log."""
        self.saving.write(record)
        self.saving.check()
        self.progress.update(record.step, record.metrics)
        if not self.hosts.is_first:
            return
        for alert in self.watch.new_alerts(record.step, record.metrics):
            logging.warning("step %d, alert %s: %s", record.step, alert.name, alert)

    def should_stop(self) -> bool:
        """Whether a signal asked the run, on any of its hosts, to save and end."""
        self.stopping = self.stopping or self.hosts.any("stop", self.signals.received)
        return self.stopping

    def must_save(self, record: StepRecord) -> bool:
        """Whether this step is saved: each `checkpoint.every`, and the last before an end of whatever kind."""
        settings = self.config
        last = self.should_stop() or record.step == settings.steps or self._too_many_nonfinite(record)
        # A failure that only one host has noted yet is one of all: they save together.
        is_failing = self.hosts.any("failing", self.saving.is_failing)
        return last or is_failing or record.step % settings.checkpoint.every == 0

    def _too_many_nonfinite(self, record: StepRecord) -> bool:
        return record.metrics["ppo/skipped_updates"] > self.config.learner.max_nonfinite_updates

    def check_updates(self, record: StepRecord) -> None:
        """Raises RuntimeError when more updates were skipped than `learner.max_nonfinite_updates` allows."""
        if self._too_many_nonfinite(record):
            raise RuntimeError(
                f"learner: {record.metrics['ppo/skipped_updates']:.0f} updates had a loss or gradient that is not"
                f" finite, more than learner.max_nonfinite_updates={self.config.learner.max_nonfinite_updates}; step"
                f" {record.step} is saved: lower learner.lr and resume with --allow_config_change"
            )

    def stop_early(self, step: int, state: TrainState, buffers: Buffers) -> bool:
        """Whether a signal ended the run at this step; then it is saved, unless it is so already."""
        if self.stopping:
            self.save(step, state, buffers)
            self._say_stopped(step)
        return self.stopping

    def _say_stopped(self, step: int) -> None:
        self.progress.message(f"saved at step {step}; the same command resumes {self.workdir}")

    # Evaluation and end.

    def score_before(self, state: TrainState) -> None:
        """Scores the starting model on the held-out problems and the benchmarks, once in a run."""
        if self.config.checkpoint.cut_steps:
            self._allow_cut()  # nothing is lost: there is no save before this
        settings = self.config.evaluation
        if settings.heldout:
            self.before = self._heldout(state, "before")
        if settings.benchmarks and settings.benchmark_base_prompt != "none":
            prompt = settings.benchmark_base_prompt
            scores = self.benchmarks.score(self.player.sampler, state.params, self.hosts, prompt)
            self.before |= {"benchmarks": scores}

    def evaluate_if_due(self, step: int, state: TrainState, buffers: Buffers, record: StepRecord) -> None:
        """Adds the scores after this step to its record; a SIGTERM meanwhile saves the step and its record so far."""
        every = self.config.evaluation.every
        if every and step % every == 0 and step < self.config.steps:
            self.mark(step, state, buffers, record)
            record.update(self._evaluate(state, f"eval/{step}"))
            self.signals.may_cut = False

    def _evaluate(self, state: TrainState, name: str) -> dict[str, float]:
        """`eval/heldout/...` metrics of the current weights, and `eval/BENCHMARK/LANGUAGE/...`."""
        result = {}
        for mode, counts in self._heldout(state, name).items():
            result |= heldout.metrics(counts, f"eval/heldout/{mode}")
        return result | self.benchmarks.score(self.player.sampler, state.params, self.hosts)

    def _heldout(self, state: TrainState, name: str) -> dict[str, Any]:
        settings = self.config.evaluation
        if not settings.heldout:
            return {}
        self.phase("evaluate")
        problems = heldout.load(settings.heldout, settings.heldout_limit)
        temperature = self.config.sampler.eval_temperature
        greedy = heldout.solve_all(self.config, self.player, state.params, problems, temperature, "heldout")
        counts = heldout.count_languages(greedy, "greedy")
        if settings.temperature_samples:
            several = problems * settings.temperature_samples
            sampled = heldout.solve_all(self.config, self.player, state.params, several, 1.0, f"heldout/{name}")
            counts |= heldout.count_languages(sampled, "sampled")
        return counts

    def finish(self, state: TrainState) -> None:
        """Scores the final model, exports it, and writes summary.json and report.html; a run finished before stays."""
        if self.restored_step == self.config.steps and self.hosts.first("ended", self._ended):
            self._say_result(
                f"{self.workdir} has all its {self.config.steps} steps: raise --config.steps to go on, or choose"
                " another --workdir\n"
            )
            return
        self.marked = None  # all is saved: a SIGTERM ends at once, and the same command does the rest
        if self.config.checkpoint.cut_steps:
            self._allow_cut()
        after = self._heldout(state, "after")
        scores = self.benchmarks.score(self.player.sampler, state.params, self.hosts)
        try:
            self._write_end(state, after, scores)
        except OSError as error:
            raise OSError(
                f"{self.workdir}: the run's export and report can't be written ({error}); free space there or make it"
                f" writable, then run the same command again: it goes on from step {self.config.steps}, which is saved"
            ) from error
        self._say_result()

    def _say_result(self, before: str = "") -> None:
        if self.hosts.is_first:
            self.progress.message(before + report.summary_text(self.workdir))

    def _ended(self) -> bool:
        """Whether the export, summary and report of a run of these steps are there."""
        try:
            return ended_steps(self.workdir) == self.config.steps
        except ValueError as error:
            logging.warning("%s; it is made again now", error)
            return False

    def _write_end(self, state: TrainState, after: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """The export, summary.json and report.html."""
        if self.config.checkpoint.export_at_end:
            self.phase("export")
            source = located(self.config.model.path)
            weights.save(self.workdir / "export", self.model_config, state.params, source)
        if not self.hosts.is_first:
            return
        summary = {
            "steps": self.config.steps,
            "seconds": round(self._seconds(), 1),
            "heldout_before": self.before.get("greedy", {}),
            "heldout_after": after.get("greedy", {}),
            "heldout_before_sampled": self.before.get("sampled", {}),
            "heldout_after_sampled": after.get("sampled", {}),
            "heldout_languages": {
                name: {"before": self.before.get(name, {}), "after": counts}
                for name, counts in after.items()
                if "/" in name
            },
            "benchmarks_before": self.before.get("benchmarks", {}),
            "benchmarks_after": scores,
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seeding_rounds": self.seeding_rounds,
            "versions": versions(self.player.languages),
        }
        # The report comes last and tells a later start that nothing is missing.
        (self.workdir / REPORT_FILE).unlink(missing_ok=True)
        (self.workdir / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
        report.write([self.workdir], self.workdir / REPORT_FILE)
        self.mirror.push((metrics.METRICS_FILE, metrics.TENSORBOARD, "export", "figures", SUMMARY_FILE, REPORT_FILE))
