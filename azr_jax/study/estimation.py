"""How temperature and number of samples change `acc`: the same proposals, estimated in several ways. No training.

`python -m azr_jax.study.estimation --config=configs/tiny.py --temperatures=0,0.5,1 --samples=16 --out=estimation.json`

The starting model seeds its buffers and proposes once; every valid proposal is solved `samples` times at each
temperature. A row is a temperature and the first m of those samples: the distribution of acc, and the rewards of the
equations. Greedy estimation is the row of temperature 0: all samples are the same, so acc is 0 or 1.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from azr_jax.config import Config, from_mapping
from azr_jax.flags import run
from azr_jax.loop import stages
from azr_jax.loop.play import Proposal, Solution
from azr_jax.loop.tasks import proposer_tasks, starting_buffers
from azr_jax.selfplay import rewards
from azr_jax.selfplay.estimates import accuracy, accuracy_metrics
from azr_jax.selfplay.validation import is_dropped
from azr_jax.types import TASK_TYPES

HEAD = (
    "temperature",
    "m",
    "acc",
    "P(acc=0)",
    "P(0<acc<1)",
    "P(acc=1)",
    "Eq. 3",
    "Eq. 4",
    "spread of Eq. 3",
    "of Eq. 4",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One way to estimate. Shares and mean rewards are over the valid proposals.

    spread3, spread4: standard deviation of the reward among them, which is all that a proposer can learn from besides
    being valid.
    """

    temperature: float
    m: int
    acc: float
    acc_zero: float
    acc_between: float
    acc_one: float
    eq3: float
    eq4: float
    spread3: float
    spread4: float


def rows_of(samples: Mapping[float, Sequence[Sequence[bool | None]]]) -> list[Row]:
    """The table, from each proposal's samples (right, wrong, None: the executors failed) by temperature.

    A proposal without any judged sample among its first m is left out of that row.

    Raises:
      ValueError: no proposals.
    """
    rows = []
    for temperature, proposals in samples.items():
        if not proposals:
            raise ValueError("no valid proposal to estimate: propose more (selfplay.batch_per_task)")
        most = max(map(len, proposals))
        for m in (2**power for power in range(most.bit_length())):
            accs = [acc for tries in proposals if (acc := accuracy(tries[:m])) is not None]
            shares = accuracy_metrics(accs, len(accs))
            paid = [[equation(acc, True) for acc in accs] for equation in (rewards.propose_eq3, rewards.propose_eq4)]
            rows.append(
                Row(
                    temperature,
                    m,
                    shares["acc"],
                    shares["acc_zero"],
                    shares["acc_between"],
                    shares["acc_one"],
                    *(float(np.mean(values)) for values in paid),
                    *(float(np.std(values)) for values in paid),
                )
            )
    return rows


def measure(
    config: Config, workdir: str, temperatures: Sequence[float], samples: int
) -> tuple[int, dict[float, list[list[bool | None]]]]:
    """(proposals made, samples of the valid ones by temperature), by the model at `config.model.path`.

    Raises what `open_run` does.
    """
    from azr_jax.run.opened import open_run
    from azr_jax.run.seeding import check_rounds

    with open_run(config, workdir) as run:
        params = run.engine.load_params()
        buffers, player, rounds = starting_buffers(config, run.player), run.player, 0
        while any((missing := stages.seeds_missing(config, buffers)).values()):
            check_rounds(config.selfplay.seed_rounds, rounds, missing)
            rounds += 1
            buffers = stages.seeding_round(config, player, params, buffers, rounds).buffers
        tasks = proposer_tasks(config, player, buffers, "estimation", TASK_TYPES)

        async def propose() -> list[Proposal]:
            return list(await asyncio.gather(*(player.propose(task, buffers[task.language], 1) for task in tasks)))

        proposals, _ = player.run(params, config.seed, propose)
        valid = [proposal for proposal in proposals if proposal.item is not None]

        async def estimate(temperature: float) -> list[list[Solution]]:
            tries = (player.estimate(_ready(proposal), samples, temperature) for proposal in valid)
            return list(await asyncio.gather(*tries))

        by_temperature = {}
        for temperature in temperatures:
            # Each in a separate session: request ids are the same, so that only the temperature differs.
            with run.phase("estimate", f"estimate at temperature {temperature}"):
                solved, _ = player.run(params, config.seed, lambda chosen=temperature: estimate(chosen))
            by_temperature[temperature] = [
                [None if is_dropped(solution.outcome) else solution.correct for solution in tries] for tries in solved
            ]
        return len(proposals), by_temperature


async def _ready(proposal: Proposal) -> Proposal:
    return proposal


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, shares in per cent."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    for row in rows:
        shares = (f"{100 * value:.0f}%" for value in (row.acc, row.acc_zero, row.acc_between, row.acc_one))
        paid = (f"{value:+.2f}" for value in (row.eq3, row.eq4))
        spread = (f"{value:.2f}" for value in (row.spread3, row.spread4))
        lines.append(f"| {' | '.join((f'{row.temperature:g}', str(row.m), *shares, *paid, *spread))} |")
    return "\n".join(lines)


def define_flags() -> None:
    """The command's flags; not at import, since flags are global and azr_jax.main has `config` too."""
    config_flags.DEFINE_config_file("config", None, "Configuration file (configs/tiny.py).")
    flags.DEFINE_list("temperatures", ["0", "0.5", "1"], "Temperatures of the samples.")
    flags.DEFINE_integer("samples", 16, "Samples of each proposal and temperature; rows are m = 1, 2, 4, ... of them.")
    flags.DEFINE_string("out", None, "File for the samples and the table as JSON.")


def main(argv: Sequence[str]) -> None:
    """Measures and writes."""
    given = flags.FLAGS
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: settings are --config.KEY=VALUE")
    if given.samples < 1:
        raise app.UsageError(f"--samples={given.samples}: must be at least 1")
    try:
        config = from_mapping(given.config.to_dict())
        temperatures = [float(word) for word in given.temperatures]
        with tempfile.TemporaryDirectory() as workdir:
            proposed, samples = measure(config, workdir, temperatures, given.samples)
        rows = rows_of(samples)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    valid = len(next(iter(samples.values())))
    logging.info("%d of %d proposals are valid\n%s", valid, proposed, table(rows))
    if given.out:
        content = {
            "proposals": proposed,
            "valid": valid,
            "rows": [dataclasses.asdict(row) for row in rows],
            "samples": {str(temperature): tries for temperature, tries in samples.items()},
        }
        Path(given.out).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    define_flags()
    run(main, "azr_jax.study.estimation", default="tiny")
