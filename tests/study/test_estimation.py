"""Estimation apart from training: the table by hand, and greedy estimation with the real model."""

import dataclasses
import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY, small_config

from azr_jax.study import estimation


def test_the_table_by_hand():
    samples = {
        0.0: [[True] * 4, [False] * 4],
        1.0: [[True, False, False, False], [False, True, None, True], [None, None, False, False]],
    }
    rows = {(row.temperature, row.m): row for row in estimation.rows_of(samples)}
    assert list(rows) == [(0.0, 1), (0.0, 2), (0.0, 4), (1.0, 1), (1.0, 2), (1.0, 4)]
    greedy = rows[0.0, 4]
    assert (greedy.acc, greedy.acc_zero, greedy.acc_between, greedy.acc_one) == (0.5, 0.5, 0.0, 0.5)
    assert (greedy.eq3, greedy.eq4, greedy.spread3, greedy.spread4) == (-0.5, 0.5, 0.0, 0.0)
    # m = 2: the third proposal has no judged sample, and both others are half right.
    half = rows[1.0, 2]
    assert (half.acc, half.acc_between, half.eq3, half.eq4) == (0.5, 1.0, 0.5, 1.0)
    # m = 4: acc is 1/4, 2/3 and 0; Eq. 3 pays 3/4, 1/3 and -1/2.
    assert rows[1.0, 4].eq3 == pytest.approx((0.75 + 1 / 3 - 0.5) / 3)
    text = estimation.table(list(rows.values()))
    assert "| 0 | 4 | 50% | 50% | 0% | 50% | -0.50 | +0.50 | 0.00 | 0.00 |" in text
    with pytest.raises(ValueError, match="no valid proposal"):
        estimation.rows_of({1.0: []})


def test_the_command_writes_samples_and_table(tmp_path):
    changes = {"languages": "python", "evaluation.heldout": "", "selfplay.batch_per_task": 4}
    changes |= {"selfplay.seed_triplets": 1, "selfplay.seed_problems": 0, "sampler.max_response_tokens": 96}
    command = [sys.executable, "-m", "azr_jax.study.estimation", "--samples=2", "--temperatures=0"]
    command += [f"--out={tmp_path / 'out.json'}", *(f"--config.{key}={value}" for key, value in changes.items())]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["proposals"] == 12 and 0 < result["valid"] == len(result["samples"]["0.0"])
    assert [row["m"] for row in result["rows"]] == [1, 2] and all(row["acc_between"] == 0.0 for row in result["rows"])


@pytest.mark.slow
def test_greedy_samples_of_the_real_model_are_all_the_same(tmp_path):
    config = small_config(selfplay__batch_per_task=12)
    proposed, samples = estimation.measure(config, str(tmp_path), (0.0, 1.0), 4)
    assert proposed == 36 and len(samples[0.0]) == len(samples[1.0]) > 0
    assert all(len(set(tries)) == 1 for tries in samples[0.0])
    assert any(len(set(tries)) > 1 for tries in samples[1.0])
    greedy, sampled = (rows[-1] for rows in (estimation.rows_of({t: samples[t]}) for t in (0.0, 1.0)))
    assert dataclasses.astuple(greedy)[6:] == (-0.5, 0.5, 0.0, 0.0) and greedy.acc_between == 0.0
    assert sampled.acc_between > 0.0 and sampled.spread3 > 0.0
