"""Two hosts' loops with a pool each: every program runs once, and both loops see all verdicts in the same order."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import json

import pytest
from thread_hosts import on_all, open_hosts

from azr_jax.hosts.hosts import Hosts
from azr_jax.loop import pools as verdicts
from azr_jax.loop.interruption import Preempted
from azr_jax.loop.pools import SharedPools
from executors import Job, JobKind, Pool, Status, Verdict


@pytest.fixture(scope="module")
def pools():
    """One real pool a host."""
    with Pool("python", workers=1) as first, Pool("python", workers=1) as second:
        yield first, second


def on_hosts(hosts, play) -> list:
    return on_all(hosts, lambda host: asyncio.run(play(host)))


def job(number: int, seconds: float = 0.0) -> Job:
    source = f"import time\ndef f(x):\n    time.sleep({seconds})\n    return x + {number}"
    return Job(f"job {number}", JobKind.EVALUATE, source, ("1",))


def test_each_program_runs_once_and_all_hosts_see_the_verdicts_in_one_order(pools):
    """The first program, host 0's, takes longest; what follows on a verdict is asked for by both at the same turn."""
    ran: list[list[str]] = [[], []]

    async def play(host: Hosts) -> tuple[list[str], list[Verdict]]:
        class Recorded:
            def submit(self, job):
                ran[host.index].append(job.id)
                return pools[host.index].submit(job)

        shared = SharedPools({"python": Recorded()}, host, lambda: False)  # pyright: ignore[reportArgumentType]
        order = []

        async def run_job(number: int) -> Verdict:
            verdict = await shared.submit("python", job(number, 0.5 if number == 0 else 0.0))
            order.append(verdict.id)
            if number < 4:
                await shared.submit("python", job(10 + number))
                order.append(f"after {verdict.id}")
            return verdict

        tasks = [asyncio.create_task(run_job(number)) for number in range(6)]
        await asyncio.sleep(0)
        while shared.waiting:
            shared.exchange(wait=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return order, list(await asyncio.gather(*tasks))

    first, second = on_hosts(open_hosts(2), play)
    assert first == second
    order, verdicts = first
    assert [verdict.values for verdict in verdicts] == [(str(number + 1),) for number in range(6)]
    assert all(verdict.status is Status.OK for verdict in verdicts)
    assert order.index("job 0") > order.index("job 1")
    assert sorted(ran[0] + ran[1]) == sorted([job(n).id for n in (*range(6), *range(10, 14))])
    assert len(ran[0]) == len(ran[1]) == 5


def test_a_verdict_is_the_same_after_its_way_to_another_host():
    given = Verdict(
        id="job \ud800",
        status=Status.RUNTIME_ERROR,
        values=("1", "'\n\ud83d'"),
        inputs=("1, 2",),
        correct=True,
        error_kind="ValueError",
        message="text",
        seconds=0.1 + 0.2,
        memory_mib=1e-9,
        exit_code=-9,
        stdout="out",
        stderr="err",
        passed=(True, False),
    )
    unset = Verdict("x", Status.OK)
    assert all(getattr(given, field.name) != getattr(unset, field.name) for field in dataclasses.fields(Verdict))
    for verdict in (given, unset):
        arrived = verdicts._verdict(json.loads(json.dumps(verdicts._fields(verdict))))
        assert arrived == verdict
        assert [type(getattr(arrived, field.name)) for field in dataclasses.fields(Verdict)] == [
            type(getattr(verdict, field.name)) for field in dataclasses.fields(Verdict)
        ]


def test_event_loops_that_diverge_are_an_error_and_not_a_hang():
    async def play(host: Hosts) -> None:
        shared = SharedPools({}, host, lambda: False)
        shared.note("request 1")
        shared.exchange(wait=False)
        shared.note(f"request {2 + host.index}")
        shared.exchange(wait=False)

    for error in on_hosts(open_hosts(2), play):
        assert isinstance(error, RuntimeError) and "their loops diverged" in str(error)


@pytest.mark.parametrize("told", [0, 1])
def test_a_notice_to_one_host_stops_all_at_the_same_exchange(told):
    async def play(host: Hosts) -> int:
        rounds = 0
        shared = SharedPools({}, host, lambda: host.index == told and rounds == 3)
        try:
            while True:
                shared.exchange(wait=False)
                rounds += 1
        except Preempted:
            return rounds

    assert on_hosts(open_hosts(2), play) == [3, 3]


def test_a_pool_that_fails_on_one_host_fails_on_all():
    class Broken:
        def submit(self, job):
            future = concurrent.futures.Future()
            future.set_exception(OSError("no memory for a worker"))
            return future

    async def play(host: Hosts) -> None:
        shared = SharedPools({"python": Broken()}, host, lambda: False)  # pyright: ignore[reportArgumentType]
        shared.submit("python", job(0))
        while shared.waiting:
            shared.exchange(wait=True)

    for error in on_hosts(open_hosts(2), play):
        assert isinstance(error, RuntimeError)
        assert "executors on host 0 of 2: OSError: no memory for a worker" in str(error)
