"""A mesh that does not fit is an error when a run is opened, before anything is loaded or started."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import on_devices

PROGRAM = """
import sys
from conftest import small_config
from azr_jax.run.opened import open_run

for number, (changes, words) in enumerate(eval(sys.argv[2])):
    try:
        with open_run(small_config(**changes), f"{sys.argv[1]}/{number}"):
            sys.exit(f"{changes}: opened")
    except ValueError as error:
        missing = [word for word in words if word not in str(error)]
        if missing:
            sys.exit(f"{changes}: {error} lacks {missing}")
"""
# azr-tiny has 4 heads and as many key-value heads, D 128, F 384, V 2048.
WRONG = (
    ({"mesh__data": 3}, ("mesh axis 'data' is 3", "does not divide 8 devices", "[1, 2, 4, 8]")),
    ({"mesh__fsdp": 2, "mesh__tensor": 2}, ("needs 4 devices, there are 8", "=-1")),
    ({"mesh__data": 4, "mesh__tensor": 4}, ("needs 16 devices, there are 8",)),
    ({"mesh__tensor": 8}, ("mesh axis 'tensor' is 8", "does not divide heads=4", "choose tensor among [1, 2, 4]")),
    (
        {"learner__rows_per_microbatch": 6},
        ("learner.rows_per_microbatch=6", "not a multiple of data x fsdp = 1 x 8", "choose 8 or another multiple of 8"),
    ),
)


@pytest.mark.slow
def test_a_mesh_that_does_not_fit_says_which_axis_and_what_would(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), repr(WRONG)],
        env=on_devices(8),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
