"""Benchmarks on several hosts: all sample every problem, each judges its share, and all get the whole score."""

from __future__ import annotations

import dataclasses

import pytest
from conftest import REPOSITORY, small_config
from thread_hosts import on_all, open_hosts

from azr_jax.evaluation.judging import judge as judging
from azr_jax.evaluation.problems.records import EvalPlusProblem
from azr_jax.evaluation.scoring.benchmarks import Benchmarks
from azr_jax.hosts.hosts import Hosts
from azr_jax.model.tokenizer import load_tokenizer
from azr_jax.model.weights import load_config
from azr_jax.types import Rollout, StopReason

MODEL = REPOSITORY / "azr_jax/embedded/azr-tiny"


def problem(number: int) -> EvalPlusProblem:
    text = f"def f(x):\n    '''x plus {number}'''\n"
    return EvalPlusProblem(f"T/{number}", text, "f", f"    return x + {number}\n", ([1], [2]), ([3],), 0.0, {})


class Sampler:
    """Stands for the device: right answers to the problems below 4, wrong ones to the others."""

    def __init__(self, config) -> None:
        self.settings = config.sampler
        self.tokenizer = load_tokenizer(MODEL, load_config(MODEL))
        self.asked: list[str] = []

    def generate(self, params, requests, seed):
        for request in requests:
            self.asked.append(request.id)
            number = int(request.id.split("/")[2])
            text = f"    return x + {number}\n" if number < 4 else "    return x\n"
            yield Rollout(request.id, request.prompt_ids, (1,), (0.0,), text, StopReason.EOS)


def test_each_host_judges_its_share_and_all_get_the_score(monkeypatch):
    config = small_config(executor__workers=1)
    problems = {("humaneval", "python"): [problem(number) for number in range(1, 7)]}
    judged: list[str] = []
    judge = judging.CompletionJudge.judge

    def recorded(self, problem, completion):
        judged.append(problem.name)
        return judge(self, problem, completion)

    monkeypatch.setattr(judging.CompletionJudge, "judge", recorded)
    samplers = [Sampler(config), Sampler(config)]

    def score(host: Hosts) -> dict[str, float]:
        return benchmarks.score(samplers[host.index], None, host, "completion")  # pyright: ignore[reportArgumentType]

    with Benchmarks.open(config, problems) as benchmarks:
        scores = on_all(open_hosts(2), score)
    assert scores[0] == scores[1]
    assert scores[0]["eval/humaneval/python/problems"] == 6
    assert scores[0]["eval/humaneval/python/pass_at_1"] == 0.5
    assert sorted(judged) == [f"T/{number}" for number in range(1, 7)]
    assert samplers[0].asked == samplers[1].asked and len(samplers[0].asked) == 6


def test_what_the_executors_failed_on_is_not_the_models_fault(monkeypatch, caplog):
    config = small_config(executor__workers=1)

    def judged(self, problem, completion):
        number = int(problem.name.split("/")[1])
        word = "OK" if number < 3 else "Exception"
        return judging.Judgement(problem.name, word, 0, "", "", 0.0, infrastructure=number > broken)

    monkeypatch.setattr(judging.CompletionJudge, "judge", judged)
    problems = {("humaneval", "python"): [problem(number) for number in range(1, 5)]}
    with Benchmarks.open(config, problems) as benchmarks:
        broken = 3
        scores = benchmarks.score(Sampler(config), None, Hosts(), "completion")  # pyright: ignore[reportArgumentType]
        broken = 0
        assert benchmarks.score(Sampler(config), None, Hosts(), "completion") == {}  # pyright: ignore[reportArgumentType]
    assert scores["eval/humaneval/python/problems"] == 3
    assert scores["eval/humaneval/python/pass_at_1"] == 2 / 3
    assert "eval/humaneval/python: the executors failed on 1 of 4 problems" in caplog.text


def test_pass_at_k_is_of_several_samples_and_shared_alike(monkeypatch):
    config = small_config(executor__workers=1, evaluation__benchmarks=("humaneval",), evaluation__pass_at_k=(4, 1))
    problems = {("humaneval", "python"): [problem(number) for number in range(1, 5)]}

    def judged(self, problem, completion):
        word = "OK" if completion.text.endswith(f"+ {problem.name[2:]}\n") else "Exception"
        return judging.Judgement(problem.name, word, 0, "", "", 0.0, infrastructure=problem.name == "T/4")

    class Sometimes(Sampler):
        """Right in the first of four samples of problems 2 and 3, never in those of the others."""

        def generate(self, params, requests, seed):
            assert all(request.temperature == 0.8 for request in requests)
            for request, rollout in zip(requests, super().generate(params, requests, seed), strict=True):
                right = request.id.split("/")[2:] in (["2", "0"], ["3", "0"])
                yield rollout if right else dataclasses.replace(rollout, text="    return x\n")

    monkeypatch.setattr(judging.CompletionJudge, "judge", judged)
    samplers = [Sometimes(config), Sometimes(config)]

    def score(host: Hosts):
        return benchmarks.pass_at_k(samplers[host.index], None, host, "completion")  # pyright: ignore[reportArgumentType]

    with Benchmarks.open(config, problems) as benchmarks:
        scores = on_all(open_hosts(2), score)
    assert scores[0] == scores[1]
    measured = scores[0]["eval/humaneval/python"]
    assert {key: measured[key] for key in ("prompt", "samples", "temperature", "problems")} == {
        "prompt": "completion", "samples": 4, "temperature": 0.8, "problems": 3,
    }  # fmt: skip
    estimates = {k: interval[0] for k, interval in measured["pass_at_k"].items()}
    assert estimates == {"1": pytest.approx(2 / 4 / 3), "4": pytest.approx(2 / 3)}
