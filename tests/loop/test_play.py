"""The player: coroutines between the sampler, the parser and the executors, with real ones of each."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import itertools
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from azr_jax.loop.play import Player, Proposal, Solution, mean_accuracy
from azr_jax.loop.tasks import proposer_tasks, starting_buffers
from azr_jax.monitor.stall import StalledError, ended
from azr_jax.sampler.session import Session
from azr_jax.types import TASK_TYPES, Role, Rollout, StopReason, Task, TaskType, Triplet
from executors import Job, JobKind, Status

TRIPLET = Triplet("python", "def f(x):\n    return x + 1", "1", "2")


def task(opened, name: str = "t", prompt: str = "# Task: write a program\n") -> Task:
    return Task(name, Role.PROPOSE, TaskType.DEDUCTION, "python", prompt, None, opened.player.encode(prompt))


def run(opened, play, seed: int = 0):
    return opened.player.run(opened.engine.load_params(), seed, play)


def samples(opened, names, seed: int = 0, temperature: float = 1.0) -> dict[str, str]:
    async def play():
        return await asyncio.gather(*(opened.player.sample(task(opened, name), temperature) for name in names))

    rollouts, _ = run(opened, play, seed)
    return {rollout.request_id: rollout.text for rollout in rollouts}


def test_a_sample_depends_on_its_name_and_the_seed_alone(opened):
    alone = samples(opened, ["b"])
    together = samples(opened, ["c", "b", "a"])
    assert together["b"] == alone["b"]
    assert len(set(together.values())) > 1
    assert samples(opened, ["b"], seed=1) != alone
    greedy = samples(opened, ["a", "b", "c"], temperature=0.0)
    assert len(set(greedy.values())) == 1


def test_programs_run_while_the_device_decodes(opened):
    """A task that waits for a verdict holds up no other; what it asks afterwards is sampled in the same session."""
    decoded = []  # steps that the device made while the program ran

    async def slow():
        job = Job("slow", JobKind.EVALUATE, "import time\ndef f(x):\n    time.sleep(1)\n    return x", ("1",))
        verdict = await opened.player.execute("python", job)
        decoded.append(opened.player._session.metrics.decode_steps)
        await opened.player.sample(task(opened, "after"), 1.0)
        return verdict

    async def quick():
        await opened.player.sample(task(opened, "quick"), 1.0)

    async def play():
        return await asyncio.gather(slow(), quick())

    (verdict, _), clock = run(opened, play)
    assert len(decoded) == 1 and decoded[0] > 0
    assert verdict.status is Status.OK
    assert (clock.responses, clock.programs, clock.timeouts, clock.infrastructure) == (2, 1, 0, 0)
    assert clock.waiting_s > 0


def test_an_error_in_a_task_or_in_the_sampler_ends_the_play(opened):
    async def fails():
        await opened.player.sample(task(opened, "first"), 1.0)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(opened, fails)

    async def too_long():
        await opened.player.sample(task(opened, "long", "word " * 2000), 1.0)

    with pytest.raises(ValueError, match=r"more than sampler\.max_prompt_tokens"):
        run(opened, too_long)
    assert samples(opened, ["b"])  # the player is whole


def test_solutions_are_parsed_checked_and_counted(opened):
    player = opened.player
    solving = player.solver_task("s", TaskType.DEDUCTION, TRIPLET)
    assert solving.source == TRIPLET
    assert TRIPLET.program in solving.prompt

    async def play():
        return await asyncio.gather(*(player.solve(solving, 1.0, f"/{number}") for number in range(8)))

    solutions, clock = run(opened, play)
    for solution in solutions:
        assert solution.formatted == (solution.verdict is not None)
        assert solution.correct == (solution.outcome == "correct")
        if solution.correct:
            assert "2" in solution.rollout.text
    acc = mean_accuracy(solutions)
    assert acc == sum(solution.correct for solution in solutions) / 8
    assert mean_accuracy([]) is None
    assert clock.programs == sum(solution.formatted for solution in solutions)
    assert all(solution.rollout.stop_reason in StopReason for solution in solutions)


def test_in_the_models_own_chat_template_a_prompt_is_the_users_message(opened):
    refuses_system = "{% if messages[0].role != 'user' %}{{ raise_exception('no system role') }}{% endif %}"
    template = refuses_system + "<|im_start|>user\n{{ messages[0].content }}<|im_end|>\n{{ '<|im_start|>assistant\n' }}"
    tokenizer = dataclasses.replace(opened.engine.tokenizer, chat_template=template)
    config = dataclasses.replace(opened.config, model=dataclasses.replace(opened.config.model, chat_template="model"))
    player = Player(config, opened.player.sampler, tokenizer, opened.player.languages, {})
    asked = player.solver_task("t", TaskType.DEDUCTION, TRIPLET)
    shown = tokenizer.decode(asked.prompt_ids)
    assert shown.startswith("<|im_start|>user\n# Task:") and TRIPLET.program in shown
    assert shown.endswith("<|im_end|>\n<|im_start|>assistant\n<think>") and "Assistant:" not in shown
    assert asked.prompt_ids != opened.player.solver_task("t", TaskType.DEDUCTION, TRIPLET).prompt_ids


def test_invalid_proposals_are_not_estimated(opened):
    async def play():
        proposing = asyncio.create_task(opened.player.propose(task(opened, "p", "gibberish"), buffers["python"], 1))
        return await proposing, await opened.player.estimate(proposing, 3, 1.0)

    buffers = starting_buffers(opened.config, opened.player)
    (proposal, tries), _ = run(opened, play)
    assert len(tries) == (3 if proposal.item is not None else 0)
    assert (proposal.item is not None) == (proposal.outcome == "valid")


def proposed(
    opened, monkeypatch, text: str, source: Triplet | None = None, known: Sequence[str] = ("2",), **selfplay
) -> Proposal:
    """What becomes of a proposal with this text; the buffer has TRIPLET's program with the inputs `known`."""
    settings = dataclasses.replace(opened.config.selfplay, **{"format": "azr", "duplicates": "-1"} | selfplay)
    player = opened.player
    monkeypatch.setattr(player, "config", dataclasses.replace(opened.config, selfplay=settings))
    buffers = starting_buffers(player.config, player)
    for given in known:
        buffers["python"].add_triplet(dataclasses.replace(TRIPLET, input=given, output="3"))
    asked = dataclasses.replace(task(opened), source=source)

    async def sample(task, temperature, sample_id="", begun=None):
        return Rollout(task.id, asked.prompt_ids, (1,), (0.0,), text, StopReason.EOS)

    monkeypatch.setattr(player, "sample", sample)
    return run(opened, lambda: player.propose(asked, buffers["python"], 1))[0]


def response(program: str, given: str) -> str:
    return f"so</think><answer>\n```python\n{program}\n```\n```input\n{given}\n```\n</answer>"


@pytest.mark.parametrize(
    ("given", "duplicates", "outcome"),
    [
        ("2", "-1", "duplicate"),
        ("1 + 1", "-1", "duplicate"),
        (" len('ab') ", "0", "duplicate"),
        ("1 + 1", "allow", "valid"),
        ("3", "-1", "valid"),
    ],
)
def test_duplicates_are_told_by_the_values_of_inputs(opened, monkeypatch, given, duplicates, outcome):
    proposal = proposed(opened, monkeypatch, response(TRIPLET.program, given), duplicates=duplicates)
    assert proposal.outcome == outcome, proposal


@pytest.mark.parametrize("duplicates", ["-1", "0", "allow"])
def test_a_copy_of_the_prompts_example_is_a_duplicate_whatever_the_buffers_keep(opened, monkeypatch, duplicates):
    example = response(opened.player.languages["python"].example, "[7, 7]")
    assert proposed(opened, monkeypatch, example, duplicates=duplicates).outcome == "duplicate"


def test_the_only_function_is_f_whatever_it_is_called_but_not_where_the_format_is_strict(opened, monkeypatch):
    text = response("def twice(x):\n    return x * 2", "4")
    proposal = proposed(opened, monkeypatch, text)
    assert proposal.outcome == "valid" and proposal.item.program == "def f(x):\n    return x * 2"
    assert proposed(opened, monkeypatch, text, format="strict").item is None


@pytest.mark.parametrize(("entry_functions", "outcome"), [("one", "several_entry_functions"), ("any", "valid")])
def test_a_program_with_two_entry_functions_is_refused_if_one_is_asked_for(
    opened, monkeypatch, entry_functions, outcome
):
    text = response("def f(x):\n    return x\n\n\ndef f(x):\n    return x * 3", "4")
    assert proposed(opened, monkeypatch, text, entry_functions=entry_functions).outcome == outcome


@pytest.mark.parametrize(
    ("program", "given", "outcome"),
    [
        ("def f(x):\n    return 7", "5", "ignores_input"),
        ("def f(x):\n    x = [x]\n    return x if len(x) > 1 else None", "'a'", "ignores_input"),
        ("def f(x):\n    return x > 3", "5", "valid"),  # 1 and 2 give False
        ("def f(x):\n    return x > 3", "0", "valid"),  # 4 gives True
        ("def f(a, b):\n    return 7", "5, 6", "valid"),  # no input of the buffer is a pair of arguments
    ],
)
def test_a_program_that_ignores_its_input_is_refused_if_asked_for(opened, monkeypatch, program, given, outcome):
    text, known = response(program, given), ("1", "2", "4", "'b'")
    assert proposed(opened, monkeypatch, text, known=known, constant_programs="-1", probes=3).outcome == outcome
    assert proposed(opened, monkeypatch, text, known=known, probes=3).outcome == "valid"


def test_a_proposal_builds_upon_the_function_that_it_was_given(opened, monkeypatch):
    buffers = starting_buffers(opened.config, opened.player)
    plain = proposer_tasks(opened.config, opened.player, buffers, "1", TASK_TYPES)
    tasks = proposer_tasks(opened.config, opened.player, buffers, "1", TASK_TYPES, composite=1.0)
    for without, built in zip(plain, tasks, strict=True):
        if built.type is TaskType.INDUCTION:
            assert built == without
        else:
            assert without.source is None and "def g(" in built.source.program and built.source.program in built.prompt
    calls, ignores = response("def f(x):\n    return [g(x)]", "4"), response("def f(x):\n    return [x]", "4")
    proposal = proposed(opened, monkeypatch, calls, tasks[0].source)
    assert proposal.outcome == "valid" and proposal.item.output == "[4]", proposal
    assert proposal.item.program.count("def ") == 2
    assert proposed(opened, monkeypatch, ignores, tasks[0].source).outcome == "does_not_call_given"


class Scripted(Player):
    """A player whose proposals are solved as often as it is told; None: not valid."""

    def __init__(self, accs):
        self.accs, self.asked = list(accs), []

    async def propose(self, task, buffers, step, begun=None):
        self.asked.append(task.id)
        valid = self.accs[0] is not None
        rollout = Rollout(task.id, (1,), (2,), (0.0,), "x", StopReason.EOS)
        return Proposal(task, rollout, TRIPLET if valid else None, "valid" if valid else "timeout", True)

    async def estimate(self, proposing, samples, temperature):
        proposal, acc = await proposing, self.accs.pop(0)
        hits = [index < round((acc or 0) * samples) for index in range(samples if acc is not None else 0)]
        return [Solution(proposal.task, proposal.rollout, True, hit, "correct", None) for hit in hits]


@pytest.mark.parametrize(
    ("accs", "redraws", "asked", "acc"),
    [
        ([0.5], 2, ["t"], 0.5),
        ([0.0], 0, ["t"], 0.0),
        ([0.0, 1.0, 0.25], 2, ["t", "t/again1", "t/again2"], 0.25),
        ([0.0, 1.0, 1.0, 0.5], 2, ["t", "t/again1", "t/again2"], 1.0),
        ([0.0, None], 2, ["t", "t/again1"], None),
    ],
)
def test_groups_without_variance_are_drawn_again(accs, redraws, asked, acc):
    player = Scripted(accs)
    task = Task("t", Role.PROPOSE, TaskType.DEDUCTION, "python", "prompt")
    proposal, estimates = asyncio.run(player.propose_varied(task, None, 1, 4, 1.0, redraws))
    assert player.asked == asked and proposal.task.id == asked[-1] and mean_accuracy(estimates) == acc


def test_what_a_verdict_leads_to_is_submitted_before_the_next_chunk_but_one(opened, monkeypatch):
    """Through as many awaits as a proposal, its validation and its estimation have, while chunks are decoded."""
    player, chunks, at_verdict, at_submit = opened.player, [0], [], []
    step, submit = Session.step, Session.submit

    def counted_step(session):
        chunks[0] += 1
        return step(session)

    def counted_submit(session, request):
        if request.id.startswith("after"):
            at_submit.append(chunks[0])
        submit(session, request)

    monkeypatch.setattr(Session, "step", counted_step)
    monkeypatch.setattr(Session, "submit", counted_submit)
    source = "import time\ndef f(x):\n    time.sleep(0.3)\n    return x"
    pool = player._pools["python"]
    pool_submit = pool.submit

    def noted(job):
        future = pool_submit(job)
        future.add_done_callback(lambda _: at_verdict.append(chunks[0]))  # on the pool's thread
        return future

    monkeypatch.setattr(pool, "submit", noted)

    async def proposed():
        return await player.execute("python", Job("slow", JobKind.EVALUATE, source, ("1",)))

    async def estimated(proposing):
        await proposing
        answers = (player.sample(task(opened, f"after{number}"), 1.0) for number in range(2))
        await asyncio.gather(*answers)

    async def decoding(until):
        for number in itertools.count():
            if until.done():
                return
            await player.sample(task(opened, f"meanwhile{number}"), 1.0)

    async def play():
        estimating = asyncio.create_task(estimated(asyncio.create_task(proposed())))
        await asyncio.gather(estimating, decoding(estimating))

    run(opened, play)
    assert at_verdict[0] >= 1 and len(at_submit) == 2  # a chunk had been sent: how many is the load's matter
    assert max(at_submit) - at_verdict[0] <= 1


@pytest.mark.parametrize(("sparse", "ends_s", "most_s", "waited"), [
    (True, 0.05, 20.0, True), (True, 20.0, 0.05, True), (False, 0.05, 20.0, False), (True, None, 20.0, False),
])  # fmt: skip
def test_where_few_rows_are_alive_programs_run_first_for_a_chunks_time(opened, sparse, ends_s, most_s, waited):
    """Until none runs, or as long as a chunk took; not where many rows are alive or nothing runs."""
    player = opened.player

    async def waits():
        player._ended, player._executing = asyncio.Event(), {}
        if ends_s is not None:
            player._executing["program"] = "python"
            asyncio.get_running_loop().call_later(ends_s, lambda: (player._executing.clear(), player._ended.set()))
        started = time.monotonic()
        await player._let_programs_run(SimpleNamespace(sparse=sparse), most_s)
        return time.monotonic() - started

    waited_s = asyncio.run(waits())
    player._executing.clear()
    assert waited_s < 10.0 and (waited_s > 0.04) == waited


def test_a_stall_says_what_is_waited_for_and_ends_the_play(opened, monkeypatch):
    player = opened.player
    monkeypatch.setattr(
        player,
        "config",
        dataclasses.replace(player.config, monitoring=dataclasses.replace(player.config.monitoring, stall_s=0.5)),
    )
    monkeypatch.setattr(player._pools["python"], "submit", lambda job: concurrent.futures.Future())

    async def play():
        await player.execute("python", Job("never", JobKind.EVALUATE, "def f(x): return x", ("1",)))

    with pytest.raises(StalledError, match=r"stall_s=0\.5 seconds; waiting for .* 1 programs in python, such as never"):
        run(opened, play)
    ended()
