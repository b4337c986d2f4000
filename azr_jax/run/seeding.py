"""Seeding: rounds of proposals that fill the buffers before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import logging

from azr_jax.loop import stages
from azr_jax.loop.record import StepRecord, seeding_record
from azr_jax.monitor.alerts import alerts
from azr_jax.run.opened import OpenRun
from azr_jax.run.session import SessionState
from azr_jax.workdir import json_lines
from azr_jax.workdir.files import SEEDING_FILE
from azr_jax.workdir.mirror import Mirror


def seed(run: OpenRun, params: Any, session: SessionState) -> SessionState:
    """Plays one more round; SIGTERM may cut it short.

    Raises:
      RuntimeError: `selfplay.seed_rounds` rounds did not fill the buffers.
    """
    missing = stages.seeds_missing(run.config, session.buffers)
    check_rounds(run.config.selfplay.seed_rounds, session.seeding_rounds, missing)
    title = f"seed {missing['triplets']} triplets, {missing['problems']} problems to go"
    with run.phase("seed", title), run.interruptible():
        number = session.seeding_rounds + 1
        played = stages.seeding_round(run.config, run.player, params, session.buffers, number)
        session = session.seeded(played.buffers)
    if run.hosts.is_first:
        record = seeding_record(number, played, run.config.metrics.transcripts_per_step)
        write_round(run.mirror, record)
        for alert in alerts(record.metrics, run.config):
            logging.warning("seeding round %d, alert %s: %s", number, alert.name, alert)
    return session


def write_round(mirror: Mirror, record: StepRecord) -> None:
    """Appends a round to seeding.jsonl, in a bucket too; a failure is logged as an error and the run goes on."""
    try:
        json_lines.append(mirror.local / SEEDING_FILE, [{"step": record.step, **record.to_json()}])
        mirror.push((SEEDING_FILE,))
    except OSError as error:
        logging.error("seeding round %d is not in %s: %s", record.step, SEEDING_FILE, error)


def check_rounds(allowed: int, done: int, missing: Mapping[str, int]) -> None:
    """Raises RuntimeError when as many rounds are done as are allowed."""
    if done >= allowed:
        raise RuntimeError(
            f"seeding: after selfplay.seed_rounds={allowed} rounds {missing['triplets']} triplets and"
            f" {missing['problems']} problems are missing; the model proposes too few valid programs: look at"
            f" the alerts and at its responses in the workdir's {SEEDING_FILE}, raise selfplay.seed_rounds, or lower"
            " selfplay.seed_triplets"
        )
