"""From problems to judged samples: requests to the sampler, responses to the judges as they come."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from azr_jax.evaluation.judging.judge import Completion, CompletionJudge, Judgement
from azr_jax.evaluation.problems.records import AnyProblem
from azr_jax.evaluation.scoring import answers
from azr_jax.hosts.hosts import Hosts
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request
from azr_jax.types import Invalid, Rollout

PROMPT_TOO_LONG, NO_ANSWER = "PromptTooLong", "NoAnswer"


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One judged response: a judgement by each judge, what its result's line adds, and what was judged of it."""

    judgements: tuple[Judgement, ...]
    more: dict[str, Any]
    completion: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Sampling:
    """How each problem is sampled. A response ends after `max_tokens`, or where the sampler's lengths end."""

    mode: str
    samples: int
    temperature: float
    max_tokens: int
    seed: int


def judged_samples(
    sampler: Sampler,
    params: Any,
    judges: Sequence[CompletionJudge],
    problems: Sequence[AnyProblem],
    sampling: Sampling,
    on_response: Callable[[], None] = lambda: None,
    hosts: Hosts | None = None,
) -> Iterator[tuple[AnyProblem, list[Sample]]]:
    """Each problem with its samples in order, as they are complete.

    A prompt that is too long for the sampler, and a response without an answer, are outcomes (`PromptTooLong`,
    `NoAnswer`), not errors. A sample depends on seed, problem and its own number alone. Of several `hosts` each samples
    all problems, which is one program on the devices of all, and judges and yields its share.
    """
    language, settings = judges[0].language, sampler.settings
    by_id: dict[str, tuple[AnyProblem, int]] = {}
    samples: dict[str, dict[int, Sample]] = {problem.name: {} for problem in problems}
    requests = []
    hosts = hosts or Hosts()
    for position, problem in enumerate(problems):
        is_own = position % hosts.count == hosts.index
        prompt_ids = tuple(sampler.tokenizer.encode_prompt(answers.prompt_of(problem, language, sampling.mode)))
        if len(prompt_ids) > settings.max_prompt_tokens:
            text = f"the prompt has {len(prompt_ids)} tokens, the sampler takes {settings.max_prompt_tokens}"
            too_long = _unjudged(problem, PROMPT_TOO_LONG, text, len(judges), {"prompt_tokens": len(prompt_ids)})
            if is_own:
                yield problem, [too_long] * sampling.samples
            continue
        for number in range(sampling.samples):
            request = Request(
                id=f"{problem.language}/{problem.name}/{number}",
                prompt_ids=prompt_ids,
                max_tokens=min(sampling.max_tokens, settings.max_response_tokens),
                temperature=sampling.temperature,
                stop=answers.stop_of(problem, sampling.mode),
            )
            if is_own:
                by_id[request.id] = problem, number
            requests.append(request)
    with concurrent.futures.ThreadPoolExecutor(sum(judge.workers for judge in judges) * 4) as threads:
        pending: dict[concurrent.futures.Future[Sample], tuple[AnyProblem, int]] = {}
        try:
            for rollout in sampler.generate(params, requests, sampling.seed) if requests else ():
                on_response()
                if rollout.request_id not in by_id:
                    continue
                problem, number = by_id[rollout.request_id]
                pending[threads.submit(_judge, judges, problem, sampling.mode, rollout)] = problem, number
                yield from _collect(pending, samples, sampling.samples, [each for each in pending if each.done()])
            while pending:
                done, _ = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
                yield from _collect(pending, samples, sampling.samples, list(done))
        finally:
            for future in pending:
                future.cancel()


def _collect(
    pending: dict[concurrent.futures.Future[Sample], tuple[AnyProblem, int]],
    samples: dict[str, dict[int, Sample]],
    wanted: int,
    done: Sequence[concurrent.futures.Future[Sample]],
) -> Iterator[tuple[AnyProblem, list[Sample]]]:
    for future in done:
        problem, number = pending.pop(future)
        found = samples[problem.name]
        found[number] = future.result()
        if len(found) == wanted:
            yield problem, [found[each] for each in range(wanted)]


def _judge(judges: Sequence[CompletionJudge], problem: AnyProblem, mode: str, rollout: Rollout) -> Sample:
    more = {"stop_reason": str(rollout.stop_reason), "response_tokens": len(rollout.token_ids)}
    completion = answers.completion_of(problem, judges[0].benchmark_language, mode, rollout.text)
    if mode == answers.CHAT:
        more["response"] = rollout.text
    if isinstance(completion, Invalid):
        return _unjudged(problem, NO_ANSWER, f"{completion.reason} {completion.detail}".strip(), len(judges), more)
    assert isinstance(completion, Completion)
    return Sample(tuple(judge.judge(problem, completion) for judge in judges), more, completion.text)


def _unjudged(problem: AnyProblem, status: str, text: str, judges: int, more: dict[str, Any]) -> Sample:
    return Sample((Judgement(problem.name, status, 1, "", text, 0.0),) * judges, more)
