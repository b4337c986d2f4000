"""Held-out problems: the file, the counts, and that answers depend on names and weights alone."""

import dataclasses
import json

import pytest
from conftest import REPOSITORY

from azr_jax.evaluation.scoring import heldout
from azr_jax.loop.play import Solution
from azr_jax.types import TASK_TYPES, InductionProblem, Role, Rollout, StopReason, Task, TaskType, Triplet

FILES = sorted((REPOSITORY / "azr_jax" / "embedded").glob("heldout_*.jsonl"))
TRIPLET = {"type": "abduction", "language": "python", "program": "def f(x):\n    return x", "input": "1", "output": "1"}
PROBLEM = {
    "type": "induction",
    "language": "python",
    "program": TRIPLET["program"],
    "message": "the same",
    "inputs": ["1", "2"],
    "outputs": ["1", "2"],
    "shown": 1,
}


def written(tmp_path, *lines):
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return file


def solution(kind, formatted, correct, outcome="wrong"):
    task = Task("t", Role.SOLVE, kind, "python", "prompt")
    return Solution(task, Rollout("t", (1,), (2,), (0.0,), "x", StopReason.EOS), formatted, correct, outcome, None)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_embedded_problems_are_enough_of_each_type_and_all_different(file):
    problems = heldout.load(file)
    kinds = [kind for kind, _ in problems]
    assert len(problems) >= 300
    assert all(kinds.count(kind) >= 100 for kind in TASK_TYPES)
    assert {item.language for _, item in problems} == {file.stem.removeprefix("heldout_")}
    assert len(set(problems)) == len(problems)
    # The first few of a limit are of every type.
    assert {kind for kind, _ in problems[:3]} == set(TASK_TYPES)


def test_problems_are_read_as_what_they_are(tmp_path):
    (kind, triplet), (other, problem) = heldout.load(written(tmp_path, TRIPLET, PROBLEM))
    assert (kind, triplet) == (TaskType.ABDUCTION, Triplet("python", TRIPLET["program"], "1", "1"))
    assert other is TaskType.INDUCTION
    assert problem == InductionProblem("python", TRIPLET["program"], "the same", ("1", "2"), ("1", "2"), 1)
    assert len(heldout.load(tmp_path / "problems.jsonl", limit=1)) == 1


def test_several_files_are_read_one_after_another(tmp_path):
    first = written(tmp_path, TRIPLET, PROBLEM)
    second = tmp_path / "other.jsonl"
    second.write_text(json.dumps({**TRIPLET, "language": "racket"}) + "\n")
    assert [item.language for _, item in heldout.load(f"{first}, {second}")] == ["python", "python", "racket"]
    assert [item.language for _, item in heldout.load(f"{first},{second}", limit=1)] == ["python", "racket"]


def test_problems_of_several_languages_are_also_counted_by_language():
    answers = [solution(TaskType.DEDUCTION, True, True), solution(TaskType.INDUCTION, True, False)]
    assert set(heldout.count_languages(answers, "greedy")) == {"greedy"}
    answers[1] = dataclasses.replace(answers[1], task=dataclasses.replace(answers[1].task, language="racket"))
    counts = heldout.count_languages(answers, "greedy")
    assert set(counts) == {"greedy", "greedy/python", "greedy/racket"}
    assert counts["greedy"] == heldout.count(answers)
    assert counts["greedy/python"] == heldout.count(answers[:1])
    assert heldout.metrics(counts["greedy/racket"], "eval/heldout/greedy/racket") == {
        **{f"eval/heldout/greedy/racket/{kind}/accuracy": 0.0 for kind in ("induction", "all")},
        **{f"eval/heldout/greedy/racket/{kind}/formatted": 1.0 for kind in ("induction", "all")},
        **{f"eval/heldout/greedy/racket/{kind}/accuracy_formatted": 0.0 for kind in ("induction", "all")},
    }


def test_problems_of_a_language_that_is_not_played_are_refused(opened, tmp_path):
    problems = heldout.load(written(tmp_path, {**TRIPLET, "language": "racket"}))
    with pytest.raises(ValueError, match=r"has problems in racket, and languages=\('python',\)"):
        heldout.tasks(opened.player, problems)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json\n", "line 2"),
        ({**TRIPLET, "type": "seduction"}, "seduction"),
        ({key: value for key, value in TRIPLET.items() if key != "output"}, "lacks"),
        ({**TRIPLET, "colour": "red"}, "colour"),
        ("[1]\n", "line 2"),
        ({**TRIPLET, "program": 5}, "program is 5, not text"),
        ({**PROBLEM, "inputs": "12"}, "inputs is '12', not a list of texts"),
        ({**PROBLEM, "outputs": ["1"]}, "2 inputs, 1 outputs"),
        ({**PROBLEM, "shown": 3}, "3 are shown"),
        ({**PROBLEM, "shown": "1"}, "shown is '1', not a number of pairs"),
    ],
)
def test_a_line_that_is_no_problem_is_named(tmp_path, line, message):
    with pytest.raises(ValueError, match="line 2") as error:
        heldout.load(written(tmp_path, TRIPLET, line))
    assert message in str(error.value)


def test_line_separators_inside_texts_end_no_line(tmp_path):
    line = json.dumps({**TRIPLET, "output": "'\u2028\x85'"}, ensure_ascii=False)
    (tmp_path / "problems.jsonl").write_text(f"{line}\n\n{line}\n", encoding="utf-8")
    assert len(heldout.load(tmp_path / "problems.jsonl")) == 2


def test_a_missing_file_is_named_with_its_key(tmp_path):
    with pytest.raises(ValueError, match="no problem in it"):
        heldout.load(written(tmp_path, "\n"))
    with pytest.raises(FileNotFoundError, match=r"evaluation\.heldout='.*none.jsonl': no such file"):
        heldout.load(tmp_path / "none.jsonl")


def test_counts_leave_out_what_the_executors_failed_on():
    solutions = [
        solution(TaskType.DEDUCTION, True, True, "correct"),
        solution(TaskType.DEDUCTION, True, False),
        solution(TaskType.DEDUCTION, False, False, "no_answer"),
        solution(TaskType.DEDUCTION, True, False, "infrastructure"),
        solution(TaskType.INDUCTION, False, False, "no_answer"),
    ]
    counts = heldout.count(solutions)
    assert counts["deduction"] == {"n": 3, "correct": 1, "formatted": 2}
    assert counts["abduction"] == {"n": 0, "correct": 0, "formatted": 0}
    metrics = heldout.metrics(counts, "eval")
    assert metrics["eval/deduction/accuracy"] == pytest.approx(1 / 3)
    assert metrics["eval/deduction/accuracy_formatted"] == 0.5
    assert metrics["eval/all/accuracy"] == 0.25
    assert metrics["eval/all/formatted"] == 0.5
    assert metrics["eval/induction/accuracy"] == 0
    assert "eval/induction/accuracy_formatted" not in metrics
    assert not any("abduction" in key for key in metrics)


@pytest.mark.ci
def test_answers_depend_on_the_name_and_not_on_the_other_problems(opened):
    params = opened.engine.load_params()
    problems = heldout.load(FILES[[file.stem for file in FILES].index("heldout_python")], 12)
    tasks = heldout.tasks(opened.player, problems)

    def texts(chosen, temperature, name):
        solved = heldout.solve_all(opened.player, params, chosen, temperature, name)
        return [(solution.rollout.text, solution.correct) for solution in solved]

    greedy = texts(tasks, 0.0, "a")
    assert texts(tasks, 0.0, "b") == greedy
    assert texts(tasks[:5], 0.0, "a") == greedy[:5]
    sampled = texts(tasks, 1.0, "a")
    assert texts(tasks[:5], 1.0, "a") == sampled[:5]
    assert texts(tasks, 1.0, "b") != sampled
