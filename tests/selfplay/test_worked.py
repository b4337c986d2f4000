"""Worked examples: each shows a task's own prompt and a response that the format's reader takes for right."""

import pytest

from azr_jax.selfplay import prompts, validation, worked
from azr_jax.selfplay.parsing import Form, parse
from azr_jax.types import Answer, InductionProblem, Role, Task, TaskType, Triplet
from executors import LANGUAGES

RACKET = LANGUAGES["racket"]
TRIPLET = Triplet("racket", "(define (f x) (* x 2))", "21", "42")
PROBLEM = InductionProblem("racket", "(define (f x) (+ x 1))", "adds one", ("1", "2", "3"), ("2", "3", "4"), shown=2)
EXAMPLES = worked.by_language(
    [(TaskType.DEDUCTION, TRIPLET), (TaskType.ABDUCTION, TRIPLET), (TaskType.INDUCTION, PROBLEM)]
)
FORM = Form("strict", (RACKET.fence,), induction_inputs=2, max_program_chars=100)
EXPECTED = {
    (Role.SOLVE, TaskType.DEDUCTION): Answer(output="42"),
    (Role.SOLVE, TaskType.ABDUCTION): Answer(input="21"),
    (Role.SOLVE, TaskType.INDUCTION): Answer(program=PROBLEM.program),
    (Role.PROPOSE, TaskType.DEDUCTION): Answer(program=TRIPLET.program, input="21"),
    (Role.PROPOSE, TaskType.ABDUCTION): Answer(program=TRIPLET.program, input="21"),
    (Role.PROPOSE, TaskType.INDUCTION): Answer(message="adds one", inputs=("1", "2")),
}


@pytest.mark.parametrize("template", ["paper", "brief"])
@pytest.mark.parametrize(("role", "kind"), EXPECTED)
def test_an_example_is_the_tasks_own_prompt_and_a_right_response(role, kind, template):
    items = worked.role_examples(EXAMPLES, "racket", role, kind)[:1]
    if role is Role.SOLVE:
        text = worked.solved(RACKET, kind, items, template, drop_comments=False)
        asked = prompts.solve(RACKET, kind, items[0], template)
    else:
        text = worked.proposed(RACKET, kind, items, template, inputs=2)
        asked = (
            prompts.propose_induction(RACKET, PROBLEM.program, 2, template)
            if kind is TaskType.INDUCTION
            else prompts.propose_triplet(RACKET, kind, (), template)
        )
    assert text.startswith(asked)
    assert parse(role, kind, text.removeprefix(asked), FORM) == EXPECTED[role, kind]


def test_a_language_without_examples_is_shown_none():
    assert not worked.role_examples(EXAMPLES, "julia", Role.SOLVE, TaskType.DEDUCTION)


def test_a_proposal_that_is_an_example_of_the_prompt_is_a_duplicate():
    task = Task("t", Role.PROPOSE, TaskType.DEDUCTION, "racket", "")
    for program in (TRIPLET.program, "(define (f  x)\n  (* x 2)) ; twice", RACKET.example, RACKET.skeleton):
        refused = validation.copy_of_example(task, Answer(program=program, input="5"), RACKET, [TRIPLET])
        assert refused is not None and refused.reason == "duplicate"
    other = Answer(program="(define (f x) (* x 3))", input="5")
    assert validation.copy_of_example(task, other, RACKET, [TRIPLET]) is None
