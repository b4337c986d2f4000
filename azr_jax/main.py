"""Self-play training: `python -m azr_jax.main --config=configs/racket.py --workdir=runs/racket`.

The same command again resumes. `train()` is the loop; what its stages do is in stages.py, what they run on in run.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags, logging
from ml_collections import config_flags

from azr_jax.config import Config, from_mapping
from azr_jax.flags import parse_flags, take_device_memory

if TYPE_CHECKING:
    from azr_jax.run.run import Run

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, such as configs/racket.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run is kept; runs/NAME of the config file when not given.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address", "", "HOST:PORT of the first of several hosts; a TPU's environment says it by itself."
)
_PROCESSES = flags.DEFINE_integer("num_processes", 0, "How many hosts there are, one process each.")
_PROCESS = flags.DEFINE_integer("process_id", -1, "Which of them this one is, from 0.")
_EXCHANGE_PORT = flags.DEFINE_integer("exchange_port", 0, "No longer needed: only the coordinator's port is used.")
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool("allow_config_change", False, "Resume although the settings differ.")


def train(run: Run) -> None:
    """The whole run: seed, then steps of propose, validate, estimate, solve, check, update, save, evaluate."""
    from azr_jax.loop import stages

    config, player, learner = run.config, run.player, run.learner
    state, buffers, step = run.restore()
    if step < 0:
        run.score_before(state)
    if step <= 0:
        while not run.should_stop() and any((missing := stages.seeds_missing(config, buffers)).values()):
            run.mark(0, state, buffers)
            run.next_seeding_round(missing)
            stages.seeding_round(config, player, state.params, buffers, run.seeding_rounds)
        step = 0
        run.save(step, state, buffers)
    if run.unfinished is not None:
        with run.measured_step(step, run.unfinished) as record:
            run.evaluate_if_due(step, state, buffers, record)
        run.write(record)
        run.save(step, state, buffers, record)
    while step < config.steps and not run.should_stop():
        run.mark(step, state, buffers)
        step += 1
        with run.measured_step(step) as record:
            played = stages.play_step(config, player, state.params, buffers, step)
            scored = stages.score(config, played, run.reward_state)
            record.update(stages.reward_metrics(config, run.reward_state))
            run.reward_state = stages.next_reward_state(config, played, run.reward_state)
            run.check_infrastructure()
            record.play(played, scored, buffers, player.clock, player.languages)
            run.phase("update")
            state, update_metrics = stages.learn(config, learner, state, scored, step, run.tokenizer.pad_id)
            state = run.rest(state)
            record.update(update_metrics)
            run.evaluate_if_due(step, state, buffers, record)
        run.write(record)
        if run.must_save(record):
            run.save(step, state, buffers, record)
        run.check_updates(record)
    if run.stop_early(step, state, buffers):
        return
    run.finish(state)


def train_or_save(run: Run) -> None:
    """The run, to its end or to a SIGTERM that cuts a step short: then the state before that is saved."""
    from azr_jax.loop.interruption import Preempted

    try:
        train(run)
    except Preempted:
        run.save_marked()


def main(argv: Sequence[str]) -> None:
    """Reads flags and settings, then trains; errors a user can mend end the program with one message."""
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
    take_device_memory()  # jax meets the devices as the run is opened
    from azr_jax.loop import interruption as preemption

    preemption.nothing_to_save()  # loading a large model takes minutes
    from azr_jax.hosts import hosts
    from azr_jax.run.run import Run  # imports jax: --help and settings errors come before it

    if _EXCHANGE_PORT.value:
        logging.warning("--exchange_port is no longer needed: only the port of --coordinator_address is used")
    joined = hosts.connect(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    with joined, Run.open(config, workdir, _ALLOW_CONFIG_CHANGE.value, joined) as run:
        train_or_save(run)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    rest = parse_flags(argv, "azr_jax.main")
    if flags.FLAGS["verbosity"].using_default_value:
        flags.FLAGS.verbosity = logging.WARNING  # app.run would take INFO, Orbax's dozens of lines a save with it
    return rest


def _config_path() -> str:
    return config_flags.get_config_filename(flags.FLAGS["config"])


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
