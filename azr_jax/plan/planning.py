"""A plan, from its configuration to its tables: the simulated step, the compiled programs, the verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from absl import logging

from azr_jax.config import Config
from azr_jax.plan import chips
from azr_jax.workdir.settings import reading


def make_plan(
    config: Config, topology: str, say: Callable[[str], None], lengths: str = "", compiles: bool = True
) -> dict[str, Any]:
    """The object of --json; `say` is called with each part of the text. Call it after `chips.configure()`.

    Raises:
      ValueError: an unknown topology or model, invalid lengths, a mesh that does not divide, slots that do not
        split over it.
      OSError: lengths of a run in a bucket that can't be read.
    """
    # jax is imported here and below: its import depends on `chips.configure`.
    from azr_jax.plan import build, sharing, simulation, suggest, table, verdict
    from azr_jax.plan import lengths as response_lengths
    from azr_jax.plan.compiled import compile_program

    _, chip, _ = chips.parse(topology)
    with reading(lengths):
        drawn = response_lengths.parse(lengths, config.sampler.max_response_tokens, config.sampler.max_prompt_tokens)
    model, devices = build.model_config(config), build.topology_devices(topology)
    plan = build.setup(config, model, devices, chip.hbm_gib)
    shared = sharing.share(plan, chip.hbm_gib)
    say(table.memory_text(topology, plan, shared, chip))
    say(table.reach_text(plan, shared))
    own = config.selfplay.solver_tasks
    orders = sorted(simulation.SOLVER_TASKS, key=lambda name: name != own)
    steps = {}
    if shared.slots and not compiles and verdict.problems([], shared, chip):
        say(table.verdict_text([], shared, chip))
        return verdict.as_json(topology, plan, shared, chip, [], {})
    if shared.slots:
        steps = {name: simulation.step(plan, shared, chip, drawn, name, simulation.SEEDS) for name in orders}
        other = 1 - config.pipeline.lag
        pipeline = dataclasses.replace(config.pipeline, lag=other)
        lagged = dataclasses.replace(plan, config=dataclasses.replace(plan.config, pipeline=pipeline))
        steps[f"lag {other}"] = simulation.step(lagged, shared, chip, drawn, own, simulation.SEEDS)
        say(table.step_text(plan, chip, drawn, steps))
    say(table.choices_text(suggest.choices(config, model, devices, chip, drawn, own), plan, shared))
    programs = []
    if compiles:
        compiled = {}
        for name, lowered in build.lowered(plan, shared.tiers or ((plan.sampler.parts, plan.sampler.max_length),)):
            compiled[name] = compile_program(lowered)
            logging.info("%s compiled in %.0f s", name, compiled[name].seconds)
        programs = verdict.programs(plan, shared, compiled)
        say(table.programs_text(plan, shared, chip, programs))
        say(table.collectives_text(programs, chip))
    say(table.verdict_text(programs, shared, chip))
    return verdict.as_json(topology, plan, shared, chip, programs, steps)
