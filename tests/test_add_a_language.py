"""docs/add_a_language.md, followed to the letter: its files in a temporary folder, and the whole loop with them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, rows

from executors import Job, JobKind, Limits, Pool, Status, load_languages

PAGE = REPOSITORY / "docs" / "add_a_language.md"
BLOCK = re.compile(r"`((?:executors|configs)/[\w/]+\.py)`:\n\n```python\n(.*?)\n```\n", re.DOTALL)
NAMES = ["executors/languages/prefix/__init__.py", "executors/languages/prefix/interpreter.py", "configs/prefix.py"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The page's files, by themselves."""
    root = tmp_path_factory.mktemp("prefix")
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [name for name, _ in blocks] == NAMES
    for name, text in blocks:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    return root


CASES = [
    ("(define (f x) (+ x 1))", "41", Status.OK, "42"),
    ("(define (f x)\n  (define a (reverse x))\n  (cons 5 a))", "(list 1 2)", Status.OK, "(list 5 2 1)"),
    ("(define (f x) (+ x 1)", "41", Status.SYNTAX_ERROR, ""),
    ("(define (g x) x)", "41", Status.SYNTAX_ERROR, ""),
    ("(define (f x) (car x))", "41", Status.RUNTIME_ERROR, ""),
    ("(define (f x) (cdr y))", "41", Status.RUNTIME_ERROR, ""),
    ("(define (f x) x)", "(+ 1 2)", Status.FORBIDDEN, ""),
]


def test_the_language_of_the_page_runs_contained(folder):
    (language,) = load_languages(folder / "executors" / "languages").values()
    with Pool(language, workers=1, limits=Limits(wall_s=20.0, cpu_s=5.0, memory_mib=128)) as pool:
        for source, given, status, value in CASES:
            verdict = pool.submit(Job("1", JobKind.EVALUATE, source, (given,), determinism=True)).result()
            assert (verdict.status, "".join(verdict.values)) == (status, value), (source, verdict)
        identity = Job("2", JobKind.EVALUATE, language.identity, (language.identity_input,))
        assert pool.submit(identity).result().values == (language.identity_output,)
        checked = Job("3", JobKind.VALUE, inputs=(" ( list 1  2 )",), expect=("(list 1 2)",))
        assert pool.submit(checked).result().correct is True


def test_an_added_language_has_whole_programs_with_tests(tmp_path):
    (tmp_path / "moon").mkdir()
    (tmp_path / "moon" / "__init__.py").write_text(
        "import dataclasses\nfrom executors.languages.lua import LANGUAGE as LUA\n"
        "LANGUAGE = dataclasses.replace(LUA, name='moon', full_name='Moon')\n"
    )
    language = load_languages(tmp_path)["moon"]
    if language.find() is None:
        pytest.skip("no Lua interpreter here")
    source = "print(io.read('n') + io.read('n'))"
    job = Job("1", JobKind.PROGRAM, source, stdin=("1 2", "3 4"), expect_stdout=("3", "8"), all_tests=True)
    with Pool(language, workers=1, limits=Limits(wall_s=20.0, cpu_s=5.0, memory_mib=128)) as pool:
        verdict = pool.submit(job).result()
    assert (verdict.status, verdict.correct, verdict.passed) == (Status.OK, False, (True, False))


@pytest.mark.slow
def test_the_whole_loop_learns_in_the_language_of_the_page(folder, tmp_path):
    workdir = tmp_path / "run"
    changes = {
        "language_directory": str(folder / "executors" / "languages"),
        "steps": 1,
        "selfplay.batch_per_task": 8,
        "executor.wall_s": 20.0,
        "metrics.tensorboard": False,
    }
    command = [sys.executable, "-m", "azr_jax.main", f"--config={folder / 'configs' / 'prefix.py'}"]
    command += [f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in changes.items())]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (metrics,) = rows(workdir / "metrics.jsonl")
    # The model has never seen Prefix, and all but the first of these are programs of its own that ran.
    assert metrics["buffer/prefix/triplets_size"] >= 8
    assert metrics["exec/programs"] > 0 and metrics["exec/infrastructure"] == 0
    assert {"solve/accuracy", "solve/deduction/accuracy", "ppo/loss"} <= set(metrics)
    assert json.loads((workdir / "summary.json").read_text())["steps"] == 1
    assert (workdir / "report.html").is_file() and (workdir / "export" / "config.json").is_file()
