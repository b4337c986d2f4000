"""A run whose loss is never finite: each update is skipped and counted, and past the limit it stops, saved."""

from __future__ import annotations

import pytest
from conftest import rows


@pytest.mark.slow
def test_a_run_stops_past_the_limit_of_skipped_updates_with_its_state_saved(command, tmp_path):
    changes = {
        "steps": 6,
        "learner__entropy_coef": "nan",
        "learner__max_nonfinite_updates": 1,
        "checkpoint__every": 100,
    }
    status, output = command.run(tmp_path / "run", **changes)
    assert status != 0 and "2 updates had a loss or gradient that is not finite" in output, output[-3000:]
    assert [row["ppo/skipped_updates"] for row in rows(tmp_path / "run" / "metrics.jsonl")] == [1.0, 2.0]
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()
