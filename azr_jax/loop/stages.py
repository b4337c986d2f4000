"""The stages of a step as functions, which main.train() calls in turn: make tasks, play, score, learn.

Randomness is derived from (seed, step, purpose) and request ids name the step, so a resumed step is the same step.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from absl import logging

from azr_jax.config import Config
from azr_jax.learner.state import TrainState
from azr_jax.learner.update import Learner
from azr_jax.loop import learning
from azr_jax.loop.play import Player, Proposal, Solution, mean_accuracy, solver_task
from azr_jax.selfplay import prompts, rewards
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.randomness import stream
from azr_jax.selfplay.ring import draw_rule
from azr_jax.selfplay.validation import is_dropped
from azr_jax.types import InductionProblem, Role, Rollout, Scored, Task, TaskType, Triplet


@dataclasses.dataclass(frozen=True, slots=True)
class Played:
    """One step's responses: proposals with the estimation samples of each, and solutions."""

    proposals: list[Proposal]
    estimates: list[list[Solution]]
    solutions: list[Solution]


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
        for kind in TaskType:
            source = identity if kind is TaskType.INDUCTION else None
            prompt = _proposer_prompt(config, player, name, kind, source, ())
            if not player.fits(prompt):
                raise ValueError(
                    f"sampler.max_prompt_tokens={config.sampler.max_prompt_tokens}: the shortest prompt of the {kind}"
                    f" proposer in {name} is longer; raise it"
                )
    return buffers


def seeding_round(config: Config, player: Player, params: Any, buffers: Buffers, number: int) -> None:
    """One round of proposals without rewards or updates; adds the valid ones of the kinds that are still short."""
    missing = seeds_missing(config, buffers)
    types = [kind for kind in TaskType if missing["problems" if kind is TaskType.INDUCTION else "triplets"]]
    tasks = proposer_tasks(config, player, buffers, f"seed{number}", types)

    async def play() -> list[Proposal]:
        return list(await asyncio.gather(*(player.propose(task, buffers[task.language], 0) for task in tasks)))

    add_valid(buffers, player.run(params, config.seed, play))


def seeds_missing(config: Config, buffers: Buffers) -> dict[str, int]:
    """How many triplets and induction problems seeding still wants, over the run's languages together."""
    counts = {
        "triplets": sum(len(buffers[name].triplets) for name in config.languages),
        "problems": sum(len(buffers[name].problems) for name in config.languages),
    }
    wanted = {"triplets": config.selfplay.seed_triplets, "problems": config.selfplay.seed_problems}
    return {kind: max(0, wanted[kind] - counts[kind]) for kind in wanted}


def play_step(config: Config, player: Player, params: Any, buffers: Buffers, step: int) -> Played:
    """Proposes, validates, estimates and solves; adds the valid proposals to the buffers on the way.

    Estimation of a proposal starts when it is found valid, solving when all proposals are validated.
    """
    samples, temperature = config.selfplay.estimate_samples, config.selfplay.estimate_temperature

    async def play() -> Played:
        tasks = proposer_tasks(config, player, buffers, str(step), list(TaskType))
        proposing = [asyncio.create_task(player.propose(task, buffers[task.language], step)) for task in tasks]
        estimating = [asyncio.create_task(player.estimate(one, samples, temperature)) for one in proposing]
        proposals = list(await asyncio.gather(*proposing))
        add_valid(buffers, proposals)
        to_solve = solver_tasks(config, player, buffers, step)
        solutions = await asyncio.gather(*(player.solve(task, config.sampler.temperature) for task in to_solve))
        played = Played(proposals, list(await asyncio.gather(*estimating)), list(solutions))
        note_solves(config, played, buffers)
        return played

    return player.run(params, config.seed, play)


def note_solves(config: Config, played: Played, buffers: Buffers) -> None:
    """Adds what this step's solvers made of each item to its buffer entry, where a band draws by it."""
    if not draw_rule(config.selfplay).has_band:
        return
    for solution in [*played.solutions, *(sample for samples in played.estimates for sample in samples)]:
        task = solution.task
        if task.source is not None and not is_dropped(solution.outcome):
            buffers[task.language].note_solves(task.type, task.source, int(solution.correct), 1)


def add_valid(buffers: Buffers, proposals: Iterable[Proposal]) -> None:
    """Adds valid items in the order of their tasks; a triplet is new for its proposer's own type, as in AZR."""
    for proposal in proposals:
        item = proposal.item
        if isinstance(item, InductionProblem):
            buffers[item.language].add_problem(item)
        elif item is not None:
            buffers[item.language].add_triplet(item, new_for=(proposal.task.type,))


def proposer_tasks(
    config: Config, player: Player, buffers: Buffers, name: str, types: Sequence[TaskType]
) -> list[Task]:
    """`batch_per_task` tasks of each type, over languages by their weights; a prompt too long loses references."""
    rng = stream(config.seed, 0, f"{name}/propose")
    tasks = []
    for kind in types:
        chosen = rng.choices(config.languages, config.language_weights, k=config.selfplay.batch_per_task)
        for number, language in enumerate(chosen):
            task_id = f"{name}/propose/{kind}/{number}"
            if kind is TaskType.INDUCTION:
                source, references = buffers[language].draw_program(rng), ()
            else:
                source, references = None, buffers[language].references(config.selfplay.references, rng, kind)
            prompt = _proposer_prompt(config, player, language, kind, source, references)
            tasks.append(Task(task_id, Role.PROPOSE, kind, language, prompt, source))
    return _fitting(player, tasks)


def _proposer_prompt(
    config: Config,
    player: Player,
    language: str,
    kind: TaskType,
    source: Triplet | None,
    references: Sequence[Triplet],
) -> str:
    """An induction proposer's prompt shows the source's program, the others' as many of the references as fit."""
    known, template = player.languages[language], config.selfplay.prompt_template
    if source is not None:
        return prompts.propose_induction(known, source.program, config.selfplay.induction_inputs, template)
    while True:
        prompt = prompts.propose_triplet(known, kind, references, template)
        if player.fits(prompt) or not references:
            return prompt
        references = references[:-1]


def solver_tasks(config: Config, player: Player, buffers: Buffers, step: int) -> list[Task]:
    """`batch_per_task` tasks of each type from the buffers: new ones first, the rest uniform or from the band."""
    how = draw_rule(config.selfplay)
    rng = stream(config.seed, 0, f"{step}/solve")
    tasks = []
    for kind in TaskType:
        chosen = rng.choices(config.languages, config.language_weights, k=config.selfplay.batch_per_task)
        for language in config.languages:
            items = buffers[language].draw_solver_tasks(kind, chosen.count(language), rng, how)
            for number, item in enumerate(items):
                task_id = f"{step}/solve/{kind}/{language}/{number}"
                tasks.append(solver_task(config, player.languages[language], task_id, kind, item))
    return _fitting(player, tasks)


def _fitting(player: Player, tasks: list[Task]) -> list[Task]:
    kept = [task for task in tasks if player.fits(task.prompt)]
    if len(kept) < len(tasks):
        logging.warning("%d prompts exceed sampler.max_prompt_tokens: left out", len(tasks) - len(kept))
    return kept


def score(config: Config, played: Played, state: rewards.RewardState) -> list[Scored]:
    """Rewards of all responses; those that the executors failed on are left out."""
    scored = []
    for proposal, tries in zip(played.proposals, played.estimates, strict=True):
        valid, acc = proposal.item is not None, mean_accuracy(tries)
        if is_dropped(proposal.outcome) or (valid and acc is None):
            continue
        reward = rewards.REWARD_SCHEDULES[config.reward.proposer](acc, valid, state, config.reward)
        if proposal.outcome == "duplicate" and config.selfplay.duplicates == "0":
            reward = 0.0
        scored.append(Scored(proposal.task, proposal.rollout, reward, proposal.formatted, valid, proposal.outcome, acc))
    solutions = list(played.solutions)
    if config.selfplay.train_on_estimates:
        solutions += [solution for tries in played.estimates for solution in tries]
    for solution in solutions:
        if not is_dropped(solution.outcome):
            reward = rewards.SOLVER_REWARDS[config.reward.solver](
                solution.formatted,
                # An estimate may be right out of format: for acc, not for its own reward.
                solution.formatted and solution.correct,
                solution.outcome,
                state,
                config.reward,
            )
            scored.append(
                Scored(solution.task, solution.rollout, reward, solution.formatted, solution.correct, solution.outcome)
            )
    return scored


def reward_metrics(config: Config, state: rewards.RewardState) -> dict[str, float]:
    """What the step's rewards went by: the weight of Eq. 4 and the running means before the step."""
    return rewards.state_metrics(state, config.reward)


def next_reward_state(config: Config, played: Played, state: rewards.RewardState) -> rewards.RewardState:
    """The reward state after a step: running means of what its solver responses were worth."""
    formatted = [one for one in played.solutions if one.formatted and not is_dropped(one.outcome)]
    syntax = sum(rewards.error_kind(one.formatted, one.correct, one.outcome) == "syntax" for one in formatted)
    syntax_share = syntax / len(formatted) if formatted else None
    return rewards.advanced(state, mean_accuracy(played.solutions), syntax_share, config.reward)


def learn(
    config: Config, learner: Learner, state: TrainState, scored: Sequence[Scored], step: int, pad_id: int
) -> tuple[TrainState, dict[str, float]]:
    """The PPO update over the scored responses; `ppo/...` metrics."""
    return learning.learn(config, learner, state, scored, step, pad_id)


def rollouts(played: Played) -> list[Rollout]:
    """Every response of the step, estimation samples included."""
    solutions = [*played.solutions, *(one for tries in played.estimates for one in tries)]
    return [one.rollout for one in (*played.proposals, *solutions)]
