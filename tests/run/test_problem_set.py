"""The file of `problems.path`: the forms that are read, what is refused, and the project's own 50."""

import concurrent.futures
import gzip
import itertools
import json

import pytest
from conftest import REPOSITORY, small_config

from azr_jax.loop.learning import minibatches, train_sequences
from azr_jax.run.problems import load_problems
from azr_jax.types import Role, Rollout, Scored, StopReason, Task, TaskType
from executors import LANGUAGES, Job, JobKind, Limits, Pool

OWN = "azr_jax/embedded/problems.jsonl"
LINE = {"name": "sum", "statement": "Add.", "tests": [{"input": "1\n2\n", "output": "3\n"}]}


def problems_in(tmp_path, *lines, name="problems.jsonl"):
    file = tmp_path / name
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    opened = gzip.open if name.endswith(".gz") else open
    with opened(file, "wb") as stream:
        stream.write(b"\n".join(texts))
    return load_problems(small_config(problems__path=str(file))).problems


def test_without_a_file_there_is_none():
    assert load_problems(small_config()).problems == () and small_config().problems_per_step == 0


def test_the_published_forms_are_read(tmp_path):
    """Tests as pairs, as two lists, and as JSON text of either; names and statements by any of their fields."""
    pairs, columns = LINE["tests"], {"inputs": ["1\n2\n"], "outputs": ["3\n"]}
    lines = [
        LINE,
        {"task_id": 7, "prompt": "Add.", "tests": json.dumps(pairs)},
        {"id": "c", "problem": "Add.", "tests": columns, "difficulty": 800},
        {"question_id": "d", "question_content": "Add.", "tests": json.dumps(columns)},
    ]
    lines.append({"question_id": "e", "question_content": "Add.", "private_test_cases": json.dumps(pairs)})
    lines.append({"original_task_id": "f", "description": "Add.", "tests": pairs})
    lines.append({"idx": 8, "problem_statement": "Add.", "examples": pairs})
    problems = problems_in(tmp_path, *lines)
    assert [problem.name for problem in problems] == ["sum", "7", "c", "d", "e", "f", "8"]
    assert {(problem.statement, problem.stdin, problem.expected) for problem in problems} == {
        ("Add.", ("1\n2\n",), ("3\n",))
    }
    assert problems_in(tmp_path, LINE, name="problems.jsonl.gz") == problems[:1]
    (parts,) = problems_in(tmp_path, {**LINE, "input_format": "Two numbers.", "output_format": "Their sum."})
    assert parts.statement == "Add.\n\nInput\n\nTwo numbers.\n\nOutput\n\nTheir sum."


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({**LINE, "name": "b", "tests": []}, "field 'tests' is []: at least one test"),
        ({"name": "b", "statement": "Add."}, "field 'tests' is None: at least one test"),
        ({**LINE, "name": "b", "tests": [{"input": "1"}]}, "field 'tests' holds no inputs and outputs: KeyError"),
        ({**LINE, "name": "b", "tests": [{"input": 1, "output": 2}]}, "each of two texts"),
        ({**LINE, "name": "b", "tests": "no json"}, "field 'tests' holds no inputs and outputs"),
        ({"name": "b", "tests": LINE["tests"]}, "no text in question_content or prompt or statement"),
        ({"statement": "Add.", "tests": LINE["tests"]}, "no text in question_id or task_id"),
        ([1], "a problem is a JSON object, not list"),
        (LINE, "the name 'sum' comes a second time"),
        (b"{", "no JSON in UTF-8"),
        (json.dumps({**LINE, "statement": "Zähle."}, ensure_ascii=False).encode("latin-1"), "no JSON in UTF-8"),
    ],
)
def test_a_line_that_is_no_problem_is_named(tmp_path, line, words):
    with pytest.raises(ValueError) as error:
        problems_in(tmp_path, LINE, line)
    assert str(error.value).startswith(f"{tmp_path}/problems.jsonl, line 2: ") and words in str(error.value)


def test_a_file_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"problems\.path='nowhere.jsonl': no such file"):
        load_problems(small_config(problems__path="nowhere.jsonl"))
    with pytest.raises(ValueError, match="no problem in it"):
        problems_in(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"problems__share": 0.0}, "problems.share=0.0"),
        ({"problems__share": 1.0}, "problems.share=1.0"),
        ({"problems__reward": "some"}, "problems.reward='some': use one of all, share"),
        ({"problems__path": OWN, "problems__share": 0.01}, "no problem a step"),
        (
            {"problems__path": OWN, "learner__estimator": "grpo", "selfplay__train_on_estimates": True},
            "learner.estimator='grpo' learns nothing",
        ),
    ],
)
def test_what_cannot_work_is_said_at_the_start(changes, words):
    with pytest.raises(ValueError) as error:
        small_config(**changes)
    assert words in str(error.value)


def test_the_share_is_of_all_solver_tasks():
    counts = {share: small_config(problems__path=OWN, problems__share=share).problems_per_step for share in (0.25, 0.5)}
    assert counts == {0.25: 3, 0.5: 9}  # beside 3 x 3


def test_problems_are_an_optimizer_step_of_their_own():
    config = small_config(problems__path=OWN, learner__minibatches="task_type")
    rollout = Rollout("r", (1,), (2,), (0.0,), "", StopReason.EOS)
    tasks = [Task(kind, Role.SOLVE, kind, "python", "") for kind in reversed(TaskType)]
    scored = [Scored(task, rollout, 1.0, True, True, "correct") for task in tasks]
    parts = minibatches(config, train_sequences(config, scored, 1), 1)
    assert [[sequence.group for sequence in part] for part in parts] == [[4], [3], [5], [6]]


def solutions(language):
    text = (REPOSITORY / "tests" / "run" / "problem_solutions" / f"{language}.txt").read_text()
    return dict(part.split("\n", 1) for part in text.split("=== ")[1:])


def test_the_own_problems_are_small_and_of_several_outputs():
    problems = load_problems(small_config(problems__path="problems.jsonl")).problems
    assert len(problems) == 50
    for problem in problems:
        assert 3 <= len(problem.stdin) <= 6 and len(problem.statement) < 400
        assert len(set(problem.expected)) > 1, f"{problem.name}: one output for all"
    names = [problem.name for problem in problems]
    assert list(solutions("python")) == list(solutions("racket")) == names


@pytest.mark.parametrize(
    ("language", "count"),
    [("python", 8), pytest.param("python", 50, marks=pytest.mark.ci), pytest.param("racket", 50, marks=pytest.mark.ci)],
)
def test_the_own_problems_are_solved_by_their_references_and_by_no_other(language, count):
    """Of each problem the tests pass its reference and refuse that of the next problem."""
    if LANGUAGES[language].find() is None:
        pytest.skip(f"no {language} interpreter here")
    problems = load_problems(small_config(problems__path="problems.jsonl")).problems[:count]
    references = solutions(language)
    with Pool(language, workers=2, limits=Limits(wall_s=20.0, cpu_s=10.0, memory_mib=512)) as pool:

        def tried(problem, name, **more) -> concurrent.futures.Future:
            tests = {"stdin": problem.stdin, "expect_stdout": problem.expected}
            return pool.submit(Job(f"{problem.name}/{name}", JobKind.PROGRAM, references[name], **tests))

        right = [tried(problem, problem.name) for problem in problems]
        others = [tried(problem, other.name) for problem, other in itertools.pairwise(problems)]
        failed = [verdict for verdict in (future.result() for future in right) if not verdict.correct]
        assert not failed
        assert [verdict.id for verdict in (future.result() for future in others) if verdict.correct] == []


def test_programs_of_answers_are_loadable_files():
    both = {"languages": ("racket", "python"), "language_weights": (1.0, 1.0)}
    problems = load_problems(small_config(problems__path=OWN, **both))
    assert problems.loadable["racket"]("(displayln 1)") == "#lang racket\n(displayln 1)"
    assert problems.loadable["python"]("print(1)") == "print(1)"
