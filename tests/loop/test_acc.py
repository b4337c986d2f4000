"""`acc` on the real model: greedy estimation makes it 0 or 1, sampled estimation does not."""

from __future__ import annotations

import asyncio

import pytest
from conftest import REPOSITORY, small_config

from azr_jax.loop.play import mean_accuracy
from azr_jax.selfplay.estimates import accuracy_metrics
from azr_jax.types import TaskType
from configs import tiny


def estimated(run, temperature: float, samples: int = 4) -> list[float]:
    """`acc` of every held-out deduction and abduction problem of a handful, as the loop estimates it."""
    from azr_jax.evaluation.scoring import heldout

    problems = heldout.load(REPOSITORY / "azr_jax/embedded/heldout_python.jsonl", 48)
    params = run.engine.load_params()
    tasks = [
        run.player.solver_task(f"estimated/{number}", kind, item)
        for number, (kind, item) in enumerate(problems)
        if kind is not TaskType.INDUCTION
    ]

    async def together():
        return await asyncio.gather(
            *(asyncio.gather(*(run.player.solve(task, temperature, f"/{n}") for n in range(samples))) for task in tasks)
        )

    samples, _ = run.player.run(params, 0, together)
    return [mean_accuracy(answers) for answers in samples]


@pytest.mark.ci
def test_greedy_estimates_are_zero_or_one_and_sampled_ones_are_not(opened):
    greedy, sampled = estimated(opened, 0.0), estimated(opened, 1.0)
    assert set(greedy) <= {0.0, 1.0}
    assert any(0 < acc < 1 for acc in sampled)
    metrics = accuracy_metrics(greedy, len(greedy) + 2)
    assert metrics["acc_between"] == 0
    assert metrics["acc_zero"] + metrics["acc_one"] == pytest.approx(1)
    assert metrics["invalid_rate"] == pytest.approx(2 / (len(greedy) + 2))
    assert accuracy_metrics(sampled, len(sampled))["acc_between"] > 0


def test_the_estimation_temperature_is_a_setting_of_its_own():
    assert tiny.get_config().selfplay.estimate_temperature == 1.0
    config = small_config(selfplay__estimate_temperature=0.0)
    assert (config.selfplay.estimate_temperature, config.sampler.temperature) == (0.0, 1.0)
