"""The stages of a step as functions, which main.train() calls in turn: play and score; learning.py has the update.

No stage changes its arguments: it returns the buffers, states and metrics that it makes.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any

from azr_jax.config import Config
from azr_jax.loop.begun import Begun
from azr_jax.loop.comparing import Compared, compare
from azr_jax.loop.play import Clock, Player, Proposal, Solution, mean_accuracy
from azr_jax.loop.tasks import problem_tasks, proposer_tasks, solver_tasks
from azr_jax.selfplay import rewards
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.composite import composite_share
from azr_jax.selfplay.problems import passed_share
from azr_jax.selfplay.ring import draw_rule
from azr_jax.selfplay.validation import is_dropped
from azr_jax.types import TASK_TYPES, InductionProblem, Rollout, Scored, Task, TaskType, Triplet, VerifiedProblem
from executors import Verdict


@dataclasses.dataclass(frozen=True, slots=True)
class Played:
    """One step's responses: proposals with the estimation samples of each, and solutions.

    `problems`: the solutions to problems of `problems.path`, which no number of self-play counts.
    `buffers` have the step's valid proposals, `clock` says where the time went. Seeding has only proposals.
    `compared`: by language, the programs that were compared (comparing.py). `begun`: of the next step (begun.py).
    `lag_updates`: optimizer steps since this step was begun; None without `pipeline.lag`.
    """

    proposals: list[Proposal]
    estimates: list[list[Solution]]
    solutions: list[Solution]
    buffers: Buffers
    clock: Clock
    compared: Mapping[str, Compared] = dataclasses.field(default_factory=dict)
    problems: Sequence[Solution] = ()
    begun: Begun = dataclasses.field(default_factory=Begun)
    lag_updates: float | None = None


def seeding_round(config: Config, player: Player, params: Any, buffers: Buffers, number: int) -> Played:
    """One round of proposals without rewards or updates, of the task types whose seeds are missing."""
    missing = seeds_missing(config, buffers)
    types = [kind for kind in TASK_TYPES if missing["problems" if kind is TaskType.INDUCTION else "triplets"]]
    tasks = proposer_tasks(config, player, buffers, f"seed{number}", types)

    async def play() -> list[Proposal]:
        return list(await asyncio.gather(*(player.propose(task, buffers[task.language], 0) for task in tasks)))

    proposals, clock = player.run(params, config.seed, play)
    return Played(proposals, [], [], with_valid(buffers, proposals), clock)


def seeds_missing(config: Config, buffers: Buffers) -> dict[str, int]:
    """How many triplets and induction problems seeding still needs, over the run's languages together."""
    counts = {
        "triplets": sum(len(buffers[name].triplets) for name in config.languages),
        "problems": sum(len(buffers[name].problems) for name in config.languages),
    }
    wanted = {"triplets": config.selfplay.seed_triplets, "problems": config.selfplay.seed_problems}
    return {kind: max(0, wanted[kind] - counts[kind]) for kind in wanted}


def play_step(
    config: Config, player: Player, params: Any, buffers: Buffers, step: int, begun: Begun | None = None
) -> Played:
    """Proposes, validates, estimates and solves.

    Estimation of a proposal starts as soon as it is valid. With `selfplay.solver_tasks=before` solving starts at once,
    from the buffers before the step, so that all share one queue; with `after`, when all proposals are validated.
    Problems of `problems.path` start at once. `begun`: the proposals that the step before began.
    """
    samples, temperature = config.selfplay.estimate_samples, config.selfplay.estimate_temperature
    draws_before = config.selfplay.solver_tasks == "before"

    def solving(asked: Sequence[Task]) -> list[asyncio.Task[Solution]]:
        return [asyncio.create_task(player.solve(task, config.sampler.temperature)) for task in asked]

    before = begun if begun and config.pipeline.lag else Begun()

    async def play() -> Played:
        tasks = _proposer_tasks(config, player, buffers, step)
        known = [before.of(task.id, task.prompt_ids, config.sampler) for task in tasks]
        asked = [(task, buffers[task.language], step) for task in tasks]
        if redraws := config.selfplay.redraws:
            pairs = [
                asyncio.create_task(player.propose_varied(*task, samples, temperature, redraws, early))
                for task, early in zip(asked, known, strict=True)
            ]
            proposing, estimating = [_part(pair, 0) for pair in pairs], [_part(pair, 1) for pair in pairs]
        else:
            proposing = [
                asyncio.create_task(player.propose(*task, early)) for task, early in zip(asked, known, strict=True)
            ]
            estimating = [
                asyncio.create_task(player.estimate(proposal, samples, temperature)) for proposal in proposing
            ]
        beside = solving(problem_tasks(config, player, step))
        drawn = buffers.copy()  # drawing advances its queues of new entries
        early = solving(solver_tasks(config, player, drawn, step)) if draws_before else []
        proposals = list(await asyncio.gather(*proposing))
        after = with_valid(drawn, proposals)
        comparing = asyncio.create_task(compare(config, player, buffers, proposals, step))
        late = [] if draws_before else solving(solver_tasks(config, player, after, step))
        beginning = asyncio.create_task(_begin(config, player, after, step + 1))
        solutions = list(await asyncio.gather(*early, *late))
        estimates = list(await asyncio.gather(*estimating))
        note_solves(config, [*solutions, *(sample for samples in estimates for sample in samples)], after)
        problems = list(await asyncio.gather(*beside))
        return Played(proposals, estimates, solutions, after, Clock(), await comparing, problems, await beginning)

    played, clock = player.run(params, config.seed, play)
    return dataclasses.replace(played, clock=clock, lag_updates=before.updates if config.pipeline.lag else None)


def _proposer_tasks(config: Config, player: Player, buffers: Buffers, step: int) -> list[Task]:
    return proposer_tasks(config, player, buffers, str(step), TASK_TYPES, composite_share(config.selfplay, step))


async def _begin(config: Config, player: Player, buffers: Buffers, step: int) -> Begun:
    """What these weights sample of the next step's proposals; the buffers have the same entries as at its start."""
    if not config.pipeline.lag or step > config.steps:
        return Begun()
    tasks = _proposer_tasks(config, player, buffers, step)
    begun = await asyncio.gather(*(player.begin(task, config.sampler.temperature) for task in tasks))
    return Begun({rollout.request_id: rollout for rollout in begun if rollout is not None})


async def _part(pair: Awaitable[tuple[Any, Any]], index: int) -> Any:
    return (await pair)[index]


def note_solves(config: Config, solutions: Iterable[Solution], buffers: Buffers) -> None:
    """If a band is set, counts the solvers' tries at each item, and the correct ones, in the step's buffers."""
    if not draw_rule(config.selfplay).has_band:
        return
    for solution in solutions:
        task = solution.task
        if isinstance(task.source, Triplet | InductionProblem) and not is_dropped(solution.outcome):
            buffers[task.language].note_solves(task.type, task.source, int(solution.correct), 1)


def check_infrastructure(config: Config, clock: Clock) -> None:
    """Raises RuntimeError if the executors themselves failed on too large a share of the step's programs."""
    most = config.executor.max_infrastructure_share
    if clock.programs and clock.infrastructure / clock.programs > most:
        raise RuntimeError(
            f"executors: {clock.infrastructure} of {clock.programs} programs failed for infrastructure, more than"
            f" executor.max_infrastructure_share={most}; run `python -m executors doctor`"
        )


def with_valid(buffers: Buffers, proposals: Iterable[Proposal]) -> Buffers:
    """Copies of the buffers with the valid proposals added, in the order of their tasks.

    As in AZR, a new triplet is queued only for the solver of the proposer's own task type.
    """
    after = buffers.copy()
    for proposal in proposals:
        item = proposal.item
        if isinstance(item, InductionProblem):
            after[item.language].add_problem(item)
        elif item is not None:
            after[item.language].add_triplet(item, new_for=(proposal.task.type,))
    return after


def score(config: Config, played: Played, state: rewards.RewardState) -> list[Scored]:
    """Rewards of all responses but those that the executors failed on."""
    scored = []
    penalties: dict[str, float] = {}
    for compared in played.compared.values() if config.reward.novelty else ():
        penalties |= compared.penalties(config.reward.novelty_by)
    for proposal, samples in zip(played.proposals, played.estimates, strict=True):
        valid, acc = proposal.item is not None, mean_accuracy(samples)
        if is_dropped(proposal.outcome) or (valid and acc is None):
            continue
        reward = rewards.REWARD_SCHEDULES[config.reward.proposer](acc, valid, state, config.reward)
        if proposal.outcome == "duplicate" and config.selfplay.duplicates == "0":
            reward = 0.0
        reward -= config.reward.novelty * penalties.get(proposal.task.id, 0.0)
        values = values_of(proposal.item)
        base = (proposal.task, proposal.rollout, reward, proposal.formatted, valid, proposal.outcome, acc)
        scored.append(Scored(*base, proposal.detail, values))
    solutions = list(played.solutions)
    if config.selfplay.train_on_estimates:
        solutions += [solution for samples in played.estimates for solution in samples]
    for solution in (*solutions, *played.problems):
        if not is_dropped(solution.outcome):
            reward = rewards.SOLVER_REWARDS[config.reward.solver](
                solution.formatted,
                # An estimation sample out of format may be correct: that counts for acc, not for its own reward.
                solution.formatted and solution.correct,
                solution.outcome,
                state,
                config.reward,
            )
            verdict, source = solution.verdict, solution.task.source
            if isinstance(source, VerifiedProblem) and config.problems.reward == "share":
                reward = rewards.by_tests(reward, passed_share(source, verdict))
            base = (solution.task, solution.rollout, reward, solution.formatted, solution.correct, solution.outcome)
            detail, claimed = (solution.detail, ()) if verdict is None else (verdict.reason, _claimed(verdict))
            scored.append(Scored(*base, detail=detail, claimed=claimed))
    return scored


def _claimed(verdict: Verdict) -> tuple[str, ...]:
    """What a solution claims: its values; of a whole program, what it printed in the test that decided."""
    return (verdict.stdout,) if verdict.passed else verdict.values


def values_of(item: Triplet | InductionProblem | None) -> tuple[str, ...]:
    """The values that a valid item's program gave."""
    if item is None:
        return ()
    return item.outputs if isinstance(item, InductionProblem) else (item.output,)


def reward_metrics(config: Config, state: rewards.RewardState, buffers: Buffers) -> dict[str, float]:
    """Metrics of the reward settings in effect at this step: the weight of Eq. 4, the running means before it, and the
    share of the buffers that is in the band after it.
    """
    metrics = rewards.state_metrics(state, config.reward)
    how = draw_rule(config.selfplay)
    if how.has_band:
        for language in config.languages:
            shares = buffers[language].band_shares(how)
            metrics |= {f"buffer/{language}/{name}": share for name, share in shares.items()}
    return metrics


def next_reward_state(config: Config, played: Played, state: rewards.RewardState) -> rewards.RewardState:
    """The reward state after a step: running means of solver accuracy and syntax errors."""
    formatted = [solution for solution in played.solutions if solution.formatted and not is_dropped(solution.outcome)]
    kinds = [rewards.error_kind(solution.formatted, solution.correct, solution.outcome) for solution in formatted]
    syntax = kinds.count("syntax")
    syntax_share = syntax / len(formatted) if formatted else None
    return rewards.advanced(state, mean_accuracy(played.solutions), syntax_share, config.reward)


def rollouts(played: Played) -> list[Rollout]:
    """Every response of the step, estimation samples included."""
    solutions = [*played.solutions, *(solution for samples in played.estimates for solution in samples)]
    solutions += played.problems
    return [response.rollout for response in (*played.proposals, *solutions)]
