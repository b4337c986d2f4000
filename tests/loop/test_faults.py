"""What goes wrong around the programs while a real loop trains (the model alone is endurance.py's fake one)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import endurance
import pytest
from conftest import REPOSITORY, on_devices, rows

from azr_jax.loop.play import Player
from azr_jax.workdir.metrics import METRICS_FILE
from executors import Pool, Status
from executors.sandbox.cgroup import find_place
from tests.executors.processes import descendants, still_running

pytestmark = pytest.mark.slow

# Its interpreter is gone while the file BROKEN is there.
LANGUAGE_FILE = """
import dataclasses
from pathlib import Path
from executors.languages import python

def harness_argv(interpreter, harness, mode):
    argv = python.LANGUAGE.harness_argv(interpreter, harness, mode)
    return ["/nowhere/python"] if (Path(__file__).parent / "BROKEN").exists() else argv

LANGUAGE = dataclasses.replace(python.LANGUAGE, harness_argv=harness_argv)
"""


def steps_done(workdir: Path) -> int:
    file = workdir / METRICS_FILE
    return file.read_bytes().count(b"\n") if file.exists() else 0


@contextlib.contextmanager
def beside(act):
    """Calls `act` again and again in a thread until the block ends."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def kill_workers(parent: int | None = None) -> int:
    """SIGKILL for every harness below a process (this one), from outside of their namespaces; how many there were."""
    killed = 0
    for pid in descendants(parent or os.getpid()):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"--serve" in command and not command[0].endswith((b"bwrap", b"sh")):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


@pytest.fixture
def judged(monkeypatch):
    """Every (job, verdict) of the loop."""
    kept: list[tuple] = []
    execute = Player.execute

    async def noting(self, language, job):
        verdict = await execute(self, language, job)
        kept.append((job, verdict))
        return verdict

    monkeypatch.setattr(Player, "execute", noting)
    return kept


def assert_right_or_infrastructure(judged) -> int:
    """Each verdict is what an undisturbed pool gives, or the pool's own fault; how many are the latter."""
    with Pool("python", workers=2) as pool:
        clean = pool.run_all([job for job, _ in judged])
    dropped = 0
    for (job, verdict), right in zip(judged, clean, strict=True):
        assert right.status is not Status.INFRASTRUCTURE
        dropped += verdict.status is Status.INFRASTRUCTURE
        if verdict.status is not Status.INFRASTRUCTURE:
            assert (verdict.status, verdict.values, verdict.correct) == (right.status, right.values, right.correct), job
    return dropped


def test_workers_killed_from_outside_all_the_time(tmp_path, judged):
    workdir, killed = tmp_path / "run", 0

    def kill() -> None:
        nonlocal killed
        if (workdir / "checkpoints" / "0").exists():
            killed += kill_workers()
        time.sleep(0.05)

    config = endurance.settings(12, {"executor.max_infrastructure_share": 1.0})
    with beside(kill):
        endurance.play(str(workdir), config)
    assert killed > 12
    metrics = rows(tmp_path / "run" / METRICS_FILE)
    assert [row["step"] for row in metrics] == list(range(1, 13))
    assert_right_or_infrastructure(judged)
    for row in metrics:
        # What the pool failed on is in no share of the model's: the other outcomes add up without it.
        for role in ("propose", "solve"):
            errors = sum(value for key, value in row.items() if key.startswith(f"{role}/error/"))
            share = row.get(f"{role}/outcome/infrastructure", 0.0)
            good = row.get(f"{role}/outcome/{'valid' if role == 'propose' else 'correct'}", 0.0)
            assert share == 1.0 or errors + good / (1 - share) == pytest.approx(1.0)


def test_an_interpreter_that_does_not_start_any_more_stops_the_run_until_it_is_mended(tmp_path):
    workdir, languages = tmp_path / "run", tmp_path / "languages"
    languages.mkdir()
    (languages / "python.py").write_text(LANGUAGE_FILE)
    config = endurance.settings(20, {"language_directory": str(languages), "checkpoint.every": 1})

    def break_after_three_steps() -> None:
        if steps_done(workdir) >= 3 and not (languages / "BROKEN").exists():
            (languages / "BROKEN").touch()
            kill_workers()
        time.sleep(0.005)

    message = r"programs failed for infrastructure, more than executor\.max_infrastructure_share=0\.2; run .*doctor"
    with beside(break_after_three_steps), pytest.raises(RuntimeError, match=message):
        endurance.play(str(workdir), config)
    done = steps_done(workdir)
    assert 3 <= done < 20
    assert all(row["exec/infrastructure"] <= 0.2 * row["exec/programs"] for row in rows(workdir / METRICS_FILE))
    with pytest.raises(ValueError, match=r"Python .* fails on its identity program: infrastructure"):
        endurance.play(str(workdir), config)
    (languages / "BROKEN").unlink()
    endurance.play(str(workdir), config)
    assert steps_done(workdir) == 20


def test_a_full_tmp(tmp_path, judged, monkeypatch):
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(full)], check=False)
    if mounted.returncode:
        pytest.skip("a file system of a few kilobytes can't be mounted here")
    try:
        monkeypatch.setenv("TMPDIR", str(full))
        monkeypatch.setattr(tempfile, "tempdir", None)
        with contextlib.suppress(OSError):
            (full / "ballast").write_bytes(bytes(1 << 20))
        endurance.play(str(tmp_path / "run"), endurance.settings(4))
        monkeypatch.undo()
    finally:
        subprocess.run(["umount", str(full)], check=True)
    assert steps_done(tmp_path / "run") == 4
    assert_right_or_infrastructure(judged)


def test_a_thousand_time_outs_in_a_row(tmp_path, monkeypatch):
    """In step 1; the step before it (seeding) and the one after it are as always."""
    usual = endurance.response

    def response(request_id: str, induction_inputs: int) -> str:
        text = usual(request_id, induction_inputs)
        hangs = request_id.startswith(("1/propose/deduction/", "1/propose/abduction/"))
        return text.replace("return x +", "import time; time.sleep(100); return x +") if hangs else text

    monkeypatch.setattr(endurance, "response", response)
    changes = {"selfplay.batch_per_task": 500, "executor.wall_s": 0.5, "executor.workers": 2}
    endurance.play(str(tmp_path / "run"), endurance.settings(2, changes))
    first, second = rows(tmp_path / "run" / METRICS_FILE)
    assert first["exec/timeouts"] >= 1000 and first["propose/deduction/valid"] == first["propose/abduction/valid"] == 0
    assert second["exec/timeouts"] < 100 and second["propose/valid"] > 0.8
    assert first["exec/infrastructure"] == second["exec/infrastructure"] == 0
    assert abs(second["host/open_files"] - first["host/open_files"]) < 20


RUN = """
    import sys
    import endurance
    if __name__ == "__main__":
        print("started", flush=True)
        changes = {{"executor.workers": 2, "checkpoint.every": 1, {changes}}}
        endurance.play(sys.argv[1], endurance.settings(int(sys.argv[2]), changes))
"""


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ends: its steps, the signals it gets, its exit status."""

    steps: int
    signals: tuple[int, ...]
    status: int
    changes: str = ""


ENDS = {
    "end": End(3, (), 0),
    "error": End(10**6, (), 1, '"executor.max_infrastructure_share": 0.0'),
    "SIGINT": End(10**6, (signal.SIGINT,), 0),
    "SIGTERM": End(10**6, (signal.SIGTERM,), 0),
    "SIGTERM twice": End(10**6, (signal.SIGTERM, signal.SIGTERM), -signal.SIGTERM, '"checkpoint.cut_steps": False'),
    "SIGKILL": End(10**6, (signal.SIGKILL,), -signal.SIGKILL),
}


@pytest.mark.parametrize("kind", ENDS)
def test_nothing_is_left_after_any_end(kind, tmp_path):
    """No process, control group, mount or temporary file; a namespace lives as long as a process or a mount of it."""
    end = ENDS[kind]
    temporary, workdir = tmp_path / "tmp", tmp_path / "run"
    temporary.mkdir(mode=0o755)
    script = textwrap.dedent(RUN.format(changes=end.changes))
    with subprocess.Popen(
        [sys.executable, "-c", script, str(workdir), str(end.steps)],
        cwd=REPOSITORY,
        env=on_devices(1) | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        seen: dict[int, str] = {}
        limit = time.monotonic() + 240
        while process.poll() is None and steps_done(workdir) < 2:
            assert time.monotonic() < limit
            seen |= descendants(process.pid)
            time.sleep(0.01)
        for number in end.signals:
            seen |= descendants(process.pid)
            process.send_signal(number)
            time.sleep(0.05)
        while process.poll() is None and time.monotonic() < limit:
            seen |= descendants(process.pid)
            if kind == "error":
                kill_workers(process.pid)
            time.sleep(0.01)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == end.status, output
    assert len(seen) > 3
    assert still_running(seen, patience_s=10.0) == []
    place = find_place()
    assert [path for part in place.folders for path in part.glob(f"azr_{process.pid}_*")] == [] if place else True
    assert [path for path in temporary.rglob("*") if path.is_file() or path.name.startswith("azr")] == []
    assert str(temporary) not in Path("/proc/self/mountinfo").read_text()
