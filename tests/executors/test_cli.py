"""The command line, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def executors(*arguments, text=""):
    command = [sys.executable, "-m", "executors", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)


def test_run(tmp_path):
    source = tmp_path / "double.py"
    source.write_text("def f(x):\n    return x * 2\n")
    done = executors("run", "--language=python", f"--source={source}", "--input=21", "--expect=42")
    verdict = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (verdict["status"], verdict["value"], verdict["correct"]) == ("ok", "42", True)
    done = executors("run", "--language=python", f"--source={source}", "--input=21", "--expect=42.0")
    assert json.loads(done.stdout)["correct"] is False
    assert done.returncode == 1


def test_run_limits_and_programs(tmp_path):
    source = tmp_path / "loop.py"
    source.write_text("def f(x):\n    while True: pass\n")
    done = executors("run", "--language=python", f"--source={source}", "--input=0", "--timeout=0.5", "--cold")
    assert json.loads(done.stdout)["status"] == "timeout"
    done = executors("run", "--language=python", "--source=-", "--program", text="print('hi')\nraise SystemExit(4)")
    verdict = json.loads(done.stdout)
    assert (verdict["status"], verdict["stdout"], verdict["exit_code"]) == ("runtime_error", "hi\n", 4)


def test_batch():
    lines = [
        {"id": "a", "source": "def f(x):\n    return x + 1", "input": "1", "expect": "2"},
        {"id": "b", "source": "def f(x):\n    return x +", "input": "1"},
        {"id": "c", "source": "def f(x):\n    return x", "inputs": ["1", "[2]"], "expect": ["1", "[3]"]},
        {"id": "d", "kind": "value", "input": "{2, 1}", "expect": "{1, 2}"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = executors("batch", "--language=python", "--workers=2", text=text)
    verdicts = {verdict["id"]: verdict for verdict in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stderr
    assert {name: (v["status"], v["value"], v["correct"]) for name, v in verdicts.items()} == {
        "a": ("ok", "2", True),
        "b": ("syntax_error", None, None),
        "c": ("ok", "1", False),
        "d": ("ok", "{1, 2}", True),
    }
    assert all(isinstance(verdict["seconds"], float) for verdict in verdicts.values())


def test_mistakes_are_one_line_with_the_fix(tmp_path):
    done = executors("run", "--language=cobol", "--source=/dev/null", "--input=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--language is 'cobol': use one of" in done.stderr
    done = executors("run", "--language=python", "--source=/dev/null")
    assert "--input is missing" in done.stderr
    done = executors("batch", "--language=python", text='{"source": "x"}\n')
    assert done.returncode == 2
    assert "line 1 is no job" in done.stderr
    done = executors("run", "--language=python", f"--source={tmp_path / 'none.py'}", "--input=1")
    assert "No such file" in done.stderr


def test_doctor():
    done = executors("doctor")
    assert done.returncode == 0, done.stdout
    assert "python" in done.stdout
    assert "namespaces" in done.stdout
    assert "Programs run in the tier" in done.stdout


def test_build():
    done = executors("build")
    assert done.returncode == 0, done.stderr
    for name, line in zip(("javascript", "racket"), done.stdout.splitlines(), strict=True):
        assert line.startswith(name)
        assert "not installed" in line or Path(line.split()[1]).exists()
    done = executors("build", "python")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing is built for 'python': use javascript or racket" in done.stderr
