"""The stages of a step on the real model and real workers: what is asked, what is kept, what is rewarded."""

from __future__ import annotations

import collections
import dataclasses

import jax
import numpy as np
import pytest
from conftest import small_config

from azr_jax.loop import learning, stages
from azr_jax.loop import tasks as drawing
from azr_jax.loop.comparing import Compared, compare
from azr_jax.loop.play import Clock, Proposal, Solution
from azr_jax.loop.record import _proposals, record_of
from azr_jax.selfplay.buffers import Buffers
from azr_jax.selfplay.rewards import RewardState
from azr_jax.types import TASK_TYPES, InductionProblem, Role, Rollout, StopReason, Task, TaskType, Triplet

BATCH = 3


@pytest.fixture(scope="module")
def step(opened):
    """(open run, parameters, buffers before, played, scored, record) of a step on seeded buffers."""
    params = opened.engine.load_params()
    before = drawing.starting_buffers(opened.config, opened.player)
    rounds = 0
    while any(stages.seeds_missing(opened.config, before).values()):
        rounds += 1
        assert rounds < 100
        before = stages.seeding_round(opened.config, opened.player, params, before, rounds).buffers
    played = stages.play_step(opened.config, opened.player, params, before, 1)
    scored = stages.score(opened.config, played, RewardState())
    record = record_of(1, played, scored, opened.player.languages, 12)
    return opened, params, before, played, scored, record


def test_seeding_fills_the_buffers_without_rewards(step):
    opened, _, before, *_ = step
    entries = before["python"]
    assert len(entries.triplets) >= opened.config.selfplay.seed_triplets
    assert len(entries.problems) >= opened.config.selfplay.seed_problems
    assert all(triplet.step == 0 for triplet in entries.triplets.entries())
    assert not any(stages.seeds_missing(opened.config, before).values())


def test_a_step_asks_the_six_tasks_and_estimates_the_valid(step):
    opened, _, _, played, *_ = step
    kinds = collections.Counter(response.task.type for response in played.proposals)
    assert kinds == dict.fromkeys(TASK_TYPES, BATCH)
    for proposal, tries in zip(played.proposals, played.estimates, strict=True):
        assert len(tries) == (opened.config.selfplay.estimate_samples if proposal.item is not None else 0)
        assert all(response.task.source == proposal.item for response in tries)
    solved = collections.Counter(response.task.type for response in played.solutions)
    assert solved[TaskType.DEDUCTION] == solved[TaskType.ABDUCTION] == BATCH
    assert all(response.task.role is Role.SOLVE for response in played.solutions)
    ids = [response.request_id for response in stages.rollouts(played)]
    assert len(set(ids)) == len(ids)


def test_valid_proposals_enter_the_buffer_and_come_first(step):
    *_, played, _, _ = step
    buffers = played.buffers
    for proposal in played.proposals:
        if isinstance(proposal.item, Triplet):
            assert buffers["python"].has_triplet(proposal.item.program, proposal.item.input)
        elif proposal.item is not None:
            assert buffers["python"].has_problem(proposal.item.program, proposal.item.inputs)
    valid = [proposal for proposal in played.proposals if proposal.item is not None]
    new = [proposal.item for proposal in valid if proposal.task.type is TaskType.INDUCTION]
    asked = [response.task.source for response in played.solutions if response.task.type is TaskType.INDUCTION]
    # A new one that was not asked is still queued: older new ones came before it.
    assert set(new) <= set(asked) or buffers["python"].problems.new_count(TaskType.INDUCTION) > 0


def test_the_record_counts_this_step(step):
    """The clock of the step before was recorded once."""
    opened, *_, played, _, record = step
    responses = stages.rollouts(played)
    tokens = sum(len(response.token_ids) for response in responses)
    assert record.metrics["sample/response_tokens"] == pytest.approx(tokens / len(responses))
    assert record.metrics["exec/programs"] == played.clock.programs
    checked = [*played.solutions, *(response for tries in played.estimates for response in tries)]
    ran = sum(response.verdict is not None for response in checked)
    valid = sum(response.item is not None for response in played.proposals)
    assert ran + valid <= record.metrics["exec/programs"] <= len(responses)
    assert record.metrics["propose/valid"] == pytest.approx(valid / len(played.proposals))
    assert record.metrics["exec/infrastructure"] == 0
    assert record.metrics["time/sampling_s"] > 0
    for role, good in (("propose", "valid"), ("solve", "correct")):
        errors = sum(value for key, value in record.metrics.items() if key.startswith(f"{role}/error/"))
        assert errors + record.metrics.get(f"{role}/outcome/{good}", 0.0) == pytest.approx(1)
    if valid:
        shares = [value for key, value in record.metrics.items() if key.startswith("propose/acc_histogram/")]
        assert len(shares) == opened.config.selfplay.estimate_samples + 1 and sum(shares) == pytest.approx(1)
    assert 0 < record.metrics["propose/python/program/distinct"] <= 1
    written = [response.item.program for response in played.proposals if isinstance(response.item, Triplet)]
    programs = {key for key in record.metrics if key.startswith("propose/python/program/")}
    assert bool(programs) == bool(written)
    # Of one language there is nothing to tell apart.
    assert not any(key.startswith(("propose/python/valid", "solve/python/")) for key in record.metrics)
    assert len(record.transcripts) == 12
    for row in record.transcripts:
        # What decided it: of a solution what was expected and what it came to, or what is wrong with it.
        assert row["tokens"] > 0 and bool(row["expected"]) == (row["role"] == "solve")
        if row["outcome"] == "correct":
            assert row["claimed"] and row["detail"] == ""
        if row["outcome"] == "wrong":
            assert row["claimed"] != row["expected"]
    assert {(response["role"], response["type"]) for response in record.transcripts} == {
        (role.value, kind.value) for role in Role for kind in TASK_TYPES
    }


def test_the_same_step_again_is_the_same_step(step):
    opened, params, before, played, *_ = step
    given = before.to_json()
    replayed = stages.play_step(opened.config, opened.player, params, before, 1)
    texts = [[proposal.rollout.text for proposal in part.proposals] for part in (replayed, played)]
    assert texts[0] == texts[1]
    assert [response.outcome for response in replayed.solutions] == [response.outcome for response in played.solutions]
    assert replayed.buffers.to_json() == played.buffers.to_json() != given
    assert before.to_json() == given  # what a cut step goes back to
    other = drawing.proposer_tasks(opened.config, opened.player, replayed.buffers, "2", TASK_TYPES)
    assert [task.id for task in other] != [response.task.id for response in played.proposals]


def test_with_solver_tasks_before_a_step_solves_what_the_buffers_had(step):
    """All three kinds of response share one queue: the first solver is asked before the last proposal is there."""
    opened, params, before, *_ = step
    selfplay = dataclasses.replace(opened.config.selfplay, solver_tasks="before")
    config = dataclasses.replace(opened.config, selfplay=selfplay)
    submitted: list[str] = []
    session_of = opened.player.sampler.session

    class Noting:
        def __init__(self, session):
            self._session = session

        def submit(self, request):
            submitted.append(request.id)
            self._session.submit(request)

        def __getattr__(self, name):
            return getattr(self._session, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opened.player.sampler, "session", lambda *arguments: Noting(session_of(*arguments)))
        played = stages.play_step(config, opened.player, params, before, 9)
    own = {proposal.item for proposal in played.proposals if proposal.item is not None}
    known = set(before["python"].triplets.entries()) | set(before["python"].problems.entries())
    asked = {solution.task.source for solution in played.solutions}
    assert asked <= known and (not own or not own & asked)
    first_half = submitted[: 6 * BATCH]
    assert sum("/solve/" in name for name in first_half) == len(played.solutions)
    # What was new and was asked is not new any more; what was proposed is.
    counts = played.buffers["python"].counters()
    assert counts["triplets_added"] == before["python"].counters()["triplets_added"] + sum(
        isinstance(item, Triplet) for item in own
    )


def test_with_a_band_a_step_keeps_its_estimates_and_solutions_as_tries(step):
    """Each entry has as many tries as it was answered, so that `acc` of a proposal is known when it is drawn."""
    opened, params, before, *_ = step
    selfplay = dataclasses.replace(opened.config.selfplay, solver_tasks="before", band_low=0.3, band_high=0.8)
    config = dataclasses.replace(opened.config, selfplay=selfplay)
    played = stages.play_step(config, opened.player, params, before, 1)
    answered = [*played.solutions, *(sample for samples in played.estimates for sample in samples)]
    assert any(played.estimates)
    kept = played.buffers["python"].to_json()
    solves = [counts for part in (*kept["triplets"], kept["problems"]) for counts in part["solves"].values()]
    tries = [(correct, tried) for counts in solves for _, correct, tried in counts]
    assert sum(tried for _, tried in tries) == len(answered)
    assert sum(correct for correct, _ in tries) == sum(solution.correct for solution in answered)


def scored_step(outcomes, config):
    """Scores made-up responses: (role, valid or correct, accs of the estimates, outcome, formatted)."""
    rollout = Rollout("r", (1,), (2,), (0.0,), "x", StopReason.EOS)
    triplet = Triplet("python", "p", "1", "1")
    proposals, estimates, solutions = [], [], []
    for number, (role, good, tries, outcome, formatted) in enumerate(outcomes):
        task = Task(str(number), role, TaskType.DEDUCTION, "python", "prompt", triplet)
        if role is Role.PROPOSE:
            proposals.append(Proposal(task, rollout, triplet if good else None, outcome, formatted))
            asked = dataclasses.replace(task, role=Role.SOLVE)
            estimates.append([Solution(asked, rollout, True, hit, "correct", None) for hit in tries])
        else:
            solutions.append(Solution(task, rollout, formatted, good, outcome, None))
    written = [proposal for proposal in proposals if proposal.item is not None]
    compared = Compared(tuple(p.task.id for p in written), tuple(p.item.program for p in written))
    played = stages.Played(proposals, estimates, solutions, Buffers({}), Clock(), {"python": compared})
    return stages.score(config, played, RewardState())


def test_scores_are_equations_2_and_3():
    outcomes = [
        (Role.PROPOSE, True, [True, False, False, False], "valid", True),
        (Role.PROPOSE, True, [True, True], "valid", True),
        (Role.PROPOSE, True, [False, False], "valid", True),
        (Role.PROPOSE, False, [], "timeout", True),
        (Role.SOLVE, True, [], "correct", True),
        (Role.SOLVE, False, [], "wrong", True),
        (Role.SOLVE, False, [], "no_answer", False),
    ]
    config = small_config(reward__proposer="eq3")
    assert [response.reward for response in scored_step(outcomes, config)] == [0.75, -0.5, -0.5, -1.0, 1.0, -0.5, -1.0]
    revised = scored_step(outcomes[:4], small_config(reward__proposer="eq4"))
    assert [response.reward for response in revised] == [0.5 + 2 * 0.25 * 0.75, 0.5, 0.5, -1.0]


def test_what_the_executors_failed_on_has_no_reward():
    outcomes = [
        (Role.PROPOSE, False, [], "infrastructure", True),
        (Role.SOLVE, False, [], "infrastructure", True),
        (Role.SOLVE, True, [], "correct", True),
    ]
    (only,) = scored_step(outcomes, small_config())
    assert (only.outcome, only.reward) == ("correct", 1.0)


def test_estimates_are_trained_on_when_asked():
    outcomes = [(Role.PROPOSE, True, [True, False], "valid", True)]
    assert len(scored_step(outcomes, small_config())) == 1
    more = scored_step(outcomes, small_config(selfplay__train_on_estimates=True))
    assert [response.task.role for response in more] == [Role.PROPOSE, Role.SOLVE, Role.SOLVE]


@pytest.mark.slow
def test_estimates_are_on_policy_data(step):
    opened, *_, played, _, _ = step
    chosen = dataclasses.replace(opened.config.selfplay, train_on_estimates=True)
    config = dataclasses.replace(opened.config, selfplay=chosen)
    scored = stages.score(config, played, RewardState())
    samples = sum(map(len, played.estimates))
    assert samples and len(scored) == len(played.proposals) + len(played.solutions) + samples
    assert len({response.rollout.request_id for response in scored}) == len(scored)
    state = opened.learner.init(opened.engine.load_params())
    _, metrics = learning.learn(config, opened.learner, state, scored, 1, opened.engine.tokenizer.pad_id)
    assert metrics["ppo/response_tokens"] == sum(len(response.rollout.token_ids) for response in scored)
    # Sampled from the weights that are updated, as all the rest.
    assert metrics["ppo/first_ratio_max"] == 1.0 and metrics["ppo/mismatch_mean"] < 1e-3


@pytest.mark.ci
def test_learning_changes_the_weights_and_permuted_rewards_change_them_otherwise(step):
    opened, *_, scored, _ = step

    def learned(config):
        state = opened.learner.init(opened.engine.load_params())
        state, metrics = learning.learn(config, opened.learner, state, scored, 1, opened.engine.tokenizer.pad_id)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)], metrics

    started = [np.asarray(leaf) for leaf in jax.tree.leaves(opened.engine.load_params())]
    plain, metrics = learned(opened.config)
    permuted, other = learned(
        dataclasses.replace(opened.config, reward=dataclasses.replace(opened.config.reward, permute=True))
    )
    assert any((left != right).any() for left, right in zip(plain, started, strict=True))
    assert any((left != right).any() for left, right in zip(plain, permuted, strict=True))
    assert metrics["ppo/response_tokens"] == other["ppo/response_tokens"]
    assert metrics["ppo/response_tokens"] == sum(len(response.rollout.token_ids) for response in scored)
    assert metrics["ppo/first_ratio_max"] == 1.0


def test_a_prompt_too_long_loses_references_and_then_its_place(opened, caplog):
    buffers = drawing.starting_buffers(opened.config, opened.player)
    long = Triplet("python", "def f(x):\n    return [" + "1234, " * 200 + "x]", "1", "1")
    buffers["python"].add_triplet(long, new_for=(TaskType.DEDUCTION,))
    tasks = drawing.proposer_tasks(opened.config, opened.player, buffers, "1", [TaskType.DEDUCTION])
    assert len(tasks) == BATCH
    assert all(opened.player.fits(task.prompt_ids) and "1234" not in task.prompt for task in tasks)
    solver = drawing.solver_tasks(opened.config, opened.player, buffers, 1)
    assert all(opened.player.fits(task.prompt_ids) for task in solver)
    assert len([task for task in solver if task.type is TaskType.DEDUCTION]) < BATCH
    assert "exceed sampler.max_prompt_tokens: left out" in caplog.text


def test_induction_problems_keep_pairs_from_the_solver(step):
    *_, played, _, _ = step
    for problem in played.buffers["python"].problems.entries():
        assert isinstance(problem, InductionProblem)
        assert problem.shown < len(problem.inputs) == len(problem.outputs)


def test_a_proposal_without_a_judged_sample_is_neither_valid_nor_invalid_in_the_metrics():
    rollout = Rollout("r", (1,), (2,), (0.0,), "x", StopReason.EOS)
    asked = Task("0", Role.PROPOSE, TaskType.DEDUCTION, "python", "prompt")
    item = Triplet("python", "p", "1", "1")
    failed = Solution(asked, rollout, True, False, "infrastructure", None)
    valid, refused = (Proposal(asked, rollout, item, "valid", True), Proposal(asked, rollout, None, "timeout", True))
    tried = Solution(asked, rollout, True, True, "correct", None)
    metrics = _proposals([(valid, [failed]), (valid, [tried]), (refused, [])], "propose", by_type=False)
    assert metrics["propose/valid"] == metrics["propose/invalid_rate"] == 0.5 and metrics["propose/acc"] == 1.0


class RecordingLearner:
    """Keeps the batch that it should learn from."""

    rows_per_microbatch = 1

    def update(self, state, batch, denominators):
        self.batch, self.denominators = batch, denominators
        return state, {}


def test_grpo_goes_on_after_a_step_without_a_valid_proposal():
    """Then no prompt has two responses; the run must not end for that."""
    config = small_config(learner__estimator="grpo", selfplay__train_on_estimates=True)
    outcomes = [(Role.PROPOSE, False, [], "timeout", True), (Role.SOLVE, True, [], "correct", True)]
    learner = RecordingLearner()
    learning.learn(config, learner, None, scored_step(outcomes, config), 1, 0)
    assert learner.batch.loss_mask_RT.sum() == 2 and not learner.batch.advantages_RT.any()


@pytest.mark.parametrize(("duplicates", "reward"), [("-1", -1.0), ("0", 0.0)])
def test_a_duplicate_is_worth_what_the_settings_say(duplicates, reward):
    config = small_config(selfplay__duplicates=duplicates)
    outcomes = [(Role.PROPOSE, False, [], "duplicate", True), (Role.PROPOSE, False, [], "timeout", True)]
    assert [response.reward for response in scored_step(outcomes, config)] == [reward, -1.0]


def test_near_copies_of_the_step_cost_their_proposers():
    """All of a step's programs are one program here: three of four of the others, times the weight."""
    outcomes = [(Role.PROPOSE, True, [True, False], "valid", True)] * 4
    plain, costly = (
        scored_step(outcomes, small_config(reward__proposer="eq3", reward__novelty=novelty)) for novelty in (0.0, 0.5)
    )
    assert [response.reward for response in plain] == [0.5] * 4
    assert [response.reward for response in costly] == [0.5 - 0.5 * 0.75] * 4


SQUARES = (
    "def f(x):\n    return x * x",
    "def f(n):\n    out = 0\n    for _ in range(n):\n        out += n\n    return out",
)
THIRD = "def f(x):\n    return 'no' if x is None else [x]"


def test_programs_that_do_the_same_pay_for_it_although_their_texts_differ(opened):
    """Real programs: two squares by other means, one unlike them, and one of the buffer's newest that squares too."""
    by_behaviour = {"reward__novelty_by": "behaviour", "reward__novelty_recent": 1, "selfplay__probes": 3}
    config = small_config(reward__novelty=0.5, **by_behaviour)
    rollout = Rollout("r", (1,), (2,), (0.0,), "x", StopReason.EOS)
    proposals = []
    for number, program in enumerate((*SQUARES, THIRD)):
        task = Task(str(number), Role.PROPOSE, TaskType.DEDUCTION, "python", "", None)
        item = Triplet("python", program, str(number + 2), "", 1)
        proposals.append(Proposal(task, rollout, item, "valid", True))
    buffers = drawing.starting_buffers(opened.config, opened.player)
    for step, program in enumerate((THIRD, "def f(y):\n    return pow(y, 2)")):
        buffers["python"].add_triplet(Triplet("python", program, "9", "81", step))

    async def play():
        return await compare(config, opened.player, buffers, proposals, 1)

    compared = opened.player.run(opened.engine.load_params(), 0, play)[0]["python"]
    assert compared.ids == ("0", "1", "2") and len(compared.programs) == 4
    assert compared.behaviours[0] == compared.behaviours[1] == compared.behaviours[3] != compared.behaviours[2]
    assert compared.penalties("behaviour") == {"0": 2 / 4, "1": 2 / 4, "2": 0.0}
    assert compared.penalties("tokens") == {"0": 0.0, "1": 0.0, "2": 0.0}
    played = stages.Played(proposals, [[]] * 3, [], buffers, Clock(), {"python": compared})
    record = record_of(1, played, [], opened.player.languages, 0)
    assert record.metrics["propose/python/program/behaviour_copies"] == pytest.approx(2 / 3)


def test_an_estimate_right_out_of_format_counts_for_acc_and_not_for_its_own_reward():
    config = small_config(selfplay__train_on_estimates=True, reward__proposer="eq3")
    rollout = Rollout("r", (1,), (2,), (0.0,), "x", StopReason.EOS)
    triplet = Triplet("python", "p", "1", "1")
    task = Task("0", Role.PROPOSE, TaskType.DEDUCTION, "python", "prompt", triplet)
    asked = dataclasses.replace(task, role=Role.SOLVE)
    samples = [Solution(asked, rollout, formatted, True, "correct", None) for formatted in (True, False)]
    proposals = [Proposal(task, rollout, triplet, "valid", True)]
    played = stages.Played(proposals, [samples], [], Buffers({}), Clock())
    scored = stages.score(config, played, RewardState())
    assert scored[0].acc == 1.0 and [response.reward for response in scored[1:]] == [1.0, -1.0]


def test_solver_tries_are_kept_with_their_entries_if_a_band_is_set():
    triplet, other = Triplet("python", "p", "1", "1"), Triplet("python", "q", "1", "1")
    rollout = Rollout("r", (1,), (2,), (0.0,), "x", StopReason.EOS)
    hits = {triplet: (True, False), other: (True, True)}
    solutions = [
        Solution(Task("t", Role.SOLVE, TaskType.DEDUCTION, "python", "", item), rollout, True, hit, "correct", None)
        for item, outcomes in hits.items()
        for hit in outcomes
    ]
    failed = dataclasses.replace(solutions[0], outcome="infrastructure", correct=False)
    for config, expected in (
        (small_config(selfplay__band_low=0.3, selfplay__band_high=0.8), {"buffer/python/band_deduction": 0.5}),
        (small_config(), {}),
    ):
        buffers = Buffers.empty(10, {"python": str.strip})
        for item in hits:
            buffers["python"].add_triplet(item)
        stages.note_solves(config, [*solutions, failed, failed], buffers)
        metrics = stages.reward_metrics(config, RewardState(), buffers)
        assert {key: value for key, value in metrics.items() if key.startswith("buffer/")} == expected
