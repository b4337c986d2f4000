"""How workers end: killed from outside, closed, with a parent that SIGKILL ends; nothing is left of any."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from executors import Job, JobKind, Limits, Pool, Status
from executors.sandbox.cgroup import find_place, join_script
from executors.sandbox.guardian import Guardian, folder, group, process
from executors.sandbox.launch import Tier
from executors.sandbox.probe import probe
from tests.executors.processes import descendants, marked_language, processes_with, still_running

REPOSITORY = Path(__file__).parents[2]
LIMITS = Limits(wall_s=1.5, cpu_s=1.5, memory_mib=256)
DOUBLE = "def f(x):\n    return x * 2"
SLEEP = "import time\ndef f(x):\n    time.sleep(100)"


def double(number=1):
    return Job(str(number), JobKind.EVALUATE, DOUBLE, (str(number),))


def kill_harnesses(mark):
    for pid in processes_with(mark):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"--serve" in command and not command[0].endswith((b"bwrap", b"sh")):
                os.kill(pid, signal.SIGKILL)


def test_killed_worker_is_replaced_and_the_job_retried():
    mark = f"killed-{os.getpid()}"
    with Pool(marked_language(mark), workers=1, limits=LIMITS) as pool:
        slow = "import time\ndef f(x):\n    time.sleep(0.7)\n    return x"
        future = pool.submit(Job("slow", JobKind.EVALUATE, slow, ("5",)))
        time.sleep(0.3)
        kill_harnesses(mark)
        assert future.result().values == ("5",)
        assert pool.submit(double()).result().values == ("2",)


def test_killed_twice_is_infrastructure():
    mark = f"twice-{os.getpid()}"
    with Pool(marked_language(mark), workers=1, limits=LIMITS) as pool:
        future = pool.submit(Job("sleep", JobKind.EVALUATE, SLEEP, ("5",)))
        end = time.monotonic() + 10
        while not future.done() and time.monotonic() < end:
            time.sleep(0.1)
            kill_harnesses(mark)
        assert future.result().status is Status.INFRASTRUCTURE
        assert pool.submit(double()).result().values == ("2",)


def cgroups(pid):
    place = find_place()
    return [path for part in place.folders for path in part.glob(f"azr_{pid}_*")] if place else []


def test_close_leaves_no_process_no_descriptor_and_no_cgroup():
    mark = f"close-{os.getpid()}"
    before = len(os.listdir("/proc/self/fd"))
    others, groups = descendants(os.getpid()), cgroups(os.getpid())
    with Pool(marked_language(mark), workers=2, limits=LIMITS) as pool:
        pool.run_all([double(number) for number in range(10)])
        assert processes_with(mark)
        inside = descendants(os.getpid(), others)
        assert len(cgroups(os.getpid())) > len(groups) or find_place() is None
    time.sleep(0.2)
    assert still_running(inside) == []
    assert processes_with(mark) == []
    assert cgroups(os.getpid()) == groups
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ValueError, match="not open"):
        pool.submit(double())


PARENT = """
    import sys
    sys.path.insert(0, {repository!r})
    import executors.pool
    from executors import *
    from executors.sandbox.launch import Tier
    executors.pool.require_tier = lambda allow: Tier[{tier!r}]
    source = "import time\\ndef f(x):\\n    time.sleep(0.2)\\n    return x\\nf(1)"
    inputs = () if {kind!r} == "program" else ("0",)
    with Pool("python", workers=3, cold={cold}) as pool:
        print("open", flush=True)
        for verdict in pool.run(Job(str(i), JobKind({kind!r}), source, inputs) for i in range(10**6)):
            assert verdict.ok, verdict
"""


def sandbox_mounts() -> list[str]:
    """All mounts but those that other tests make in folders of their own."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if "/pytest-of-" not in line]


@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
@pytest.mark.parametrize(
    ("cold", "kind"),
    [
        (False, "evaluate"),
        pytest.param(True, "evaluate", marks=pytest.mark.ci),
        pytest.param(True, "program", marks=pytest.mark.ci),
    ],
)
def test_nothing_outlives_a_killed_parent(cold, kind, tier, tmp_path):
    if probe(Tier[tier.upper()]).fault:
        pytest.skip(f"this machine does not give the tier {tier}")
    tmp_path.chmod(0o755)
    script = textwrap.dedent(PARENT.format(repository=str(REPOSITORY), tier=tier.upper(), kind=kind, cold=cold))
    mounts = sandbox_mounts()
    for delay_s in (0.3, 0.52):
        parent = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)}
        )
        assert parent.stdout is not None
        try:
            assert parent.stdout.readline() == b"open\n"
            time.sleep(delay_s)
            # Cold processes end by themselves: a moment between two of them is no moment to look.
            end = time.monotonic() + 10
            while len(inside := descendants(parent.pid)) <= 3 and time.monotonic() < end:
                time.sleep(0.01)
            assert len(inside) > 3
            assert find_place() is None or cgroups(parent.pid)
            if tier == "landlock" and kind == "program":
                assert list(tmp_path.iterdir())
        finally:
            parent.kill()
        parent.wait()
        parent.stdout.close()
        time.sleep(1.0)
        assert still_running(inside, patience_s=0.0) == []
        assert list(tmp_path.iterdir()) == []
        assert cgroups(parent.pid) == []
        assert sandbox_mounts() == mounts


PROBING = """
    import sys
    sys.path.insert(0, {repository!r})
    from executors.sandbox import cgroup, probe
    from executors.sandbox.launch import Tier
    print("open", flush=True)
    while True:
        for _ in range(50):
            cgroup.find_place.cache_clear()
            cgroup.find_place()
        probe.probe.cache_clear()
        probe.probe(Tier.NAMESPACES)
"""


def test_nothing_outlives_a_parent_killed_while_it_probes():
    if find_place() is None or probe(Tier.NAMESPACES).fault:
        pytest.skip("no control group can be made here, or no namespace")
    script = textwrap.dedent(PROBING.format(repository=str(REPOSITORY)))
    for delay_s in (0.0, 0.03, 0.07, 0.11, 0.16, 0.23):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None and parent.stdout.readline() == b"open\n"
            time.sleep(delay_s)
            inside = descendants(parent.pid)
            parent.kill()
        end = time.monotonic() + 1.0
        while (cgroups(parent.pid) or still_running(inside, patience_s=0.0)) and time.monotonic() < end:
            time.sleep(0.05)
        assert cgroups(parent.pid) == []
        assert still_running(inside, patience_s=0.0) == []


def test_guardian_clears_away_what_is_still_listed(tmp_path):
    kept, gone, odd = tmp_path / "kept", tmp_path / "gone", tmp_path / "odd * name"
    for path in (kept, gone, odd):
        path.mkdir()
        (path / "file").touch()
    sleeper = subprocess.Popen(["sleep", "100"], start_new_session=True)
    guardian = Guardian()
    for entry in (folder(kept), folder(gone), folder(odd), group(tmp_path / "none"), process(-sleeper.pid)):
        guardian.add(entry)
    guardian.remove(folder(kept))
    guardian.remove(folder(kept))
    guardian.close()
    assert sleeper.wait(5) == -signal.SIGKILL
    assert kept.exists() and not gone.exists() and not odd.exists()


@pytest.mark.skipif(find_place() is None, reason="no control group can be made here")
def test_guardian_ends_what_is_in_a_listed_group_though_it_is_not_listed_itself():
    """A pool that is killed while it starts a process has not told of it yet."""
    place = find_place()
    assert place is not None
    cgroup = place.new_group()
    cgroup.make(64, 16)
    sleeper = subprocess.Popen(["/bin/sh", "-c", f"{join_script(cgroup)} exec sleep 100"], start_new_session=True)
    while not all(str(sleeper.pid) in Path(door).read_text().split() for door in cgroup.doors):
        time.sleep(0.01)
    guardian = Guardian()
    for path in cgroup.folders:
        guardian.add(group(path))
        guardian.remove(group(path))
    threading.Thread(target=sleeper.wait).start()  # a zombie would keep its group
    guardian.close()
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not any(path.exists() for path in cgroup.folders)


STARVED = """
    import sys
    sys.path.insert(0, {repository!r})
    from executors import *
    source = "def f(mib):\\n    held = bytearray(mib << 20)\\n    held[::4096] = held[::4096].upper()\\n    return mib"
    with Pool("python", workers=1, limits=Limits(memory_mib=300)) as pool:
        for mib in (2, 150, 3, 400):
            verdict = pool.submit(Job(str(mib), JobKind.EVALUATE, source, (str(mib),))).result()
            print(verdict.status, *verdict.values, flush=True)
        print(pool.submit(Job("p", JobKind.PROGRAM, source + "\\nf(150)")).result().status, flush=True)
"""


@pytest.mark.slow
def test_a_program_that_the_machine_has_no_memory_for_is_not_to_blame():
    """Well within its own limit, but in a group that stands for a machine with 150 MiB."""
    place = find_place()
    if place is None or "memory" not in place.controllers:
        pytest.skip("no memory control group can be made here")
    machine = place.new_group()
    machine.make(150, 200)
    script = textwrap.dedent(STARVED.format(repository=str(REPOSITORY)))
    command = f"{join_script(machine)} exec {sys.executable} -c {shlex.quote(script)}"
    try:
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=120)
        assert done.stdout.splitlines() == ["ok 2", "infrastructure", "ok 3", "memory", "infrastructure"], done
    finally:
        machine.remove()
