"""A test that ends its worker is one failed test of a run that goes on to its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = """
import os, signal
def end(test):
    if test == os.environ["ENDS"]:
        os.kill(os.getpid(), signal.SIGKILL)
def test_a(): end("{file}a")
def test_b(): end("{file}b")
def test_c(): end("{file}c")
"""
CONFTEST = """
import pytest
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from loadfile import Scheduling
    return Scheduling(config, log)
"""


@pytest.mark.parametrize(
    "ends", [pytest.param("2b", marks=pytest.mark.ci), "4b"], ids=["in the middle", "in the last file"]
)
def test_a_worker_that_ends_costs_one_test(ends, tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    for file in "1234":
        (tmp_path / f"test_{file}.py").write_text(FILE.format(file=file))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "--dist",
            "loadfile",
            "--no-loadscope-reorder",
            str(tmp_path),
        ],
        cwd=tmp_path,
        env=os.environ | {"ENDS": ends, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1].startswith("1 failed, 11 passed"), done.stdout
