"""Places that are lent: a program that sleeps holds none, and one that wakes takes none from those that hold them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from executors import Job, JobKind, Limits, Pool, Status

LIMITS = Limits(wall_s=20.0, cpu_s=20.0)
BASE = os.getpriority(os.PRIO_PROCESS, 0)
# Sleeps, then runs until it has the lowest priority or some seconds have passed; the priority, and that of a next one.
SLEEPER = """
import os, time
def f(x):
    time.sleep(0.5)
    end = time.monotonic() + 5
    while time.monotonic() < end and os.getpriority(os.PRIO_PROCESS, 0) == BASE:
        pass
    return os.getpriority(os.PRIO_PROCESS, 0)
""".replace("BASE", str(BASE))
SPINNER = """
import time
def f(x):
    end = time.monotonic() + 4
    while time.monotonic() < end:
        pass
    return x
"""
PRIORITY = "import os\ndef f(x):\n    return os.getpriority(os.PRIO_PROCESS, 0)"


def job(source: str, name: str = "job") -> Job:
    return Job(name, JobKind.EVALUATE, source, ("0",))


@pytest.mark.parametrize(("language", "priority"), [("python", "19")])
def test_a_program_that_wakes_leaves_the_cores_to_those_that_hold_a_place(language, priority):
    with Pool(language, workers=1, limits=LIMITS) as pool:
        sleeper = pool.submit(job(SLEEPER))
        spinner = pool.submit(job(SPINNER))
        assert sleeper.result().values == (priority,)
        assert spinner.result().status is Status.OK
        # Its worker's next programs run as all others do.
        assert {verdict.values for verdict in pool.run_all([job(PRIORITY)] * 6)} == {(str(BASE),)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a process its priority back")
def test_a_program_that_wakes_has_its_priority_again_with_its_place():
    """Or it would starve beside whatever else runs on the machine, however long nothing of the pool does."""
    last = "return os.getpriority(os.PRIO_PROCESS, 0)"
    more = last.replace("return", "lowest =") + "\n    end = time.monotonic() + 15\n    while time.monotonic() < end"
    more += " and os.getpriority(os.PRIO_PROCESS, 0) != BASE:\n        pass\n    ".replace("BASE", str(BASE))
    source = SLEEPER.replace(last, more + "return lowest, os.getpriority(os.PRIO_PROCESS, 0)")
    with Pool("python", workers=1, limits=LIMITS) as pool:
        sleeper = pool.submit(job(source))
        pool.submit(job(SPINNER.replace("+ 4", "+ 2")))
        assert sleeper.result().values == (f"(19, {BASE})",)


AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")


@pytest.mark.skipif(
    os.geteuid() != 0 or not AUTOGROUP.exists() or AUTOGROUP.read_text().strip() != "1",
    reason="the scheduler does not share the cores between sessions here, or only root may change that",
)
def test_the_session_of_a_program_that_wakes_has_the_lowest_priority_too():
    """Between sessions the priority of a thread does not count."""
    source = SLEEPER.replace("return os.getpriority(os.PRIO_PROCESS, 0)", "time.sleep(0.2)\n    return GROUP")
    source = source.replace("GROUP", "open('/proc/self/autogroup').read().split('nice ')[1].strip()")
    with Pool("python", workers=1, limits=LIMITS) as pool:
        sleeper = pool.submit(job(source))
        spinner = pool.submit(job(SPINNER))
        assert sleeper.result().values == ("'19'",)
        assert spinner.result().status is Status.OK
        assert pool.submit(job(source.replace("+ 5", "+ 0.1"))).result().values == ("'0'",)


def test_a_program_that_wakes_to_a_free_place_keeps_its_priority():
    with Pool("python", workers=1, limits=LIMITS) as pool:
        alone = SLEEPER.replace("+ 5", "+ 0.5")
        assert pool.submit(job(alone)).result().values == (str(BASE),)


@pytest.mark.ci
def test_a_program_that_wakes_comes_before_the_jobs_that_wait():
    """Four sleepers and one place: as they wake each takes the next place, and what is submitted last runs last."""
    source = "import time\ndef f(x):\n    time.sleep(0.5)\n    end = time.process_time() + 0.3\n"
    source += "    while time.process_time() < end:\n        pass\n    return x"
    with Pool("python", workers=1, limits=LIMITS) as pool:
        verdicts = list(pool.run([job(source, f"sleeper {number}") for number in range(12)]))
    assert {verdict.status for verdict in verdicts} == {Status.OK}
