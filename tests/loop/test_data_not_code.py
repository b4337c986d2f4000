"""What a model writes reaches rewards as data alone, in every language.

Answers are no code, values are whole and the same in another process; a program that hangs holds up no other.
"""

from __future__ import annotations

import time

import pytest
from conftest import ci_in

from azr_jax.selfplay.validation import solver_job, solver_outcome, triplet_from
from azr_jax.types import Answer, Invalid, Role, Task, TaskType, Triplet
from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status


@pytest.fixture(scope="module", params=ci_in(("racket", "julia", "javascript", "python"), "julia"))
def pool(request):
    language = LANGUAGES[request.param]
    if language.find() is None:
        pytest.skip(f"{request.param} is not installed: {language.install_hint}")
    with Pool(language, workers=1, limits=Limits(value_chars=300)) as opened_pool:
        yield opened_pool


def deduction(pool) -> Task:
    language = pool.language
    triplet = Triplet(language.name, language.identity, language.identity_input, language.identity_output)
    return Task("t", Role.SOLVE, TaskType.DEDUCTION, language.name, "prompt", triplet)


SPLICED = {
    "python": ["1) or True #", "(1) == (1", "__import__('os')", "type('E', (), {'__eq__': lambda *a: True})()"],
    "racket": ["1) #t ;", "#t)) (exit 0", "(let () (define (equal? . _) #t) 1)", '(error "x")', "#;1"],
    "julia": ["1) || true #", "true; exit(0)", "(Base.:(==)(a, b) = true; 1)", "run(`true`)", "begin true end"],
    "javascript": ["1) || true //", "0); process.exit(0); (0", "({valueOf() { return 1 }})", "(() => true)()"],
}


def test_no_answer_is_code_in_any_language(pool):
    task = deduction(pool)
    jobs = [solver_job(task, Answer(output=text), str(n)) for n, text in enumerate(SPLICED[pool.language.name])]
    assert not any(job.source for job in jobs)
    verdicts = pool.run_all(jobs)
    assert [solver_outcome(verdict)[0] for verdict in verdicts] == [False] * len(jobs)
    right = solver_job(task, Answer(output=f" {pool.language.identity_output} "), "right")
    assert solver_outcome(pool.submit(right).result()) == (True, "correct")


REPEATED = {
    "python": "def f(x):\n    return [7] * x",
    "racket": "(define (f x) (make-list x 7))",
    "julia": "f(x) = fill(7, x)",
    "javascript": "function f(x) { return Array(x).fill(7) }",
}


def test_a_value_too_long_is_refused_whole(pool):
    source = REPEATED[pool.language.name]
    short, long = pool.run_all(Job(str(n), JobKind.EVALUATE, source, (str(n),)) for n in (3, 1000))
    assert short.ok
    assert short.values[0].count("7") == 3
    assert not long.ok
    assert not long.values
    task = Task("t", Role.PROPOSE, TaskType.DEDUCTION, pool.language.name, "prompt")
    refused = triplet_from(task, Answer(program=source, input="1000"), long, 1)
    assert isinstance(refused, Invalid)


RANDOM = {
    "python": "import random\ndef f(x):\n    return random.random()",
    "racket": "(define (f x) (random 1000000))",
    "julia": "f(x) = rand(1:1000000)",
    "javascript": "function f(x) { return Math.random() }",
}


def test_chance_does_not_repeat_in_another_process(pool):
    name = pool.language.name
    job = Job("random", JobKind.EVALUATE, RANDOM[name], ("1",), determinism=True)
    verdict = pool.submit(job).result()
    # Refused by name, or run twice and found out.
    assert verdict.status in (Status.NONDETERMINISTIC, Status.FORBIDDEN), verdict
    task = Task("t", Role.PROPOSE, TaskType.ABDUCTION, name, "prompt")
    assert triplet_from(task, Answer(program=RANDOM[name], input="1"), verdict, 1) == Invalid(
        verdict.status.value, verdict.message
    )


@pytest.mark.ci
def test_a_few_timeouts_hold_up_no_other_program():
    """Sleeping and spinning programs, first in the queue: the others are through before the first of them is killed."""
    sleeping = "import time\ndef f(x):\n    time.sleep(60)"
    spinning = "def f(x):\n    while True: pass"
    limits = Limits(wall_s=4.0, cpu_s=4.0)
    with Pool("python", workers=3, limits=limits) as pool:
        started = time.monotonic()
        sources = [sleeping, spinning, sleeping, sleeping, *(f"def f(x):\n    return x + {n}" for n in range(40))]
        jobs = [Job(str(number), JobKind.EVALUATE, source, ("1",)) for number, source in enumerate(sources)]
        futures = [pool.submit(job) for job in jobs]
        bad, good = futures[:4], futures[4:]
        assert all(future.result().ok for future in good)
        assert not any(future.done() for future in bad)
        assert {future.result().status for future in bad} == {Status.TIMEOUT}
        # Four time-outs of 4 s one after another would be 16 s.
        assert time.monotonic() - started < 12
