"""The command line, as a user runs it."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from executors.speed import Mark, growth

REPOSITORY = Path(__file__).parents[2]


def executors(*arguments, text="", **environment):
    command = [sys.executable, "-m", "executors", *arguments]
    variables = os.environ | environment
    return subprocess.run(
        command, input=text, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False, env=variables
    )


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


def test_ids_of_a_batch_come_back_as_they_are():
    ids = [7, "7", 7.5, None, True, ["a", 1], {"task": 3, "sample": [1]}, "é\ud800", "", "7"]
    program = {"source": "def f(x):\n    return x", "input": "1"}
    lines = [program | {"id": identity, "expect": expect} for identity in ids for expect in (None, "1", "2")]
    done = executors("batch", "--language=python", text="\n".join(map(json.dumps, lines)))
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    pairs = sorted(json.dumps([verdict["id"], verdict["correct"]]) for verdict in verdicts)
    assert pairs == sorted(json.dumps([identity, correct]) for identity in ids for correct in (None, True, False))


@pytest.mark.parametrize("cold", [(), ("--cold",)])
def test_bad_lines_of_a_batch_lose_nothing(cold):
    good = [json.dumps({"id": name, "source": "def f(x):\n    return x", "input": "1"}) for name in "abc"]
    bad = {
        "not json": "Expecting value",
        '{"source": "x", "input": "1"}': "the key 'id' is missing",
        '{"id": "p", "input": "1"}': "the key 'source' is missing",
        '{"id": "q", "source": "x"}': "the key 'input' is missing",
        '{"id": "r", "source": "x", "input": 5}': "input is 5: give a text in the language",
        '{"id": "s", "source": null, "input": "1"}': "source is None",
        '{"id": "t", "source": "x", "inputs": ["1", "2"], "expect": "1"}': "1 expect for 2 inputs",
        '{"id": "u", "kind": "magic", "source": "x", "input": "1"}': "'magic' is not a valid JobKind",
        "[1]": "it is list, not an object",
        "[" * 100_000: "recursion",
    }
    lines = [good[0], "", *bad, good[1], good[2]]
    done = executors("batch", "--language=python", *cold, text="\n".join(lines))
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == ["a", "b", "c"]
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    for number, (line, why) in enumerate(zip(said, bad.values(), strict=True), 3):
        assert line.startswith(f"error: line {number} is no job and is left out: ")
        assert why in line


def test_batch_of_a_language_without_good_lines_ends():
    assert executors("batch", "--language=python", text="").returncode == 0
    assert executors("batch", "--language=python", text="{}").returncode == 2


def test_batch_answers_while_its_input_is_open():
    command = [sys.executable, "-m", "executors", "batch", "--language=python", "--workers=1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdin is not None and process.stdout is not None
        for number in range(3):
            process.stdin.write(json.dumps({"id": number, "source": "def f(x):\n  return x", "input": "7"}) + "\n")
            process.stdin.flush()
            verdict = json.loads(process.stdout.readline())
            assert (verdict["id"], verdict["value"]) == (number, "7")
        process.stdin.close()
        assert process.wait(30) == 0


def test_unreadable_expect_is_no_wrong_answer(tmp_path):
    source = tmp_path / "same.py"
    source.write_text("def f(x):\n    return x\n")
    done = executors("run", "--language=python", f"--source={source}", "--input=1", "--expect=1) or True #")
    verdict = json.loads(done.stdout)
    assert (verdict["status"], verdict["correct"], done.returncode) == ("infrastructure", None, 1)
    assert "the expected value can't be read" in verdict["message"]


def test_a_batch_of_whole_programs_with_tests():
    job = {"id": 1, "kind": "program", "source": "print(input())", "stdin": ["a", "b"], "expect_stdout": ["a", "c"]}
    command = [sys.executable, "-m", "executors", "batch", "--language=python", "--workers=1"]
    done = subprocess.run(
        command,
        input=json.dumps(job | {"all_tests": True}),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert (verdict["correct"], verdict["passed"]) == (False, [True, False])


def test_a_line_of_a_batch_has_its_own_limits():
    program = {"kind": "program", "stdin": ["", ""], "expect_stdout": ["1", "1"]}
    sleep = program | {"source": "import time\ntime.sleep(1.5)\nprint(1)"}
    lines = [
        sleep | {"id": "default"},
        sleep | {"id": "late", "timeout": 0.5},
        sleep | {"id": "late together", "total_timeout": 2.5},
        program | {"id": "large", "source": "x = bytes(300 << 20)\nprint(1)", "memory_mib": 128},
        *(sleep | {"id": "bad", key: value} for key, value in {"timeout": "1", "memory_mib": True}.items()),
        *(sleep | {"id": "bad", key: value} for key, value in {"all_tests": "no", "timeout": -1}.items()),
        {"id": "bad", "source": "def f(x): return x", "input": "1", "timeout": 1},
    ]
    command = [sys.executable, "-m", "executors", "batch", "--language=python", "--workers=2", "--memory-mib=512"]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    statuses = {verdict["id"]: verdict["status"] for verdict in map(json.loads, done.stdout.splitlines())}
    assert statuses == {"default": "ok", "late": "timeout", "late together": "timeout", "large": "memory"}
    assert done.returncode == 2 and done.stderr.count("is no job and is left out") == 5
    for words in ("timeout is '1'", "memory_mib is True", "all_tests is 'no'", "timeout is -1", "limits of its own"):
        assert words in done.stderr


@pytest.mark.parametrize("command", ["run", "batch", "speed", "benchmark"])
def test_missing_interpreter_is_an_error_with_the_install_command(command, tmp_path):
    arguments = ["--source=/dev/null", "--input=1"] if command == "run" else []
    done = executors(command, "--language=racket", *arguments, PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Racket is not installed: " in done.stderr
    assert "apt install" in done.stderr


def test_mistakes_are_one_line_with_the_fix(tmp_path):
    done = executors("run", "--language=cobol", "--source=/dev/null", "--input=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--language is 'cobol': use one of" in done.stderr
    done = executors("run", "--language=python", "--source=/dev/null")
    assert "--input is missing" in done.stderr
    done = executors("run", "--language=python", f"--source={tmp_path / 'none.py'}", "--input=1")
    assert "No such file" in done.stderr
    done = executors("run", "--language=python", "--source=/dev/null", "--input=1", "--program")
    assert "leave out --input" in done.stderr
    for option, name in (
        ("--timeout=0", "wall_s is 0.0: use a number above 0"),
        ("--timeout=nan", "wall_s is nan: use a number above 0"),
        ("--timeout=1e7", "wall_s is 10000000.0: use at most 1000000"),
        ("--memory-mib=-1", "memory_mib is -1: use a number above 0"),
    ):
        done = executors("run", "--language=python", "--source=/dev/null", "--input=1", option)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"the limit {name}" in done.stderr


@pytest.mark.parametrize("flag", ["--language_directory", "--language-dir"])
@pytest.mark.parametrize("command", ["run", "batch", "doctor"])
def test_both_names_of_the_directory_of_languages(command, flag, tmp_path):
    needed = {"run": ["--language=x", "--source=/dev/null", "--input=1"], "batch": ["--language=x"], "doctor": []}
    done = executors(command, *needed[command], f"{flag}={tmp_path / 'none'}")
    assert done.returncode == 2 and f"{str(tmp_path / 'none')!r} does not exist" in done.stderr


def test_doctor():
    done = executors("doctor", "python")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^python +ran its identity program$", done.stdout, re.MULTILINE)
    missing = executors("doctor", "python", "cobol")
    assert missing.returncode == 2 and re.search(r"^cobol +does not work: .*use one of", missing.stdout, re.MULTILINE)
    assert "python" in done.stdout
    assert "namespaces" in done.stdout
    assert "Programs run in the tier" in done.stdout
    for feature in ("not root", "bubblewrap", "namespaces", "seccomp", "landlock", "cgroup"):
        assert re.search(rf"^{feature} +(yes|no) +\S", done.stdout, re.MULTILINE), feature


def test_speed_rows():
    done = executors("speed", "--language=python", "--seconds=0.3", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert row["language"] == "python"
    assert row["warm_per_s_1"] > row["cold_per_s"] > 0
    assert row["warm_per_s_all"] > 0
    # Where groups count core time, a second of one core holds no more than a second of it.
    if row["warm_core_ms_1"] is not None:
        assert row["cold_core_ms"] > 2 * row["warm_core_ms_1"] > 0
        assert row["warm_core_ms_1"] * row["warm_per_s_1"] < 1100


@pytest.mark.ci
def test_speed_of_tests():
    done = executors("speed", "--language=python", "--tests=2", "--seconds=0.3", "--json")
    row = json.loads(done.stdout.splitlines()[-1])[0]
    # A fork saves at least the sandbox.
    assert row["tests"] == 2 and row["forked_1_per_s"] > row["cold_per_s"] > 0, row


def test_soak_says_whether_anything_grew():
    done = executors("speed", "--language=python", "--soak=600", "--json")
    # Latency is that of the machine, too: other tests may take it.
    grown = done.stdout.partition("GREW: ")[2].partition("\n")[0]
    assert grown.partition("latency")[0] == "", done.stdout + done.stderr
    assert done.returncode == bool(grown)
    marks = json.loads(done.stdout.splitlines()[-1])
    assert [mark["programs"] for mark in marks] == list(range(60, 601, 60))


def test_growth_is_seen():
    mark = Mark(100, 50.0, 2.0, 60.0, 120.0, 6, 20)
    assert growth([mark, mark]) == []
    for change in ({"latency_ms": 3.1}, {"parent_mib": 70.0}, {"workers_mib": 160.0}, {"descriptors": 21}):
        assert len(growth([mark, dataclasses.replace(mark, **change)])) == 1


@pytest.mark.slow
def test_soak_of_100000_programs():
    done = subprocess.run(
        [sys.executable, "-m", "executors", "speed", "--language=python", "--soak=100000"],
        capture_output=True, text=True, cwd=REPOSITORY, timeout=3600, check=False,
    )  # fmt: skip
    assert "nothing grew" in done.stdout, done.stdout


@pytest.mark.ci
def test_batch_with_programs_that_hang_is_finished_in_time():
    done = executors("speed", "--hanging=40", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert (row["busy"], row["asleep"]) == (1, 1)
    # 1.15 on an idle machine; here other tests may take cores from one of the two batches that are compared.
    assert row["over"] < 1.5


def test_build():
    done = executors("build")
    assert done.returncode == 0, done.stderr
    for name, line in zip(("javascript", "racket"), done.stdout.splitlines(), strict=True):
        assert line.startswith(name)
        assert "not installed" in line or Path(line.split()[1]).exists()
    done = executors("build", "python")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing is built for 'python': use javascript or racket" in done.stderr
