"""From problems to judged samples: requests to the sampler, responses to the judges as they come."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from azr_jax.evaluation.judging.judge import Completion, CompletionJudge, Judgement
from azr_jax.evaluation.problems.records import AnyProblem
from azr_jax.evaluation.scoring import answers
from azr_jax.hosts.hosts import Hosts
from azr_jax.model.tokenizer import Tokenizer
from azr_jax.sampler.engine import Sampler
from azr_jax.sampler.requests import Request
from azr_jax.types import Invalid, Rollout
from executors import Language

PROMPT_TOO_LONG, NO_ANSWER = "PromptTooLong", "NoAnswer"


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One judged response: a judgement by each judge, further fields of its result's line, and the judged text.

    `published`: if asked for, the first judge's judgement of the completion, cut by the published stop tokens.
    """

    judgements: tuple[Judgement, ...]
    more: dict[str, Any]
    completion: str = ""
    published: Judgement | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Sampling:
    """How each problem is sampled. A response ends after `max_tokens`, or at the sampler's longest length.

    stop: one of answers.STOPS.
    """

    mode: str
    samples: int
    temperature: float
    max_tokens: int
    seed: int
    stop: str = answers.MENDED


Asked = list[tuple[AnyProblem, tuple[int, ...]]]


def asked(problems: Iterable[AnyProblem], language: Language, tokenizer: Tokenizer, mode: str) -> Asked:
    """Each problem with the token ids of its prompt."""
    return [(problem, answers.prompt_ids_of(tokenizer, problem, language, mode)) for problem in problems]


def judged_samples(
    sampler: Sampler,
    params: Any,
    judges: Sequence[CompletionJudge],
    prompts: Asked,
    sampling: Sampling,
    on_response: Callable[[], None] = lambda: None,
    hosts: Hosts | None = None,
    done: Mapping[str, Collection[int]] | None = None,
) -> Iterator[tuple[AnyProblem, int, Sample]]:
    """(problem, number, sample) of each sample as it is judged, but for the numbers `done` of a problem's name.

    A prompt that is too long for the sampler, and a response without an answer, are outcomes (`PromptTooLong`,
    `NoAnswer`), not errors. A sample depends only on seed, problem and its number. Each of several `hosts` samples
    all problems, by one program on all devices, and judges and yields its share.
    """
    hosts = hosts or Hosts()
    most = sampler.settings.max_prompt_tokens
    by_id: dict[str, tuple[AnyProblem, int]] = {}
    requests = []
    for position, (problem, prompt_ids) in enumerate(prompts):
        is_own = position % hosts.count == hosts.index
        numbers = [number for number in range(sampling.samples) if number not in (done or {}).get(problem.name, ())]
        if len(prompt_ids) <= most:
            own_requests = _requests(problem, prompt_ids, numbers, judges[0], sampling, sampler)
            requests += own_requests
            if is_own:
                by_id |= {request.id: (problem, number) for request, number in zip(own_requests, numbers, strict=True)}
        elif is_own:
            text = f"the prompt has {len(prompt_ids)} tokens, the sampler takes {most}"
            more = {"prompt_tokens": len(prompt_ids)}
            too_long = _unjudged(problem, PROMPT_TOO_LONG, text, len(judges), sampling.stop, more)
            yield from ((problem, number, too_long) for number in numbers)
    with concurrent.futures.ThreadPoolExecutor(sum(judge.workers for judge in judges) * 4) as threads:
        pending: dict[concurrent.futures.Future[Sample], tuple[AnyProblem, int]] = {}
        try:
            for rollout in sampler.generate(params, requests, sampling.seed) if requests else ():
                on_response()
                if rollout.request_id not in by_id:
                    continue
                problem, number = by_id[rollout.request_id]
                pending[threads.submit(_judge, judges, problem, sampling, rollout)] = problem, number
                for future in [future for future in pending if future.done()]:
                    yield *pending.pop(future), future.result()
            for future in concurrent.futures.as_completed(list(pending)):
                yield *pending.pop(future), future.result()
        finally:
            for future in pending:
                future.cancel()


def _requests(
    problem: AnyProblem,
    prompt_ids: tuple[int, ...],
    numbers: Iterable[int],
    judge: CompletionJudge,
    sampling: Sampling,
    sampler: Sampler,
) -> list[Request]:
    is_published = sampling.stop == answers.PUBLISHED
    stop = answers.stop_of(problem, judge.benchmark_language, sampling.mode, is_published)
    max_tokens = min(sampling.max_tokens, sampler.settings.max_response_tokens)
    return [
        Request(f"{problem.language}/{problem.name}/{number}", prompt_ids, max_tokens, sampling.temperature, stop=stop)
        for number in numbers
    ]


def _judge(judges: Sequence[CompletionJudge], problem: AnyProblem, sampling: Sampling, rollout: Rollout) -> Sample:
    more = {"stop_reason": str(rollout.stop_reason), "response_tokens": len(rollout.token_ids)}
    language = judges[0].benchmark_language
    completion = answers.completion_of(problem, language, sampling.mode, rollout.text)
    if sampling.mode != answers.COMPLETION:
        more["response"] = rollout.text
    if isinstance(completion, Invalid):
        reason = f"{completion.reason} {completion.detail}".strip()
        return _unjudged(problem, NO_ANSWER, reason, len(judges), sampling.stop, more)
    assert isinstance(completion, Completion)
    judgements = tuple(judge.judge(problem, completion) for judge in judges)
    if sampling.stop != answers.BOTH:
        return Sample(judgements, more, completion.text)
    text = completion.text if completion.whole else answers.cut_as_published(problem, language, completion.text)
    cut = dataclasses.replace(completion, text=text)
    published = judgements[0] if text == completion.text else judges[0].judge(problem, cut)
    return Sample(judgements, more, completion.text, published)


def _unjudged(problem: AnyProblem, status: str, text: str, judges: int, stop: str, more: dict[str, Any]) -> Sample:
    judgement = Judgement(problem.name, status, 1, "", text, 0.0)
    return Sample((judgement,) * judges, more, published=judgement if stop == answers.BOTH else None)
