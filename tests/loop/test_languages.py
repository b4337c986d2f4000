"""Several languages in one run: the mixture, buffers and metrics of each, and the kinds of error in every language."""

from __future__ import annotations

import json

import pytest
from conftest import ci_in, rows, small_config

from azr_jax.loop import tasks as drawing
from azr_jax.loop.play import Player
from azr_jax.selfplay import validation
from azr_jax.selfplay.rewards import SOLVER_REWARDS, RewardState, error_kind
from azr_jax.types import TASK_TYPES, Answer, InductionProblem, Role, Task, TaskType, Triplet
from executors import LANGUAGES, Limits, Pool

TWO = {"languages": ("python", "racket"), "language_weights": (3.0, 1.0)}


@pytest.fixture
def player(opened) -> Player:
    """A player of two languages that makes prompts and runs nothing."""
    config = small_config(**TWO, selfplay__batch_per_task=200)
    languages = {name: LANGUAGES[name] for name in config.languages}
    return Player(config, opened.player.sampler, opened.engine.tokenizer, languages, {})


def test_tasks_follow_the_weights_and_stay_with_their_own_buffers(player):
    config = player.config
    buffers = drawing.starting_buffers(config, player)
    programs = {"python": "def f(x):\n    return [x]", "racket": "(define (f x)\n  (list x))"}
    for name, program in programs.items():
        buffers[name].add_triplet(Triplet(name, program, "1", "[1]"))
        buffers[name].add_problem(InductionProblem(name, program, "m", ("1", "2"), ("[1]", "[2]"), 1))
    tasks = drawing.proposer_tasks(config, player, buffers, "1", TASK_TYPES)
    tasks += drawing.solver_tasks(config, player, buffers, 1)
    for role in Role:
        for kind in TASK_TYPES:
            chosen = [task.language for task in tasks if (task.role, task.type) == (role, kind)]
            # Six standard deviations of 200 draws with a chance of 3/4 are 0.18.
            assert len(chosen) == 200 and chosen.count("python") / 200 == pytest.approx(0.75, abs=0.18)
    other = {"python": "racket", "racket": "python"}
    for task in tasks:
        assert f"# Task: {LANGUAGES[task.language].full_name}," in task.prompt
        assert programs[other[task.language]] not in task.prompt
        assert task.source is None or task.source.language == task.language
    counters = buffers.counters()
    assert counters["python/triplets_size"] == counters["racket/triplets_size"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("second", ["racket", "javascript", "julia"])
def test_two_languages_through_the_whole_loop(second, command, tmp_path):
    if LANGUAGES[second].find() is None:
        pytest.skip(f"{second} is not installed: {LANGUAGES[second].install_hint}")
    workdir = tmp_path / "run"
    files = ",".join(f"azr_jax/embedded/heldout_{name}.jsonl" for name in ("python", second))
    status, output = command.run(
        workdir,
        languages=("python", second),
        language_weights=(1.0, 1.0),
        steps=2,
        selfplay__batch_per_task=8,
        selfplay__seed_triplets=12,
        evaluation__heldout=files,
        evaluation__heldout_limit=6,
        evaluation__every=1,
        executor__wall_s=20.0,
    )
    assert status == 0, output
    steps = rows(workdir / "metrics.jsonl")
    for name in ("python", second):
        for row in steps:
            assert row["exec/infrastructure"] == 0
            assert {f"solve/{name}/accuracy", f"propose/{name}/valid", f"buffer/{name}/triplets_size"} <= set(row)
            errors = sum(value for key, value in row.items() if key.startswith(f"solve/{name}/error/"))
            assert errors + row.get(f"solve/{name}/outcome/correct", 0.0) == pytest.approx(1)
        assert f"eval/heldout/greedy/{name}/all/accuracy" in steps[0]
    summary = json.loads((workdir / "summary.json").read_text())
    assert set(summary["heldout_languages"]) == {
        "greedy/python",
        f"greedy/{second}",
        "sampled/python",
        f"sampled/{second}",
    }
    of_python = summary["heldout_languages"]["greedy/python"]
    assert (
        sum(counts["n"] for counts in of_python["after"].values())
        == sum(counts["n"] for counts in of_python["before"].values())
        == 6
    )
    assert 'id="languages"' in (workdir / "report.html").read_text()
    # Every language answers in its own, and only its own programs are kept for it.
    saved = [json.loads(line) for line in (workdir / "transcripts.jsonl").read_text().splitlines()]
    assert {transcript["language"] for transcript in saved} == {"python", second}


# What a solver may answer, by language: a program that the reader or compiler refuses, one that fails when it runs, one
# that gives another value, a right one; and a text that is no value, a wrong value and the right one.
PROGRAMS = {
    "racket": ("(define (f x) (+ x 1)", "(define (f x) (car x))", "(define (f x) (+ x 2))", "(define (f x) (+ x 1))"),
    "julia": ("function f(x) return (x + 1", "f(x) = error(1)", "f(x) = x + 2", "f(x) = x + 1"),
    "javascript": (
        "function f(x) { return (x + 1; }",
        "function f(x) { return x.a.b; }",
        "function f(x) { return x + 2; }",
        "function f(x) { return x + 1; }",
    ),
    "python": (
        "def f(x):\nreturn x + 1",
        "def f(x):\n    return x[0]",
        "def f(x):\n    return x + 2",
        "def f(x):\n    return x + 1",
    ),
    "lua": (
        "function f(x) return (x + 1 end",
        "function f(x) return x.a.b end",
        "function f(x) return x + 2 end",
        "function f(x) return x + 1 end",
    ),
}
KINDS = ("syntax", "runtime", "wrong", None)
SETTINGS = small_config().reward


@pytest.fixture(scope="module", params=ci_in(sorted(PROGRAMS), "julia"))
def pool(request):
    language = LANGUAGES[request.param]
    if language.find() is None:
        pytest.skip(f"{language.name} is not installed: {language.install_hint}")
    with Pool(language, workers=1, limits=Limits(wall_s=30.0, cpu_s=10.0)) as opened:
        yield opened


def kind_and_reward(pool, task, answer):
    verdict = pool.submit(validation.solver_job(task, answer, "1")).result()
    correct, outcome = validation.solver_outcome(verdict)
    graded = SOLVER_REWARDS["graded"](True, correct, outcome, RewardState(), SETTINGS)
    return error_kind(True, correct, outcome), graded


def test_the_real_interpreter_tells_the_kinds_of_error_of_a_program(pool):
    problem = InductionProblem(pool.language.name, PROGRAMS[pool.language.name][3], "m", ("1", "2"), ("2", "3"), 1)
    task = Task("1", Role.SOLVE, TaskType.INDUCTION, pool.language.name, "prompt", problem)
    judged = [kind_and_reward(pool, task, Answer(program=program)) for program in PROGRAMS[pool.language.name]]
    assert tuple(kind for kind, _ in judged) == KINDS
    assert [reward for _, reward in judged] == [
        SETTINGS.graded_syntax,
        SETTINGS.graded_runtime,
        SETTINGS.graded_wrong,
        1.0,
    ]


def test_the_real_interpreter_tells_the_kinds_of_error_of_a_value(pool):
    source = Triplet(pool.language.name, PROGRAMS[pool.language.name][3], "1", "2")
    deduction = Task("1", Role.SOLVE, TaskType.DEDUCTION, pool.language.name, "prompt", source)
    abduction = Task("1", Role.SOLVE, TaskType.ABDUCTION, pool.language.name, "prompt", source)
    # Unbalanced, or something to be computed: in no language a value.
    for text, kind in ((")(", "syntax"), ("f(1)(", "syntax"), ("3", "wrong"), ("2", None)):
        assert kind_and_reward(pool, deduction, Answer(output=text))[0] == kind, text
    for text, kind in ((")(", "syntax"), ('"a"', "runtime"), ("2", "wrong"), ("1", None)):
        if text == '"a"' and pool.language.name == "javascript":
            continue  # adds a string and a number: a wrong value
        judged = kind_and_reward(pool, abduction, Answer(input=text))[0]
        assert judged == kind, (text, judged)
