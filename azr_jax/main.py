"""Self-play training: `python -m azr_jax.main --config=configs/racket.py --workdir=runs/racket`.

The same command again resumes. `train()` is the algorithm; loop/stages.py has its stages, run/opened.py what a run
holds open, run/session.py the state that a step depends on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import config_flags

from azr_jax.config import Config, from_mapping
from azr_jax.devices import prepare
from azr_jax.flags import parse_flags
from azr_jax.model.hub import check_path
from executors.interruption import exit_with

if TYPE_CHECKING:
    from azr_jax.run.opened import OpenRun

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, such as configs/racket.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run is kept; default: runs/NAME of the config file.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address", "", "HOST:PORT of the first of several hosts; a TPU's environment has it."
)
_PROCESSES = flags.DEFINE_integer("num_processes", 0, "Number of hosts, one process each.")
_PROCESS = flags.DEFINE_integer("process_id", -1, "Number of this host, from 0.")
_EXCHANGE_PORT = flags.DEFINE_integer("exchange_port", 0, "No longer needed: only the coordinator's port is used.")
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool("allow_config_change", False, "Resume although the settings differ.")


def train(run: OpenRun) -> None:
    """The whole run: score the starting model, seed, then steps of play, update, evaluation and saving.

    A step depends only on `state` and `session`. Work that a signal cuts short does not change them: the run saves
    them, and a resumed run does that work again.
    """
    from azr_jax.loop import stages  # imports jax: --help and errors in flags come before it
    from azr_jax.loop.interruption import Preempted
    from azr_jax.loop.learning import learn
    from azr_jax.loop.record import record_of
    from azr_jax.monitor.stall import StalledError
    from azr_jax.run import scoring
    from azr_jax.run.ending import finish, is_finished
    from azr_jax.run.restoring import resting, restore
    from azr_jax.run.seeding import seed

    config, player, learner = run.config, run.player, run.learner
    state, session = restore(run)
    if is_finished(run, session):
        return
    rest = resting(run, state)
    state = rest(state)
    try:
        if session.scores_before is None:
            with run.phase("evaluate"), run.interruptible():
                session = session.with_scores(scoring.score_before(run, state.params))
        if session.step == 0:
            while any(stages.seeds_missing(config, session.buffers).values()) and not run.should_stop():
                session = seed(run, state.params, session)
            run.save(state, session)
        while session.unfinished is not None or (session.step < config.steps and not run.should_stop()):
            scores = {}
            with run.measured(session.step if session.unfinished is not None else session.step + 1):
                if session.unfinished is None:
                    step = session.step + 1
                    with run.phase("play"):
                        with run.interruptible():
                            sources = (state.params, session.buffers, step, session.begun)
                            played = stages.play_step(config, player, *sources)
                        stages.check_infrastructure(config, played.clock)
                        scored = stages.score(config, played, session.rewards)
                        record = record_of(step, played, scored, player.languages, config.metrics.transcripts_per_step)
                        record = record.with_metrics(stages.reward_metrics(config, session.rewards, played.buffers))
                    with run.phase("update"):
                        pad_id = run.engine.tokenizer.pad_id
                        state, update_metrics = learn(config, learner, state, scored, step, pad_id)
                        state = rest(state)
                    rewards = stages.next_reward_state(config, played, session.rewards)
                    record = record.with_metrics(update_metrics)
                    session = session.after_update(played.buffers, rewards, record, played.begun)
                if scoring.is_due(config, session.step):
                    with run.phase("evaluate"), run.interruptible():
                        scores = scoring.score_step(run, state.params, session.step)
            record, session = session.finish({**scores, **run.measurements()})
            run.write(record)
            if run.must_save(record):
                run.save(state, session, record)
            run.check_updates(record)
        if run.should_stop():
            run.save_and_say(state, session)
            return
        with run.interruptible():
            finish(run, state, session)
    except Preempted:
        run.save_and_say(state, session)
    except StalledError:
        run.save_and_say(state, session)
        raise


def main(argv: Sequence[str]) -> None:
    """Reads flags and settings, then trains; an error that a user can fix ends the program with one message."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: settings are --config.KEY=VALUE")
    if _CONFIG.value is None:
        raise app.UsageError("--config is missing: name a configuration file, such as --config=configs/tiny.py")
    workdir = _WORKDIR.value or f"runs/{Path(_config_path()).stem}"
    try:
        config = from_mapping(_CONFIG.value.to_dict())
        _train(config, workdir)
    except (ValueError, RuntimeError, OSError) as error:
        if logging.get_verbosity() >= logging.DEBUG:
            raise
        sys.exit(f"error: {error}")


def _train(config: Config, workdir: str) -> None:
    check_path(config.model.path)  # before importing jax, making a workdir and looking for benchmark data
    prepare()
    from azr_jax.loop import interruption

    interruption.nothing_to_save()  # loading a large model takes minutes
    if _PROCESS.value <= 0:
        sys.stdout.write(f"{config.model.path}, {', '.join(config.languages)}, {workdir}: starting\n")
        sys.stdout.flush()
    from azr_jax.hosts import hosts
    from azr_jax.run.opened import open_run

    if _EXCHANGE_PORT.value:
        logging.warning("--exchange_port is no longer needed: only the port of --coordinator_address is used")
    joined = hosts.connect(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    with joined, open_run(config, workdir, _ALLOW_CONFIG_CHANGE.value, joined) as run:
        train(run)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    rest = parse_flags(argv, "azr_jax.main")
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = logging.WARNING  # app.run's INFO adds dozens of lines by Orbax for each save
    return rest


def _config_path() -> str:
    return config_flags.get_config_filename(flags.FLAGS["config"])


if __name__ == "__main__":
    exit_with(lambda: app.run(main, flags_parser=_parse_flags))
