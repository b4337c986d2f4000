import pytest

from azr_jax.selfplay.buffers import LanguageBuffers
from azr_jax.selfplay.validation import (
    copy_of_example,
    duplicate_of_buffer,
    is_dropped,
    problem_from,
    proposal_job,
    several_entry_functions,
    solver_job,
    solver_outcome,
    triplet_from,
)
from azr_jax.types import Answer, InductionProblem, Invalid, Role, Task, TaskType, Triplet
from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status, Verdict

INCREMENT = Triplet("python", "def f(x):\n    return x + 1", "1", "2")
INPUTS = ("1", "2", "3", "4")
PROBLEM = InductionProblem("python", INCREMENT.program, "adds one", INPUTS, ("2", "3", "4", "5"), shown=2)
PYTHON = LANGUAGES["python"]
FAILURES = [status for status in Status if status is not Status.OK]


def task(role, task_type, source=None):
    return Task("t", role, task_type, "python", "prompt", source)


PROPOSE_DEDUCTION = task(Role.PROPOSE, TaskType.DEDUCTION)
PROPOSE_INDUCTION = task(Role.PROPOSE, TaskType.INDUCTION, INCREMENT)


def propose(answer, asked=PROPOSE_DEDUCTION):
    return proposal_job(asked, answer, PYTHON, "j")


def test_a_proposal_is_run_twice_with_all_its_inputs():
    answer = Answer(program=INCREMENT.program, input="1")
    expected = Job("j", JobKind.EVALUATE, INCREMENT.program, ("1",), determinism=True)
    assert propose(answer) == expected
    assert propose(answer, task(Role.PROPOSE, TaskType.ABDUCTION)) == expected
    annotated = propose(Answer(message="adds one", inputs=INPUTS), PROPOSE_INDUCTION)
    assert annotated == Job("j", JobKind.EVALUATE, INCREMENT.program, INPUTS, determinism=True)


def test_what_is_refused_before_it_runs():
    assert propose(Answer(message="m", inputs=("1", "2", "1 ")), PROPOSE_INDUCTION).reason == "repeated_inputs"
    same = Answer(message="m", inputs=("[1, 2]", "[3]", "[1,2]"))
    assert propose(same, PROPOSE_INDUCTION).reason == "repeated_inputs"
    with pytest.raises(ValueError, match="wanted propose"):
        propose(Answer(output="1"), task(Role.SOLVE, TaskType.DEDUCTION, INCREMENT))
    with pytest.raises(ValueError, match="source must be the Triplet"):
        propose(Answer(message="m", inputs=("1",)), task(Role.PROPOSE, TaskType.INDUCTION))


def test_an_ok_verdict_gives_the_triplet_or_problem():
    answer = Answer(program=INCREMENT.program, input="1")
    proposed = triplet_from(PROPOSE_DEDUCTION, answer, Verdict("j", Status.OK, ("2",), inputs=("1",)), 7)
    assert proposed == Triplet("python", INCREMENT.program, "1", "2", 7)
    annotation = Answer(message="adds one", inputs=INPUTS)
    verdict = Verdict("j", Status.OK, PROBLEM.outputs, inputs=INPUTS)
    proposed = problem_from(PROPOSE_INDUCTION, annotation, verdict, 7, shown=2)
    assert proposed == InductionProblem("python", INCREMENT.program, "adds one", INPUTS, PROBLEM.outputs, 2, 7)


@pytest.mark.parametrize("status", FAILURES)
def test_every_other_status_is_the_reason(status):
    verdict = Verdict("j", status, message="why")
    assert triplet_from(PROPOSE_DEDUCTION, Answer(program="p", input="1"), verdict, 1) == Invalid(status.value, "why")
    annotation = Answer(message="m", inputs=INPUTS)
    assert problem_from(PROPOSE_INDUCTION, annotation, verdict, 1, shown=2) == Invalid(status.value, "why")
    assert solver_outcome(verdict) == (False, status.value)
    assert is_dropped(status.value) == (status is Status.INFRASTRUCTURE)


def test_an_ok_verdict_with_a_wrong_number_of_values_raises():
    with pytest.raises(ValueError, match="0 values for 1"):
        triplet_from(PROPOSE_DEDUCTION, Answer(program="p", input="1"), Verdict("j", Status.OK), 1)
    with pytest.raises(ValueError, match="1 values for 4"):
        problem_from(PROPOSE_INDUCTION, Answer(message="m", inputs=INPUTS), Verdict("j", Status.OK, ("1",)), 1, shown=2)


@pytest.mark.parametrize(
    ("status", "kind", "message", "reason"),
    [
        (Status.RUNTIME_ERROR, "KeyError", "'k'", "KeyError: 'k'"),
        (Status.RUNTIME_ERROR, "StopIteration", "", "StopIteration"),
        (Status.RUNTIME_ERROR, "Not_found", "Not_found", "Not_found"),
        (Status.UNSERIALISABLE, "generator", "the value can't be written down", "generator: the value can't be ..."),
        (Status.UNSERIALISABLE, "Unserialisable", "a value of type Zip", "a value of type Zip"),
        (Status.UNSERIALISABLE, "", "a function has no literal", "a function has no literal"),
        (Status.FORBIDDEN, "NotAValue", "no argument list", "no argument list"),
        (Status.TIMEOUT, "wall", "it took too long", "it took too long"),
    ],
)
def test_a_refusal_names_the_kind_of_error_or_value(status, kind, message, reason):
    refused = triplet_from(
        PROPOSE_DEDUCTION, Answer(program="p", input="1"), Verdict("j", status, (), None, kind, message), 1
    )
    assert isinstance(refused, Invalid) and refused.reason == status
    assert refused.detail == reason.replace("...", "written down")
    with pytest.raises(ValueError, match="without a comparison"):
        solver_outcome(Verdict("j", Status.OK, ("1",)))


def test_solver_jobs_keep_the_truth_in_expect():
    deduction = task(Role.SOLVE, TaskType.DEDUCTION, INCREMENT)
    assert solver_job(deduction, Answer(output="2"), "j") == Job("j", JobKind.VALUE, "", ("2",), ("2",))
    abduction = task(Role.SOLVE, TaskType.ABDUCTION, INCREMENT)
    expected = Job("j", JobKind.EVALUATE, INCREMENT.program, ("9",), ("2",))
    assert solver_job(abduction, Answer(input="9"), "j") == expected
    induction = task(Role.SOLVE, TaskType.INDUCTION, PROBLEM)
    expected = Job("j", JobKind.EVALUATE, "def f(x): return 0", INPUTS, PROBLEM.outputs)
    assert solver_job(induction, Answer(program="def f(x): return 0"), "j") == expected
    with pytest.raises(ValueError, match="cannot be a Triplet"):
        solver_job(task(Role.SOLVE, TaskType.INDUCTION, INCREMENT), Answer(program="p"), "j")
    with pytest.raises(ValueError, match="wanted solve"):
        solver_job(PROPOSE_DEDUCTION, Answer(program="p"), "j")


def test_solver_outcomes():
    assert solver_outcome(Verdict("j", Status.OK, ("2",), correct=True)) == (True, "correct")
    assert solver_outcome(Verdict("j", Status.OK, ("3",), correct=False)) == (False, "wrong")


def test_a_copy_of_a_buffered_entry_is_a_duplicate_and_another_input_is_none():
    buffers = LanguageBuffers(10, PYTHON.canonical_program)
    buffers.add_triplet(INCREMENT)
    buffers.add_problem(PROBLEM)
    copy = Answer(program="def f(x):\n\n    return  x + 1", input="1")
    assert duplicate_of_buffer(PROPOSE_DEDUCTION, copy, buffers).reason == "duplicate"
    assert duplicate_of_buffer(PROPOSE_DEDUCTION, Answer(program=copy.program, input="5"), buffers) is None
    again = Answer(message="another message", inputs=INPUTS)
    assert duplicate_of_buffer(PROPOSE_INDUCTION, again, buffers).reason == "duplicate"
    assert duplicate_of_buffer(PROPOSE_INDUCTION, Answer(message="m", inputs=INPUTS[:3]), buffers) is None


def test_the_example_of_the_prompts_proposed_back_is_a_duplicate():
    copy = Answer(program="def f(a):\n    # mine\n    return a", input="17")
    assert copy_of_example(PROPOSE_DEDUCTION, copy, PYTHON).reason == "duplicate"
    assert copy_of_example(PROPOSE_DEDUCTION, Answer(program=PYTHON.skeleton, input="1, 2"), PYTHON) is not None
    assert copy_of_example(PROPOSE_DEDUCTION, Answer(program=INCREMENT.program, input="1"), PYTHON) is None


TWICE = {
    "python": "def f(x): return 1\ndef g(x):\n    def f(y): return y\n    return f(x)\ndef f(x): return g(x)",
    "racket": "(define (f x) 1)\n(define (g f) (f 1))\n(define f (lambda (x) x))",
    "javascript": "function f(x) { return 1; }\nconst g = x => x;\nfunction f(x) { return g(x); }",
    "lua": "function f(x) return 1 end\nlocal function g(x) return x end\nf = function(x) return g(x) end",
    "perl": "sub f { return 1 }\nmy $g = sub { sub f1 { 1 } };\nsub f {\n    return $_[0];\n}",
    "php": "<?php\nfunction f($x) { return 1; }\n$g = function ($f) { return $f(1); };\nfunction f($x) { return $x; }",
    "scheme": "(define (f x) 1)\n(define (g f) (f 1))\n(define f (lambda (x) x))",
    "ruby": "def f(x) = 1\ndef g(x)\n  def x.f = 2\nend\ndef f(x)\n  x\nend",
    "ocaml": "let f x = 1\nlet g f = f 1\nlet rec f x = x",
    "r": "f <- function(x) 1\ng <- function(f) f(1)\nf = function(x) x",
}


@pytest.mark.parametrize("language", TWICE)
def test_a_program_with_two_entry_functions_is_told(language):
    refused = several_entry_functions(
        PROPOSE_DEDUCTION, Answer(program=TWICE[language], input="1"), LANGUAGES[language]
    )
    assert refused == Invalid("several_entry_functions", "f is defined 2 times")
    single = Answer(program=LANGUAGES[language].example, input="1")
    assert several_entry_functions(PROPOSE_DEDUCTION, single, LANGUAGES[language]) is None


def test_several_methods_of_one_function_are_julias_way():
    methods = Answer(program="f(x::Int) = 1\nf(x::String) = 2", input="1")
    assert several_entry_functions(PROPOSE_DEDUCTION, methods, LANGUAGES["julia"]) is None


@pytest.fixture(scope="module")
def pool():
    with Pool(
        "python", workers=2, limits=Limits(wall_s=2.0, cpu_s=2.0, value_chars=200), allow_tier="limits"
    ) as opened:
        yield opened


def check(pool, asked, *answers):
    return [solver_outcome(verdict) for verdict in pool.run_all(solver_job(asked, answer, "j") for answer in answers)]


def make(pool, *answers, asked=PROPOSE_DEDUCTION):
    jobs = [proposal_job(asked, answer, PYTHON, "j") for answer in answers]
    assert all(isinstance(job, Job) for job in jobs)
    return [
        triplet_from(asked, answer, verdict, 3) for answer, verdict in zip(answers, pool.run_all(jobs), strict=True)
    ]


def test_a_real_proposal_becomes_a_triplet_that_its_solvers_solve(pool):
    program = "def f(words):\n    return sorted(set(words), key=len)[-1].upper() + '!'"
    (proposed,) = make(pool, Answer(program=program, input="['a', 'bcd', 'a']"))
    assert proposed == Triplet("python", program, "['a', 'bcd', 'a']", "'BCD!'", 3)
    deduction, abduction = (
        task(Role.SOLVE, TaskType.DEDUCTION, proposed),
        task(Role.SOLVE, TaskType.ABDUCTION, proposed),
    )
    outcomes = check(pool, deduction, Answer(output='"BCD!"'), Answer(output="'bcd!'"), Answer(output="BCD!"))
    assert outcomes[:2] == [(True, "correct"), (False, "wrong")] and outcomes[2][0] is False
    outcomes = check(pool, abduction, Answer(input="('bcd',)"), Answer(input="['z']"), Answer(input="[]"))
    assert outcomes == [(True, "correct"), (False, "wrong"), (False, "runtime_error")]


def test_a_real_induction_problem_is_solved_by_its_rule_and_not_by_a_table(pool):
    annotation = Answer(message="adds one", inputs=INPUTS)
    job = proposal_job(PROPOSE_INDUCTION, annotation, PYTHON, "j")
    proposed = problem_from(PROPOSE_INDUCTION, annotation, pool.submit(job).result(), 3, shown=2)
    assert proposed == InductionProblem("python", INCREMENT.program, "adds one", INPUTS, ("2", "3", "4", "5"), 2, 3)
    outcomes = check(
        pool,
        task(Role.SOLVE, TaskType.INDUCTION, proposed),
        Answer(program="f = lambda number: 1 + number"),
        Answer(program="def f(x):\n    return {1: 2, 2: 3}.get(x)"),
        Answer(program="def f(x):\n    return {1: 2, 2: 3}[x]"),
        Answer(program="def f(x) return x + 1"),
    )
    assert outcomes == [(True, "correct"), (False, "wrong"), (False, "runtime_error"), (False, "syntax_error")]


def test_one_failing_input_makes_an_induction_proposal_invalid(pool):
    annotation = Answer(message="m", inputs=("1", "2", "'x'"))
    job = proposal_job(PROPOSE_INDUCTION, annotation, PYTHON, "j")
    proposed = problem_from(PROPOSE_INDUCTION, annotation, pool.submit(job).result(), 3, shown=2)
    assert isinstance(proposed, Invalid) and proposed.reason == "runtime_error"


_SPLICES = ["1) or True #", "2 or True", "__import__('os').getpid() + 1", "2 if True else 0", "2\n2", "(lambda: 2)()"]
_EQUALS_ALL = "class All:\n    __eq__ = lambda self, other: True\n    __hash__ = lambda self: 0\n"


@pytest.mark.parametrize("spliced", _SPLICES)
def test_an_answer_that_would_pass_as_code_is_no_value(pool, spliced):
    (deduced,) = check(pool, task(Role.SOLVE, TaskType.DEDUCTION, INCREMENT), Answer(output=spliced))
    (abduced,) = check(pool, task(Role.SOLVE, TaskType.ABDUCTION, INCREMENT), Answer(input=spliced))
    assert not deduced[0] and deduced[1] not in ("correct", "wrong", "infrastructure")
    # An input may be any expression; its value alone meets the program.
    assert not abduced[0] and abduced[1] != "infrastructure"


@pytest.mark.parametrize(
    "program",
    [
        _EQUALS_ALL + "def f(x):\n    return All()",
        "class Two(int):\n    __repr__ = lambda self: '2'\ndef f(x):\n    return Two(9)",
        "import builtins\nbuiltins.repr = lambda value: '2'\ndef f(x):\n    return 0",
        "def f(x):\n    return 0\n1) or True #",
    ],
)
def test_an_object_that_equals_everything_solves_nothing(pool, program):
    ((correct, outcome),) = check(pool, task(Role.SOLVE, TaskType.INDUCTION, PROBLEM), Answer(program=program))
    assert not correct and outcome not in ("correct", "infrastructure")


def test_values_of_other_types_are_other_values(pool):
    identity = Triplet("python", "def f(x):\n    return x", "1", "1")
    answers = [Answer(output=text) for text in ("1", "1.0", "True", "0x1")]
    outcomes = check(pool, task(Role.SOLVE, TaskType.DEDUCTION, identity), *answers)
    assert [correct for correct, _ in outcomes] == [True, False, False, True]


def test_a_value_too_long_is_refused_and_never_cut(pool):
    fits, over, huge = make(
        pool,
        Answer(program="def f(n):\n    return 'x' * n", input="198"),
        Answer(program="def f(n):\n    return 'x' * n", input="199"),
        Answer(program="def f(n):\n    return 'x' * n", input="10000000"),
    )
    assert isinstance(fits, Triplet) and fits.output == repr("x" * 198)
    assert isinstance(over, Invalid) and over.reason == "output_limit"
    assert isinstance(huge, Invalid) and huge.reason == "output_limit"


@pytest.mark.parametrize(
    "program",
    [
        "import random\ndef f(x):\n    return random.random()",
        "import time\ndef f(x):\n    return time.time_ns()",
        "def f(x):\n    return hash('text')",
        "def f(x):\n    return [name for name in {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'}]",
        "import uuid\ndef f(x):\n    return str(uuid.uuid4())",
    ],
)
def test_a_value_that_another_process_does_not_repeat_is_refused(pool, program):
    (proposed,) = make(pool, Answer(program=program, input="1"))
    assert isinstance(proposed, Invalid) and proposed.reason == "nondeterministic"


def test_state_kept_between_calls_does_not_reach_the_next_program(pool):
    program = "import builtins\ndef f(x):\n    builtins.n = getattr(builtins, 'n', 0) + 1\n    return builtins.n"
    proposals = make(pool, *[Answer(program=program, input="1")] * 4)
    assert [triplet.output for triplet in proposals] == ["1"] * 4


def test_real_failures_keep_their_words(pool):
    proposals = make(
        pool,
        Answer(program="def f(x:\n    return x", input="1"),
        Answer(program="def f(x):\n    return 1 // 0", input="1"),
        Answer(program="def f(x):\n    while True:\n        pass", input="1"),
        Answer(program="def f(x):\n    return f", input="1"),
        Answer(program="def f(x):\n    return x", input="open('/etc/passwd').read()"),
        Answer(program="def g(x):\n    return x", input="1"),
    )
    reasons = [proposal.reason for proposal in proposals]
    assert reasons[:5] == ["syntax_error", "runtime_error", "timeout", "unserialisable", "forbidden"]
    assert reasons[5] in ("runtime_error", "syntax_error")
