"""Scores before and after a run, which no step's metrics hold, are shown by the first host."""

from __future__ import annotations

import types

import pytest

from azr_jax.hosts.hosts import Hosts
from azr_jax.run import scoring


@pytest.mark.parametrize("index", [0, 1])
def test_scores_of_no_step_are_shown_by_the_first_host_alone(index):
    shown = []
    writers = types.SimpleNamespace(show=lambda step, values: shown.append((step, values)))
    run = types.SimpleNamespace(writers=writers, hosts=Hosts(index, 2))
    counts = {"greedy": {"abduction": {"n": 4, "correct": 1, "formatted": 2}}, "benchmarks": {"eval/x": 1.0}}
    scoring.show(run, 0, counts, counts["benchmarks"])  # pyright: ignore[reportArgumentType]
    if index:
        assert not shown
        return
    ((step, values),) = shown
    assert step == 0 and values["eval/heldout/greedy/all/accuracy"] == 0.25 and values["eval/x"] == 1.0
    assert all(key.startswith(("eval/heldout/greedy/", "eval/x")) for key in values)
