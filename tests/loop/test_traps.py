"""The traps of the specification: each has tests named test_trap_NN... beside what they test, and the rest are here.

1 greedy estimation; 2 answers are data; 3 values too long; 4 determinism; 5 full buffers; 6 resuming; 7 time-outs;
8 length-capped responses; 9 log-probabilities; 10 hostile text.
"""

from __future__ import annotations

import asyncio
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import REPOSITORY, ci_in, small_config
from flax import nnx

from azr_jax.config import from_mapping
from azr_jax.learner.packing import TrainSequence, pack
from azr_jax.loop import learning, stages
from azr_jax.loop.play import mean_accuracy
from azr_jax.loop.tasks import starting_buffers
from azr_jax.model.transformer import abstract
from azr_jax.sampler.requests import Request
from azr_jax.selfplay.estimates import accuracy_metrics
from azr_jax.selfplay.rewards import RewardState
from azr_jax.selfplay.validation import solver_job, solver_outcome, triplet_from
from azr_jax.types import Answer, Invalid, Role, StopReason, Task, TaskType, Triplet
from configs import tiny
from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status


def test_every_trap_has_a_test():
    named = re.compile(r"def test_trap_(\d\d)_")
    found = {
        int(number) for path in REPOSITORY.glob("tests/**/test_*.py") for number in named.findall(path.read_text())
    }
    assert found == set(range(1, 11))


# 1. Estimating greedily.


def estimated(run, temperature: float, samples: int = 4) -> list[float]:
    """`acc` of every held-out deduction and abduction problem of a handful, as the loop estimates it."""
    from azr_jax.evaluation.scoring import heldout

    problems = heldout.load(REPOSITORY / "azr_jax/embedded/heldout_python.jsonl", 48)
    params = run.engine.load_params()
    tasks = [
        run.player.solver_task(f"estimated/{number}", kind, item)
        for number, (kind, item) in enumerate(problems)
        if kind is not TaskType.INDUCTION
    ]

    async def together():
        return await asyncio.gather(
            *(asyncio.gather(*(run.player.solve(task, temperature, f"/{n}") for n in range(samples))) for task in tasks)
        )

    samples, _ = run.player.run(params, 0, together)
    return [mean_accuracy(answers) for answers in samples]


@pytest.mark.ci
def test_trap_01_greedy_estimates_are_zero_or_one_and_sampled_ones_are_not(opened):
    greedy, sampled = estimated(opened, 0.0), estimated(opened, 1.0)
    assert set(greedy) <= {0.0, 1.0}
    assert any(0 < acc < 1 for acc in sampled)
    metrics = accuracy_metrics(greedy, len(greedy) + 2)
    assert metrics["acc_between"] == 0
    assert metrics["acc_zero"] + metrics["acc_one"] == pytest.approx(1)
    assert metrics["invalid_rate"] == pytest.approx(2 / (len(greedy) + 2))
    assert accuracy_metrics(sampled, len(sampled))["acc_between"] > 0


def test_trap_01_the_estimation_temperature_is_a_setting_of_its_own():
    assert tiny.get_config().selfplay.estimate_temperature == 1.0
    config = small_config(selfplay__estimate_temperature=0.0)
    assert (config.selfplay.estimate_temperature, config.sampler.temperature) == (0.0, 1.0)


# 2, 3 and 4, in every language: answers are data, values are whole, and the same in another process.


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


def test_trap_02_no_answer_is_code_in_any_language(pool):
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


def test_trap_03_a_value_too_long_is_refused_whole(pool):
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


def test_trap_04_chance_does_not_repeat_in_another_process(pool):
    name = pool.language.name
    job = Job("random", JobKind.EVALUATE, RANDOM[name], ("1",), determinism=True)
    verdict = pool.submit(job).result()
    # Refused by name, or run twice and found out.
    assert verdict.status in (Status.NONDETERMINISTIC, Status.FORBIDDEN), verdict
    task = Task("t", Role.PROPOSE, TaskType.ABDUCTION, name, "prompt")
    assert triplet_from(task, Answer(program=RANDOM[name], input="1"), verdict, 1) == Invalid(
        verdict.status.value, verdict.message
    )


# 7. Time-outs.


def test_trap_07_a_few_timeouts_hold_up_no_other_program():
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


# 8. Length-capped responses.


def test_trap_08_a_capped_response_says_so_and_has_no_invented_end(opened):
    run = opened
    params = run.engine.load_params()
    prompt = tuple(run.engine.tokenizer.encode("# Task: write a program\n"))
    session = run.player.sampler.session(params, 0)
    session.submit(Request("capped", prompt, 5, 1.0))
    session.submit(Request("free", prompt, 96, 1.0))
    rollouts = {}
    while not session.idle:
        rollouts |= {one.request_id: one for one in session.step()}
    capped = rollouts["capped"]
    assert capped.stop_reason is StopReason.LENGTH
    assert len(capped.token_ids) == len(capped.logprobs) == 5
    assert not set(capped.token_ids) & run.engine.tokenizer.eos_ids
    # What is trained is what was sampled, token for token.
    sequence = TrainSequence("capped", capped.prompt_ids, capped.token_ids, capped.logprobs, 1.0, 0, 1.0)
    batch = pack([sequence], 32, 1, run.engine.tokenizer.pad_id)
    trained = np.asarray(batch.tokens_RT)[0]
    assert trained[: len(prompt) + 5].tolist() == [*capped.prompt_ids, *capped.token_ids]
    assert not set(trained[len(prompt) :].tolist()) & (run.engine.tokenizer.eos_ids - {run.engine.tokenizer.pad_id})


def test_trap_08_the_log_probabilities_are_of_the_whole_distribution(opened):
    """No top-p and no top-k: the sampler's log-probabilities are the model's own at temperature 1."""
    run = opened
    assert (run.config.sampler.top_p, run.config.sampler.top_k) == (1.0, 0)
    params = run.engine.load_params()
    prompt = tuple(run.engine.tokenizer.encode("# Task: write a program\n"))
    session = run.player.sampler.session(params, 0)
    session.submit(Request("one", prompt, 12, 1.0))
    (rollout,) = [one for _ in range(4) for one in session.step()]
    graphdef, _ = abstract(run.engine.model_config, compute_dtype=jnp.float32, attention_kernel="xla")
    ids = np.array([[*rollout.prompt_ids, *rollout.token_ids]], np.int32)
    model = nnx.merge(graphdef, params)
    positions = np.arange(ids.shape[1], dtype=np.int32)[None]
    logits = model.logits(model.hidden(ids, positions, np.ones_like(ids)))[0]
    log_softmax = np.asarray(jax.nn.log_softmax(logits.astype(jnp.float32)))
    expected = [log_softmax[len(prompt) - 1 + n, token] for n, token in enumerate(rollout.token_ids)]
    np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-4)


# 9. Log-probabilities of sampler and trainer.


@pytest.mark.ci
def test_trap_09_the_first_ratio_is_one_and_the_mismatch_is_reported(opened):
    run = opened
    state = run.learner.init(run.engine.load_params())
    buffers = starting_buffers(run.config, run.player)
    played = stages.play_step(run.config, run.player, state.params, buffers, 1)
    scored = stages.score(run.config, played, RewardState())
    _, metrics = learning.learn(run.config, run.learner, state, scored, 1, run.engine.tokenizer.pad_id)
    assert metrics["ppo/first_ratio_mean"] == metrics["ppo/first_ratio_max"] == 1.0
    assert 0 < metrics["ppo/mismatch_mean"] < 1e-3
    assert metrics["ppo/mismatch_max"] >= metrics["ppo/mismatch_mean"]
    assert metrics["ppo/importance_weight_mean"] == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match=r"learner\.importance_cap=-1.0"):
        from_mapping({**tiny.get_config().to_dict(), "learner": {**tiny.get_config().learner, "importance_cap": -1.0}})
