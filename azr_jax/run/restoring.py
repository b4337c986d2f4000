"""How a run begins: from its newest save, or fresh from its starting model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from absl import logging

from azr_jax.learner.state import TrainState
from azr_jax.loop.tasks import starting_buffers
from azr_jax.run.opened import OpenRun
from azr_jax.run.session import SessionState
from azr_jax.selfplay.buffers import Buffers
from azr_jax.workdir import json_lines
from azr_jax.workdir.files import REPORT_FILE, SEEDING_FILE


def restore(run: OpenRun) -> tuple[TrainState, SessionState]:
    """The states of the newest save, or those of a fresh start; metrics of later steps are deleted.

    Raises:
      ValueError: a save of a later step than `steps`, or one that is not what this version saves, or one of a run that
        drew from other problems, unless a change of settings is allowed, or one whose buffers are of another kind.
      FileNotFoundError: a fresh start without weights, with the command that downloads them.
    """
    newest = max(run.hosts.first("saves", run.saves.steps), default=None)
    if newest is not None and newest > run.config.steps:
        raise ValueError(
            f"steps={run.config.steps}: {run.workdir} has a save of step {newest} already; set steps to at least"
            " that, or choose another --workdir"
        )
    restored = None
    if newest is not None:
        restored = run.saves.restore(run.learner.abstract_state, run.learner.shardings, newest)
    if restored is None:
        session = SessionState(0, starting_buffers(run.config, run.player), problems=run.player.problems.digest)
        if run.hosts.is_first:
            run.writers.truncate_after(-1)
            json_lines.keep_until(run.workdir / SEEDING_FILE, 0)
        return run.learner.init(run.engine.load_params()), session
    step, state, saved = restored
    canonical = {name: language.canonical_program for name, language in run.player.languages.items()}
    try:
        session = SessionState.from_json(step, saved, canonical, run.config.selfplay.buffer_capacity)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{run.saves.directory / str(step)}: its host item is not what this version of azr_jax saves"
            f" ({error!r}); resume with the version that made it, or delete it to go on from an older save"
        ) from error
    session = _with_problems(run, session)
    _check_buffers(run, session.buffers)
    if run.hosts.is_first:
        run.writers.truncate_after(step if session.unfinished is None else step - 1)
        json_lines.keep_until(run.workdir / SEEDING_FILE, session.seeding_rounds)
        if step < run.config.steps:
            run.mirror.forget(REPORT_FILE)  # of a run of fewer steps: tpu.sh would take the run for finished
    run.progress.message(f"resumed {run.workdir} at step {step}")
    return state, session


def _with_problems(run: OpenRun, session: SessionState) -> SessionState:
    """The session with the digest of the run's problems, which have to be those of the save."""
    digest = run.player.problems.digest
    if digest != session.problems and not run.allow_config_change:
        raise ValueError(
            f"problems.path={run.config.problems.path!r}: its problems are not those that {run.workdir} was started"
            " with; put that file back, choose another --workdir, or accept the change with --allow_config_change"
        )
    return dataclasses.replace(session, problems=digest)


def _check_buffers(run: OpenRun, buffers: Buffers) -> None:
    """Raises ValueError for settings that the saved buffers do not have and cannot get (`--allow_config_change`)."""
    settings = run.config.selfplay
    for language in run.config.languages:
        for key, saved, asked in (
            ("buffers", buffers[language].apart, settings.buffers == "apart"),
            ("duplicates", buffers[language].duplicates, settings.duplicates == "allow"),
        ):
            if saved != asked:
                raise ValueError(
                    f"selfplay.{key}={getattr(settings, key)!r}: {run.workdir} has buffers of another kind, which can't"
                    " be changed; set it back, or begin a new run in another --workdir"
                )


def resting(run: OpenRun, state: TrainState) -> Callable[[TrainState], TrainState]:
    """A function that moves a TrainState to its place while sampling (`mesh.resting_state`); donates its argument.

    With "auto" that is host memory if the sampler's slots do not fit beside `state`.
    """
    where = run.config.mesh.resting_state
    on_host = where == "host" or (where == "auto" and run.player.sampler.state_must_leave(state))
    logging.info("while sampling the learner's state is in %s memory", "host" if on_host else "device")
    return run.learner.rest if on_host else lambda state: state
