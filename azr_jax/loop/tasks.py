"""The tasks of a step for proposers and solvers, drawn from the buffers.

Randomness is derived from (seed, step, purpose) and task ids name the step, so a resumed step asks the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import logging

from azr_jax.config import Config
from azr_jax.loop.play import Player
from azr_jax.selfplay import problems, prompts, worked
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.composite import given_function
from azr_jax.selfplay.randomness import stream
from azr_jax.selfplay.ring import draw_rule
from azr_jax.types import TASK_TYPES, Role, Task, TaskType, Triplet


def starting_buffers(config: Config, player: Player) -> Buffers:
    """Buffers with nothing but each language's identity triplet.

    Raises:
      ValueError: `sampler.max_prompt_tokens` is too small for a proposer's shortest prompt, so that nothing can begin.
    """
    canonical = {name: language.canonical_program for name, language in player.languages.items()}
    apart, duplicates = config.selfplay.buffers == "apart", config.selfplay.duplicates == "allow"
    buffers = Buffers.empty(config.selfplay.buffer_capacity, canonical, apart, duplicates)
    for name, language in player.languages.items():
        identity = Triplet(name, language.identity, language.identity_input, language.identity_output)
        buffers[name].add_triplet(identity, new_for=())
        for kind in TASK_TYPES:
            source = identity if kind is TaskType.INDUCTION else None
            if not player.fits(_proposer_task(config, player, "shortest", name, kind, source, ()).prompt_ids):
                raise ValueError(
                    f"sampler.max_prompt_tokens={config.sampler.max_prompt_tokens}: the shortest prompt of the {kind}"
                    f" proposer in {name} is longer; raise it"
                )
    return buffers


def proposer_tasks(
    config: Config, player: Player, buffers: Buffers, name: str, types: Sequence[TaskType], composite: float = 0.0
) -> list[Task]:
    """`batch_per_task` tasks of each type, over languages by their weights; a prompt that is too long loses references.

    `composite`: the share of deduction and abduction tasks that are given a function (composite.py).
    """
    rng, chance = stream(config.seed, 0, f"{name}/propose"), stream(config.seed, 0, f"{name}/composite")
    tasks = []
    for kind in types:
        drawn = rng.choices(config.languages, config.language_weights, k=config.selfplay.batch_per_task)
        for number, language in enumerate(drawn):
            if kind is TaskType.INDUCTION:
                source, references = buffers[language].draw_program(rng), ()
            else:
                references = buffers[language].references(config.selfplay.references, rng, kind)
                build = chance.random() < composite
                source = _given(player, language, buffers[language].draw_program(chance)) if build else None
            task_id = f"{name}/propose/{kind}/{number}"
            tasks.append(_proposer_task(config, player, task_id, language, kind, source, references))
    return _fitting(player, tasks)


def _given(player: Player, language: str, earlier: Triplet) -> Triplet | None:
    """The earlier program with its function named g, or None if that can't be done."""
    program = given_function(player.languages[language], earlier.program)
    return None if program is None else dataclasses.replace(earlier, program=program)


def _proposer_task(
    config: Config,
    player: Player,
    task_id: str,
    language: str,
    kind: TaskType,
    source: Triplet | None,
    references: Sequence[Triplet],
) -> Task:
    """The task; its prompt shows the source's program, if there is one, and as many references as fit."""
    settings, record = config.selfplay, player.languages[language]
    template, inputs = settings.prompt_template, settings.induction_inputs
    examples = player.examples(language, Role.PROPOSE, kind)
    given = source.program if source is not None else ""
    while True:
        if source is not None and kind is TaskType.INDUCTION:
            prompt = worked.proposed(record, kind, examples, template, inputs)
            prompt += prompts.propose_induction(record, source.program, inputs, template)
        elif examples:
            shown = [*examples, *references][-settings.references :]
            prompt = worked.proposed(record, kind, shown, template, inputs)
            prompt += prompts.propose_triplet(record, kind, (), template, given)
        else:
            prompt = prompts.propose_triplet(record, kind, references, template, given)
        prompt_ids = player.encode(prompt)
        if player.fits(prompt_ids) or not references:
            return Task(task_id, Role.PROPOSE, kind, language, prompt, source, prompt_ids)
        references = references[:-1]


def solver_tasks(config: Config, player: Player, buffers: Buffers, step: int) -> list[Task]:
    """`batch_per_task` tasks of each type from the buffers: new ones first, the rest uniform or from the band.

    The buffers' queues of new entries advance.
    """
    how = draw_rule(config.selfplay)
    rng = stream(config.seed, 0, f"{step}/solve")
    tasks = []
    for kind in TASK_TYPES:
        drawn = rng.choices(config.languages, config.language_weights, k=config.selfplay.batch_per_task)
        for language in config.languages:
            items = buffers[language].draw_solver_tasks(kind, drawn.count(language), rng, how)
            for number, item in enumerate(items):
                tasks.append(player.solver_task(f"{step}/solve/{kind}/{language}/{number}", kind, item))
    return _fitting(player, tasks)


def problem_tasks(config: Config, player: Player, step: int) -> list[Task]:
    """The step's problems of `problems.path`, over languages by their weights; none without a file."""
    count = config.problems_per_step
    rng = stream(config.seed, 0, f"{step}/problems")
    languages = rng.choices(config.languages, config.language_weights, k=count)
    drawn = problems.draw(player.problems.problems, count, step, config.seed)
    tasks = [
        player.problem_task(f"{step}/solve/problems/{language}/{number}", language, problem)
        for number, (language, problem) in enumerate(zip(languages, drawn, strict=True))
    ]
    return _fitting(player, tasks)


def _fitting(player: Player, tasks: list[Task]) -> list[Task]:
    fitting = [task for task in tasks if player.fits(task.prompt_ids)]
    if len(fitting) < len(tasks):
        logging.warning("%d prompts exceed sampler.max_prompt_tokens: left out", len(tasks) - len(fitting))
    return fitting
