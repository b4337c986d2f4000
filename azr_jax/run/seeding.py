"""Seeding: rounds of proposals that fill the buffers before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azr_jax.loop import stages
from azr_jax.run.opened import OpenRun
from azr_jax.run.session import SessionState


def seed(run: OpenRun, params: Any, session: SessionState) -> SessionState:
    """One more round; SIGTERM may cut it short.

    Raises:
      RuntimeError: `selfplay.seed_rounds` rounds did not fill the buffers.
    """
    missing = stages.seeds_missing(run.config, session.buffers)
    check_rounds(run.config.selfplay.seed_rounds, session.seeding_rounds, missing)
    title = f"seed {missing['triplets']} triplets, {missing['problems']} problems to go"
    with run.phase("seed", title), run.interruptible():
        played = stages.seeding_round(run.config, run.player, params, session.buffers, session.seeding_rounds + 1)
        return session.seeded(played.buffers)


def check_rounds(allowed: int, done: int, missing: Mapping[str, int]) -> None:
    """Raises RuntimeError when as many rounds are done as are allowed."""
    if done >= allowed:
        raise RuntimeError(
            f"seeding: after selfplay.seed_rounds={allowed} rounds {missing['triplets']} triplets and"
            f" {missing['problems']} problems are missing; the model proposes too few valid programs: raise"
            " selfplay.seed_rounds, lower selfplay.seed_triplets, or look at its responses"
        )
