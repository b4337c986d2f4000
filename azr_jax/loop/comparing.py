"""Compares a step's valid programs with the buffer's newest: their texts, and their values on the same inputs."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from azr_jax.config import Config
from azr_jax.loop.play import Player, Proposal
from azr_jax.selfplay import novelty
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.randomness import stream
from azr_jax.types import Triplet
from executors import Job, JobKind


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """Programs of one language: first those of the step's proposers, one for each of `ids`.

    ids: task ids of the proposals. programs: their canonical texts, then those of the buffer's newest triplets.
    behaviours: one for each program, or none without probe inputs.
    """

    ids: tuple[str, ...]
    programs: tuple[str, ...]
    behaviours: tuple[novelty.Behaviour, ...] = ()

    def clusters(self, by: str) -> list[int]:
        """The cluster of each program, by "tokens", "bleu" or "behaviour" (novelty.py)."""
        if by == "behaviour":
            return novelty.alike_by_behaviour(self.behaviours)
        return (novelty.alike_by_bleu if by == "bleu" else novelty.alike_by_tokens)(self.programs)

    def penalties(self, by: str) -> dict[str, float]:
        """By task id, the share of all these programs, other than its own, that are in its cluster."""
        return dict(zip(self.ids, novelty.repetition_penalties(self.clusters(by)), strict=False))


async def compare(
    config: Config, player: Player, buffers: Buffers, proposals: Sequence[Proposal], step: int
) -> dict[str, Compared]:
    """By language, the comparison that `reward.novelty` and `selfplay.probes` ask for; {} if both are off.

    `buffers` are those that the step began with. Each distinct program runs on each probe; the probes are drawn from
    the inputs of the compared triplets.
    """
    if not config.reward.novelty and not config.selfplay.probes:
        return {}
    compared = {}
    for language in config.languages:
        own = [proposal for proposal in proposals if proposal.task.language == language]
        written = {proposal.task.id: proposal.item for proposal in own if isinstance(proposal.item, Triplet)}
        recent = buffers[language].newest(config.reward.novelty_recent)
        triplets = [*written.values(), *recent]
        programs = tuple(triplet.program for triplet in triplets)
        inputs = sorted({triplet.input for triplet in triplets})
        rng = stream(config.seed, 0, f"{step}/probes/{language}")
        probes = rng.sample(inputs, min(config.selfplay.probes, len(inputs)))
        behaviours = await _behaviours(player, language, programs, probes, step) if probes else ()
        texts = tuple(map(player.languages[language].canonical_program, programs))
        compared[language] = Compared(tuple(written), texts, behaviours)
    return compared


async def _behaviours(
    player: Player, language: str, programs: Sequence[str], probes: Sequence[str], step: int
) -> tuple[novelty.Behaviour, ...]:
    async def value(program: str, name: str, probe: str) -> str:
        verdict = await player.execute(language, Job(name, JobKind.EVALUATE, program, (probe,)))
        return verdict.values[0] if verdict.ok else ""

    async def behaviour(number: int, program: str) -> novelty.Behaviour:
        names = [f"{step}/probe/{language}/{number}/{index}" for index in range(len(probes))]
        return tuple(await asyncio.gather(*(map(value, [program] * len(probes), names, probes))))

    distinct = list(dict.fromkeys(programs))
    known = dict(zip(distinct, await asyncio.gather(*map(behaviour, range(len(distinct)), distinct)), strict=True))
    return tuple(known[program] for program in programs)
