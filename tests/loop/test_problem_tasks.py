"""Problems of a file in a step: the real model, real workers; and what right and wrong programs earn."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import numpy as np
import pytest
from conftest import small_config
from test_docs import undocumented

from azr_jax.loop import learning, stages
from azr_jax.loop.play import Player
from azr_jax.loop.record import record_of
from azr_jax.loop.tasks import problem_tasks, starting_buffers
from azr_jax.run.problems import check_problems, load_problems
from azr_jax.selfplay.problems import ProblemSet
from azr_jax.selfplay.rewards import RewardState
from azr_jax.types import Rollout, StopReason, TaskType, VerifiedProblem

OWN = {"problems__path": "problems.jsonl", "evaluation__heldout": ""}


def player_of(opened, problems=None, **changes) -> Player:
    """A player of the open run's parts that has problems too."""
    config = small_config(**OWN, **changes)
    problems = problems or load_problems(config)
    shared = (opened.player.sampler, opened.engine.tokenizer, opened.player.languages, opened.player._pools)
    return Player(config, *shared, problems=problems)


@pytest.mark.ci
def test_a_step_with_problems_is_a_step_of_self_play_and_a_seventh_group(opened):
    player = player_of(opened, problems__reward="share")
    params, before = opened.engine.load_params(), starting_buffers(player.config, player)
    without = stages.play_step(opened.config, opened.player, params, before, 1)
    played = stages.play_step(player.config, player, params, before, 1)
    # What self-play asks, answers and keeps is what it was.
    assert played.buffers.to_json() == without.buffers.to_json()
    for part in ("proposals", "solutions"):
        texts = [[response.rollout.text for response in getattr(step, part)] for step in (played, without)]
        assert texts[0] == texts[1]
    assert [solution.task.type for solution in played.problems] == [TaskType.PROBLEMS] * 3
    assert without.problems == [] and len(stages.rollouts(played)) == len(stages.rollouts(without)) + 3

    scored = stages.score(player.config, played, RewardState())
    record = record_of(1, played, scored, player.languages, 12)
    plain = record_of(1, without, stages.score(opened.config, without, RewardState()), player.languages, 12)
    assert not undocumented(set(record.metrics))
    own = {key for key in record.metrics if key.startswith("solve/problems/")}
    assert {f"solve/problems/{key}" for key in ("accuracy", "formatted", "reward", "tests_passed")} <= own
    unchanged = {key for key in plain.metrics if key.split("/")[0] in ("propose", "solve", "buffer")}
    assert {key for key in record.metrics if key.split("/")[0] in ("propose", "solve", "buffer")} == unchanged | own
    assert all(record.metrics[key] == plain.metrics[key] for key in unchanged)
    assert stages.next_reward_state(player.config, played, RewardState()) == stages.next_reward_state(
        player.config, without, RewardState()
    )
    shown = [row for row in record.transcripts if row["type"] == "problems"]
    assert shown and all("standard input" in row["prompt"] and len(row["expected"]) >= 3 for row in shown)

    state = opened.learner.init(params)
    _, metrics = learning.learn(player.config, opened.learner, state, scored, 1, opened.engine.tokenizer.pad_id)
    assert not undocumented(set(metrics))
    tokens = sum(len(solution.rollout.token_ids) for solution in played.problems)
    assert metrics["ppo/solve_problems/tokens"] == tokens
    groups = [value for key, value in metrics.items() if key.endswith("/tokens")]
    assert sum(groups) == metrics["ppo/response_tokens"]
    assert 0.0 < metrics["ppo/solve_problems/entropy"] < np.log(2048)


SUM = VerifiedProblem("sum", "Add.", ("1\n2\n", "2\n2\n", "5\n5\n", "0\n0\n"), ("3\n", "4\n", "10\n", "0\n"))
RIGHT = "print(int(input()) + int(input()))"


def solved(opened, program: str, problem: VerifiedProblem = SUM, **changes):
    """(solution, its score) of a model that answers with this program."""
    player = player_of(opened, ProblemSet((problem,), {"python": str}), selfplay__max_program_chars=2000, **changes)
    text = f"</think>\n<answer>\n```python\n{program}\n```\n</answer>" if program else "I do not know"

    async def sample(task, temperature, sample_id="", begun=None):
        return Rollout(task.id, task.prompt_ids, (1, 2), (0.0, 0.0), text, StopReason.EOS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(player, "sample", sample)
        (task, *_) = problem_tasks(player.config, player, 1)
        solution = asyncio.run(player.solve(task, 1.0))
    played = stages.Played([], [], [], starting_buffers(player.config, player), player._clock, problems=[solution])
    scored = stages.score(player.config, played, RewardState())
    record = record_of(1, played, scored, player.languages, 1)
    json.loads(json.dumps(record.to_json()).encode())
    return solution, scored, record


@pytest.mark.parametrize(
    ("program", "outcome", "all_or_nothing", "by_tests", "passed"),
    [
        (RIGHT, "correct", 1.0, 1.0, 1.0),
        (RIGHT.replace("+", "*"), "wrong", -0.5, 0.25, 0.5),  # 2 * 2 and 0 * 0
        ("print(3)", "wrong", -0.5, -0.125, 0.25),
        (f"{RIGHT}\nraise SystemExit(1)", "runtime_error", -0.5, -0.5, 0.0),
        ("print(", "syntax_error", -0.5, -0.5, 0.0),
        ("", "no_think_end", -1.0, -1.0, 0.0),
    ],
)
def test_rewards_are_of_all_tests_or_of_their_share(opened, program, outcome, all_or_nothing, by_tests, passed):
    solution, (scored,), record = solved(opened, program)
    assert (solution.outcome, scored.reward, scored.correct) == (outcome, all_or_nothing, outcome == "correct")
    assert record.metrics["solve/problems/accuracy"] == scored.correct
    solution, (scored,), record = solved(opened, program, problems__reward="share")
    assert (solution.outcome, scored.reward) == (outcome, by_tests)
    assert record.metrics["solve/problems/tests_passed"] == passed


def test_output_in_another_encoding_is_wrong_and_shown(opened):
    problem = dataclasses.replace(SUM, stdin=("",), expected=("café\n",))
    latin = "import sys\nsys.stdout.buffer.write('café'.encode('latin-1'))"
    solution, (scored,), record = solved(opened, latin, problem)
    assert (solution.outcome, scored.reward) == ("wrong", -0.5)
    assert record.transcripts[0]["claimed"] == ["caf\ufffd"] and record.transcripts[0]["expected"] == ["café\n"]
    assert solved(opened, "print('café')", problem)[0].correct


def test_a_function_of_a_whole_program_keeps_its_name(opened):
    program = "def total(a, b):\n    return a + b\nprint(eval('total')(int(input()), int(input())))"
    assert solved(opened, program, selfplay__format="azr")[0].correct


def test_a_statement_that_fits_nowhere_is_said(opened):
    problem = dataclasses.replace(SUM, statement="word " * 4000)
    with pytest.raises(ValueError, match=r"sampler\.max_prompt_tokens=256"):
        check_problems(player_of(opened, ProblemSet((problem,), {"python": str})))
    check_problems(player_of(opened, ProblemSet((problem, SUM), {"python": str})))
