"""Problems of a file: which ones a step draws, their prompt, what an answer is, what a solution earns."""

import dataclasses

import pytest

from azr_jax.selfplay import parsing, prompts, rewards, validation
from azr_jax.selfplay.problems import ProblemSet, draw, passed_share
from azr_jax.types import Answer, Role, Task, TaskType, VerifiedProblem
from executors import LANGUAGES, JobKind, Status, Verdict

PROBLEMS = tuple(VerifiedProblem(f"p{n}", f"Print {n}.", ("", "x\n"), (f"{n}\n", f"{n}\n")) for n in range(7))


def test_every_problem_comes_once_before_any_comes_again():
    steps = [draw(PROBLEMS, 3, step, seed=0) for step in range(1, 15)]
    assert all(len(drawn) == 3 for drawn in steps)
    in_order = [problem for drawn in steps for problem in drawn]
    rounds = [in_order[start : start + 7] for start in range(0, 42, 7)]
    assert all(set(drawn) == set(PROBLEMS) for drawn in rounds)
    assert len({tuple(drawn) for drawn in rounds}) > 1
    # A step's draw is a function of the step: a resumed run asks the same.
    assert draw(PROBLEMS, 3, 9, seed=0) == steps[8] != draw(PROBLEMS, 3, 9, seed=1)
    assert len(draw(PROBLEMS, 20, 1, seed=0)) == 20 and draw((), 0, 1, seed=0) == []


def test_the_digest_is_of_every_text():
    digest = ProblemSet(PROBLEMS).digest
    assert digest and ProblemSet().digest == ""
    changed = dataclasses.replace(PROBLEMS[0], expected=("0\n", "1\n"))
    assert len({digest, ProblemSet((changed, *PROBLEMS[1:])).digest, ProblemSet(PROBLEMS[::-1]).digest}) == 3


@pytest.mark.parametrize("template", ["paper", "brief"])
def test_the_prompt_has_the_statement_and_no_test(template):
    problem = VerifiedProblem("p", "Print the sum.\n", ("17 4\n",), ("21\n",))
    prompt = prompts.solve_problem(LANGUAGES["lua"], problem.statement, template)
    assert "Print the sum." in prompt and "Lua" in prompt and "standard input" in prompt
    assert "21" not in prompt and prompt.endswith(prompts.OPENING)


@pytest.mark.parametrize("form", ["azr", "strict"])
def test_an_answer_is_a_whole_program(form):
    form = parsing.Form(form, ("racket", "rkt"), 6, 1000)
    text = "add them </think> <answer>\n```racket\n(displayln (+ (read) (read)))\n```\n</answer>"
    answer = parsing.parse(Role.SOLVE, TaskType.PROBLEMS, text, form)
    assert answer == Answer(program="(displayln (+ (read) (read)))")
    wrong = parsing.parse(Role.SOLVE, TaskType.PROBLEMS, text.replace("racket", "output"), form)
    assert wrong == parsing.Invalid("missing_program", "tags of its blocks: 'output'")


def test_the_job_runs_the_program_once_for_each_test():
    task = Task("t", Role.SOLVE, TaskType.PROBLEMS, "python", "", PROBLEMS[0])
    job = validation.solver_job(task, Answer(program="print(0)"), "j")
    assert (job.kind, job.source, job.stdin, job.expect_stdout) == (
        JobKind.PROGRAM,
        "print(0)",
        ("", "x\n"),
        ("0\n", "0\n"),
    )
    assert not job.all_tests and validation.solver_job(task, Answer(program="x"), "j", all_tests=True).all_tests
    with pytest.raises(ValueError, match="source"):
        validation.solver_job(dataclasses.replace(task, source=None), Answer(program="x"), "j")


def test_the_reward_rises_with_the_tests_passed():
    assert [rewards.by_tests(-0.5, share) for share in (0.0, 0.5, 1.0)] == [-0.5, 0.25, 1.0]
    assert rewards.by_tests(-1.0, 0.0) == -1.0 and rewards.by_tests(1.0, 1.0) == 1.0
    assert passed_share(PROBLEMS[0], None) == 0.0
    # Of tests that end at the first failure, those before it.
    assert passed_share(PROBLEMS[0], Verdict("v", Status.OK, passed=(True, False))) == 0.5
    assert passed_share(PROBLEMS[0], Verdict("v", Status.TIMEOUT, passed=(False,))) == 0.0
