"""What all commands share: Ctrl-C is one line, with its own status, and what was done stays; home directories."""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from executors import LANGUAGES

# The line of `python -X importtime` that tells that a command's own code begins.
BEGUN = "executors.interruption"
PROBLEM = {
    "name": "twice",
    "language": "js",
    "prompt": "// Twice a number.\nfunction twice(n){\n",
    "tests": "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = twice;\n"
    "  assert.deepEqual(candidate(2),4);\n}\n\ntest();",
    "stop_tokens": ["\nfunction "],
}
# What each command is given; {folder} is empty, and {hangs} a program that sleeps.
COMMANDS = {
    "batch": ["executors", "batch", "--language=python"],
    "run": ["executors", "run", "--language=python", "--source={hangs}", "--input=1"],
    "doctor": ["executors", "doctor"],
    "train": ["azr_jax", "train", "--config=tiny", "--workdir={folder}/run"],
    "eval run": ["azr_jax.evaluation", "run", "--model=azr_jax/embedded/azr-tiny", "--language=js",
                 "--problems={problems}", "--out={folder}/out", "--max_tokens=2000"],
    "eval check": ["azr_jax.evaluation", "check", "--language=js", "--problems={problems}",
                   "--completions={completions}", "--out={folder}/out.jsonl", "--timeout=60", "--workers=2"],
    "study": ["azr_jax.study", "--study=studies/reward_tiny", "--out={folder}/study"],
    "plan": ["azr_jax.plan", "--config=tiny", "--topology=v5e:2x2"],
    "speed": ["azr_jax.speed", "sampler", "--size=tiny"],
    "pretrain": ["azr_jax.pretrain"],
    "report": ["azr_jax.report", "{folder}"],
    "status": ["azr_jax.monitor.status", "{folder}"],
    "export": ["azr_jax.checkpoint", "export", "--workdir={folder}", "--out={folder}/out"],
}  # fmt: skip
# After the line, which comes just before the code of the module runs.
MOMENTS_S = (0.1, 0.4, 1.0, 4.0)
QUICK = {("batch", 0.1), ("batch", 1.0), ("eval check", 0.4), ("train", 0.1)}


class Started:
    """A command and what it says, without the lines of -X importtime."""

    def __init__(self, argv: list[str], **files: object) -> None:
        words = [word.format(**files) for word in argv]
        self.process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", *words],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._begun: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.startswith("import time:"):
                self.lines.append(line.rstrip())
            elif BEGUN in line:
                self._begun.put(True)
        self._begun.put(False)

    def wait_until_begun(self) -> None:
        assert self._begun.get(timeout=60)

    def interrupt(self) -> int:
        """As a terminal does, to the whole group; the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(timeout=60)
        self._reader.join()
        return status


@pytest.fixture
def files(tmp_path):
    hangs, problems, completions = (tmp_path / name for name in ("hangs.py", "problems.jsonl", "completions.jsonl"))
    hangs.write_text("import time\ndef f(x):\n    time.sleep(50)\n")
    problems.write_text(json.dumps(PROBLEM) + "\n")
    bodies = ["  return 2 * n;\n}", "  for (;;);\n}"]
    completions.write_text("".join(json.dumps({"name": "twice", "completion": body}) + "\n" for body in bodies))
    folder = tmp_path / "folder"
    folder.mkdir()
    return {"hangs": hangs, "problems": problems, "completions": completions, "folder": folder}


@pytest.mark.parametrize(
    ("command", "moment_s"),
    [
        pytest.param(command, moment_s, marks=[] if (command, moment_s) in QUICK else pytest.mark.ci)
        for command in COMMANDS
        for moment_s in MOMENTS_S
        # By then it may have begun its first step, which it ends and saves (test_main.py).
        if (command, moment_s) != ("train", 4.0)
    ],
)
def test_ctrl_c_is_one_line(command, moment_s, files):
    if command.startswith("eval") and LANGUAGES["javascript"].find() is None:
        pytest.skip("javascript is not installed")
    started = Started(COMMANDS[command], **files)
    started.wait_until_begun()
    time.sleep(moment_s)
    if started.process.poll() is not None:
        pytest.skip("it had ended by then")
    status = started.interrupt()
    said = "\n".join(started.lines)
    assert "Traceback" not in said and "Exception ignored" not in said, said
    if command == "study" and status == 1:
        assert started.lines[-1] == "stopped; the same command with --resume goes on"
        return
    if "interrupted" not in said:
        pytest.skip("it was ending by itself")
    # A command that the interpreter ends after it has said so may die by the signal itself.
    assert status in (130, -signal.SIGINT), said
    assert [line for line in started.lines if "interrupted" in line] == started.lines[-1:], said


@pytest.mark.ci
def test_a_study_whose_process_is_terminated_ends_its_runs(tmp_path):
    """No run goes on without it, as when a scheduler takes the machine away."""
    out = tmp_path / "study"
    started = Started(["azr_jax.study", "--study=studies/learning_tiny", "--seeds=1", f"--out={out}", "--parallel=2"])
    until = time.monotonic() + 120
    while sum("starting" in log.read_text() for log in out.glob("*/*.log")) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    started.process.terminate()
    assert started.process.wait(timeout=120) == 1
    started._reader.join()
    assert started.lines[-1] == "stopped; the same command with --resume goes on"
    going_on = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _mentions(path, f"--workdir={out}")]
    assert not going_on, going_on


def _mentions(path, text):
    try:
        return text in path.read_text()
    except OSError:  # it has ended
        return False


def test_verdicts_that_were_written_before_stay(files):
    started = Started(COMMANDS["batch"])
    job = {"source": "def f(x):\n    return x", "inputs": ["1"]}
    assert started.process.stdin is not None
    started.process.stdin.write(json.dumps({"id": "done", **job}) + "\n")
    started.process.stdin.write(json.dumps({"id": "hangs", **job, "source": files["hangs"].read_text()}) + "\n")
    started.process.stdin.flush()
    end = time.monotonic() + 60
    while not any('"done"' in line for line in started.lines) and time.monotonic() < end:
        time.sleep(0.05)
    assert started.interrupt() in (130, -signal.SIGINT)
    verdicts = [json.loads(line) for line in started.lines if line.startswith("{")]
    assert [verdict["id"] for verdict in verdicts] == ["done"] and started.lines[-1] == "interrupted"


@pytest.mark.ci
def test_lines_that_were_judged_before_stay(files):
    if LANGUAGES["javascript"].find() is None:
        pytest.skip("javascript is not installed")
    started = Started(COMMANDS["eval check"], **files)
    begun = files["folder"] / "out.jsonl.begun"
    end = time.monotonic() + 60
    while not (begun.exists() and begun.read_text().count("\n") == 2) and time.monotonic() < end:
        time.sleep(0.05)
    assert started.interrupt() in (130, -signal.SIGINT)
    assert started.lines[-1] == f"interrupted; {begun} has 1 lines; the same command continues"
    assert [json.loads(line)["line"]["status"] for line in begun.read_text().splitlines()[1:]] == ["OK"]


@pytest.mark.ci
def test_an_interruption_lost_in_a_callback_is_raised_again():
    """Whatever raises amid a callback of the garbage collector is only printed by Python."""
    script = """
        import gc, os, signal, threading, time
        from executors.interruption import exit_with
        def callback(phase, info):
            gc.callbacks.clear()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
        def main():
            gc.callbacks.append(callback)
            gc.collect()
            try:
                threading.Event().wait(40)
            finally:
                # Clearing up, for longer than it takes until an interruption would come again.
                time.sleep(2.5)
                print("cleared up", flush=True)
        exit_with(main)
    """
    assert gc.isenabled()
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert (done.returncode, done.stdout) == (130, "cleared up\n"), done.stderr
    assert done.stderr.endswith("interrupted\n") and time.monotonic() - begin < 20


def test_a_folder_in_the_home_directory_is_found_behind_a_flag(tmp_path):
    """The shell leaves `--workdir=~/run` as it is; the command would look for, or make, a folder called "~"."""
    command = ["azr_jax.checkpoint", "export", "--workdir=~/no run", f"--out={tmp_path}/~/out"]
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode and f"{tmp_path}/no run" in ended.stderr and "~" not in ended.stderr, ended.stderr
