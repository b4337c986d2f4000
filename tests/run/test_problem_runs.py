"""Runs with problems beside self-play, as a person starts them: resumed, with a file that has changed, of 100 MB."""

from __future__ import annotations

import json
import types

import pytest
from conftest import REPOSITORY, rows, small_config
from test_docs import undocumented
from test_main import assert_same_run

from azr_jax.run.interpreters import open_pool
from azr_jax.run.problems import load_problems
from azr_jax.run.restoring import _check_buffers, _with_problems
from azr_jax.run.session import SessionState
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.problems import ProblemSet
from azr_jax.types import VerifiedProblem
from executors import LANGUAGES, Job, JobKind

PROBLEM = VerifiedProblem("sum", "Add.", ("1\n2\n",), ("3\n",))


def opened_with(*problems, allow=False):
    player = types.SimpleNamespace(problems=ProblemSet(problems))
    config = small_config(problems__path="problems.jsonl")
    return types.SimpleNamespace(config=config, workdir="runs/x", player=player, allow_config_change=allow)


def test_a_resumed_run_draws_from_the_problems_that_it_began_with():
    session = SessionState(2, Buffers({}), problems=ProblemSet((PROBLEM,)).digest)
    saved = session.to_json(0.0)
    again = SessionState.from_json(2, saved, {}, 8)
    assert _with_problems(opened_with(PROBLEM), again) == again
    with pytest.raises(ValueError, match=r"problems\.path='problems.jsonl': its problems are not those"):
        _with_problems(opened_with(PROBLEM, PROBLEM), again)
    assert _with_problems(opened_with(allow=True), again).problems == ""
    # A save of a version without problems.
    del saved["problems"]
    assert _with_problems(opened_with(), SessionState.from_json(2, saved, {}, 8)).problems == ""


@pytest.mark.parametrize(("apart", "duplicates"), [(False, False), (True, False), (False, True)])
def test_a_resumed_run_has_the_kind_of_buffers_that_it_began_with(apart, duplicates):
    buffers = Buffers.empty(8, {"python": LANGUAGES["python"].canonical_program}, apart, duplicates)
    saved = Buffers.from_json(buffers.to_json(), {"python": LANGUAGES["python"].canonical_program})
    own = {"selfplay__buffers": "apart" if apart else "shared", "selfplay__duplicates": "allow" if duplicates else "0"}
    run = types.SimpleNamespace(config=small_config(**own), workdir="runs/x")
    _check_buffers(run, saved)
    for key, other in (("buffers", "shared" if apart else "apart"), ("duplicates", "-1" if duplicates else "allow")):
        run.config = small_config(**own | {f"selfplay__{key}": other})
        with pytest.raises(ValueError, match=f"selfplay.{key}='{other}': runs/x has buffers of another kind"):
            _check_buffers(run, saved)


@pytest.mark.ci
def test_a_file_of_100_mb(tmp_path):
    file = tmp_path / "problems.jsonl"
    tests = [{"input": "x" * (100 << 20), "output": "104857600\n"}, {"input": "", "output": "y" * (4 << 20)}]
    file.write_text(json.dumps({"name": "large", "statement": "Count.", "tests": tests}))
    config = small_config(problems__path=str(file))
    (problem,) = load_problems(config).problems
    program = "import sys\nsize = len(sys.stdin.read())\nprint(size if size else 'y' * (4 << 20))"
    with open_pool(config, LANGUAGES["python"]) as pool:
        job = Job("large", JobKind.PROGRAM, program, stdin=problem.stdin, expect_stdout=problem.expected)
        verdict = pool.submit(job).result()
    assert verdict.correct and verdict.passed == (True, True), verdict.message


@pytest.mark.ci
def test_a_run_with_problems_is_resumed_exactly_and_its_page_has_them(command, tmp_path):
    file = tmp_path / "problems.jsonl"
    file.write_text((REPOSITORY / "azr_jax" / "embedded" / "problems.jsonl").read_text())
    settings = {"problems__path": str(file), "problems__reward": "share", "languages": "python,racket"}
    settings |= {"language_weights": "2,1", "learner__minibatches": "task_type", "steps": 4}
    status, output = command.run(tmp_path / "whole", **settings)
    assert status == 0, output
    status, output = command.run(tmp_path / "cut", **{**settings, "steps": 2})
    assert status == 0, output
    status, output = command.run(tmp_path / "cut", **settings)
    assert status == 0 and "at step 2" in output, output
    assert_same_run(tmp_path / "whole", tmp_path / "cut", 4)
    metrics = rows(tmp_path / "whole" / "metrics.jsonl")
    keys = {key for row in metrics for key in row if "solve/problems" in key or "solve_problems" in key}
    assert not undocumented(keys) and "solve/problems/tests_passed" in keys and "ppo/solve_problems/tokens" in keys
    assert any(key.startswith("solve/problems/racket/") for key in keys)
    assert all(row["ppo/steps"] == 4 for row in metrics)
    assert "problems of problems.path" in (tmp_path / "whole" / "report.html").read_text()
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    status, output = command.run(tmp_path / "cut", **{**settings, "steps": 5})
    assert status != 0 and "its problems are not those" in output and "Traceback" not in output
