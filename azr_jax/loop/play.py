"""The host's side of a step: tasks through the sampler, the parser and the executors, as coroutines on one event loop.

Each task is a coroutine that awaits its response and its verdict; meanwhile the pump advances the sampler by chunks, so
that programs run while the device decodes. The result depends only on the tasks, never on the order of arrival.
With several hosts, each has such a loop and all do the same: see pools.py.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from azr_jax.config import Config
from azr_jax.loop.begun import continued, early_tokens
from azr_jax.loop.constant import refused_if_constant
from azr_jax.loop.pools import SharedPools
from azr_jax.model.tokenizer import Tokenizer
from azr_jax.monitor import stall
from azr_jax.monitor.stall import StalledError
from azr_jax.sampler import drafting
from azr_jax.sampler.engine import Sampler, Session
from azr_jax.sampler.requests import Request
from azr_jax.selfplay import parsing, prompts, validation, worked
from azr_jax.selfplay.buffers import LanguageBuffers
from azr_jax.selfplay.composite import composed
from azr_jax.selfplay.entry import any_definition, with_entry_named_f
from azr_jax.selfplay.estimates import accuracy
from azr_jax.selfplay.problems import ProblemSet
from azr_jax.types import (
    Answer,
    InductionProblem,
    Invalid,
    Role,
    Rollout,
    StopReason,
    Task,
    TaskType,
    Triplet,
    VerifiedProblem,
)
from executors import Job, Language, Pool, Verdict

Result = TypeVar("Result")
# Turns of the event loop between two chunks (and two exchanges of verdicts): a verdict needs a few turns from the
# pool's thread through validation and estimation until its next requests reach the sampler.
_TURNS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """A proposer's response and its outcome: `item` is the valid triplet or problem, None otherwise.

    `estimation` is the solver's task about a valid item; its samples estimate acc.
    """

    task: Task
    rollout: Rollout
    item: Triplet | InductionProblem | None
    outcome: str
    formatted: bool
    estimation: Task | None = None
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Solution:
    """A solver's response and its check. `acc`-like counts leave out the outcome `infrastructure`.

    `detail` says what is wrong with a response that is not in the format.
    """

    task: Task
    rollout: Rollout
    formatted: bool
    correct: bool
    outcome: str
    verdict: Verdict | None
    detail: str = ""


@dataclasses.dataclass(slots=True)
class Clock:
    """A step's time and work. `waiting_s` is time in which the device was idle until programs finished.

    `slots` are the sampler's, of all lengths; `prefill_s` and `decode_s` are parts of `sampling_s`. `occupancy` is
    the mean share of slots that produced a token in a decode step.
    `cold_languages`: languages whose interpreter starts afresh for each program, since its warm server failed a trial.
    """

    slots: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    sampling_s: float = 0.0
    waiting_s: float = 0.0
    decode_steps: int = 0
    occupancy: float = 0.0
    responses: int = 0
    response_tokens: int = 0
    prompt_tokens: int = 0
    programs: int = 0
    timeouts: int = 0
    infrastructure: int = 0
    cold_languages: int = 0
    drafts: drafting.Counts = dataclasses.field(default_factory=drafting.Counts)


class Player:
    """Plays tasks with one set of parameters. Use `run` with a coroutine that awaits the methods below.

    `shared` are the pools of all hosts, if there are several; `pools` are this host's. `examples`, with their answers,
    precede every prompt of self-play; `problems` are solved besides.
    """

    def __init__(
        self,
        config: Config,
        sampler: Sampler,
        tokenizer: Tokenizer,
        languages: Mapping[str, Language],
        pools: Mapping[str, Pool],
        shared: SharedPools | None = None,
        examples: worked.Examples | None = None,
        problems: ProblemSet | None = None,
    ) -> None:
        self.config = config
        self.languages = languages
        self.sampler = sampler
        self.problems = problems or ProblemSet()
        self._tokenizer = tokenizer
        self._pools = pools
        self._shared = shared
        self._examples = examples or {}
        self._session: Session | None = None
        self._waiting: dict[str, asyncio.Future[Rollout]] = {}
        self._later: collections.deque[Request] = collections.deque()  # for slots that nothing else waits for
        self._submitted, self._ended = asyncio.Event(), asyncio.Event()  # a request; a program
        self._clock = Clock()
        self._executing: dict[str, str] = {}
        self._progressed_at = 0.0
        # Called after each chunk with a text: what is done, and what is still to come.
        self.show: Callable[[str], None] = lambda text: None

    def run(self, params: Any, seed: int, play: Callable[[], Coroutine[Any, Any, Result]]) -> tuple[Result, Clock]:
        """Runs a coroutine with these parameters (float32) and this sampling seed; its result and its clock."""
        self._session = self.sampler.session(params, seed)
        self._waiting, self._executing, self._clock = {}, {}, Clock()
        self._submitted, self._ended = asyncio.Event(), asyncio.Event()
        self._later.clear()
        try:
            result = asyncio.run(self._drive(play()))
            spent = self._session.metrics
            clock = dataclasses.replace(
                self._clock,
                slots=self.sampler.slots,
                prefill_s=spent.prefill_s,
                decode_s=spent.decode_s,
                decode_steps=spent.decode_steps,
                occupancy=spent.occupancy,
                drafts=spent.drafts,
                cold_languages=sum(bool(pool.cold_because) for pool in self._pools.values()),
            )
            return result, clock
        finally:
            self._session.close()
            self._session = None
            if self._shared is not None:
                self._shared.end()

    async def _drive(self, play: Coroutine[Any, Any, Result]) -> Result:
        playing = asyncio.create_task(play)
        beside = [asyncio.create_task(self._pump())]
        if self.config.monitoring.stall_s and self._shared is None:
            beside.append(asyncio.create_task(self._watch(self.config.monitoring.stall_s)))
        try:
            await asyncio.wait((playing, *beside), return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                for task in beside:
                    if task.done():
                        task.result()
            return await playing
        finally:
            for task in (playing, *beside):
                task.cancel()
            await asyncio.gather(playing, *beside, return_exceptions=True)

    async def _watch(self, stall_s: float) -> None:
        """Raises StalledError if no chunk is decoded and no program ends for `stall_s`."""
        self._progressed_at = time.monotonic()
        while (silent_s := time.monotonic() - self._progressed_at) < stall_s:
            await asyncio.sleep(stall_s - silent_s)
        raise StalledError(
            f"nothing was sampled or executed for monitoring.stall_s={stall_s:g} seconds; waiting for"
            f" {self.waits_for()}: run `python -m executors doctor`; the same command resumes"
        )

    def waits_for(self) -> str:
        """What the coroutines wait for now, as text."""
        names = sorted(self._executing)
        if not names:
            return f"{len(self._waiting)} responses"
        languages = ", ".join(sorted(set(self._executing.values())))
        return f"{len(self._waiting)} responses and {len(names)} programs in {languages}, such as {names[0]}"

    async def _pump(self) -> None:
        assert self._session is not None
        while True:
            if self._shared is not None:
                await self._agree(self._session, self._shared)
            elif self._session.idle and not self._later:
                started = time.monotonic()
                self._submitted.clear()
                await self._submitted.wait()
                self._clock.waiting_s += time.monotonic() - started
            started = time.monotonic()
            while self._later and self._session.free:
                self._session.submit(self._later.popleft())
            for rollout in self._session.step():
                self._clock.responses += 1
                self._clock.response_tokens += len(rollout.token_ids)
                self._clock.prompt_tokens += len(rollout.prompt_ids)
                self._waiting.pop(rollout.request_id).set_result(rollout)
            chunk_s = time.monotonic() - started
            self._clock.sampling_s += chunk_s
            self._note_progress()
            await self._turns()
            if self._shared is None:
                await self._let_programs_run(self._session, chunk_s)

    async def _let_programs_run(self, session: Session, most_s: float) -> None:
        """Waits for verdicts while a chunk would compute few rows on the cores that the programs need.

        Otherwise chunks of one proposal's estimates keep the next verdict back, and a step takes several times as many.
        At most as long as the last chunk took, since the few rows wait too.
        """
        started = time.monotonic()
        while self._executing and session.sparse and (left := started + most_s - time.monotonic()) > 0:
            self._ended.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), left)
            await self._turns()
        self._clock.waiting_s += time.monotonic() - started

    def _note_progress(self) -> None:
        self._progressed_at = time.monotonic()
        stall.alive(self.config.monitoring.stall_s)
        clock, waiting, running = self._clock, len(self._waiting), len(self._executing)
        self.show(
            f"{clock.responses} responses, {waiting} to come in {self.sampler.slots} slots; {clock.programs} programs,"
            f" {running} running"
        )

    async def _agree(self, session: Session, shared: SharedPools) -> None:
        """Takes the verdicts of all hosts until there is something to sample, the same on all of them.

        All outside input enters through these exchanges, so every host's event loop runs the same steps. The loop may
        block in them: the devices wait for the slowest host in any case.
        """
        started = time.monotonic()
        shared.exchange(wait=False)
        await self._turns()
        while session.idle and not self._later:
            if shared.waiting:
                shared.exchange(wait=True)
            await self._turns()
        self._clock.waiting_s += time.monotonic() - started

    async def _turns(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def sample(
        self, task: Task, temperature: float, sample_id: str = "", begun: Rollout | None = None
    ) -> Rollout:
        """One response to a task; `sample_id` tells several of one task apart. `begun`: what is sampled of it already.

        Raises:
          ValueError: a prompt of more than `sampler.max_prompt_tokens` tokens.
        """
        settings = self.config.sampler
        if begun is None:
            return await self._sampled(self._request(task.id + sample_id, task.prompt_ids, temperature))
        done = len(begun.token_ids)
        if self._is_whole(begun):
            return dataclasses.replace(begun, earlier_tokens=done)
        asked = self._request(begun.request_id, begun.prompt_ids + begun.token_ids, temperature)
        rest = await self._sampled(dataclasses.replace(asked, max_tokens=settings.max_response_tokens - done))
        self._clock.prompt_tokens -= done
        return continued(begun, rest, settings.stop, self._tokenizer.decode_response)

    async def begin(self, task: Task, temperature: float) -> Rollout | None:
        """The first tokens of the response to a task of the next step, or all, once no other request waits for a slot.

        None if the prompt is too long to be continued with them (`begun.early_tokens`).
        """
        most = early_tokens(self.config, len(task.prompt_ids))
        if most < 1:
            return None
        asked = dataclasses.replace(self._request(task.id, task.prompt_ids, temperature), max_tokens=most)
        begun = await self._sampled(asked, later=True)
        if not self._is_whole(begun):  # counted when it ends
            self._clock.responses -= 1
            self._clock.prompt_tokens -= len(task.prompt_ids)
        return begun

    def _is_whole(self, begun: Rollout) -> bool:
        most = self.config.sampler.max_response_tokens
        return begun.stop_reason is not StopReason.LENGTH or len(begun.token_ids) == most

    def _request(self, name: str, prompt_ids: tuple[int, ...], temperature: float) -> Request:
        settings = self.config.sampler
        return Request(name, prompt_ids, settings.max_response_tokens, temperature, settings.stop, keeps_stop=True)

    async def _sampled(self, request: Request, later: bool = False) -> Rollout:
        assert self._session is not None
        self._waiting[request.id] = waiting = asyncio.get_running_loop().create_future()
        if later:
            self._later.append(request)
        else:
            self._session.submit(request)
        self._submitted.set()
        if self._shared is not None:
            self._shared.note(request.id)
        return await waiting

    async def execute(self, language: str, job: Job) -> Verdict:
        """The verdict of the language's pool, on this host or another."""
        self._executing[job.id] = language
        if self._shared is not None:
            verdict = await self._shared.submit(language, job)
        else:
            verdict = await asyncio.wrap_future(self._pools[language].submit(job))
        del self._executing[job.id]
        self._ended.set()
        self._progressed_at = time.monotonic()
        self._clock.programs += 1
        self._clock.timeouts += verdict.status == "timeout"
        self._clock.infrastructure += verdict.status == "infrastructure"
        return verdict

    def encode(self, prompt: str) -> tuple[int, ...]:
        """Token ids of a prompt.

        With the model's chat template the prompt is the user's message, and the answer begins with "<think>".
        """
        if self.config.model.chat_template == "model":
            return tuple(self._tokenizer.encode_chat(prompt.removesuffix(prompts.OPENING).rstrip(), "<think>"))
        return tuple(self._tokenizer.encode_prompt(prompt))

    def fits(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a prompt is within `sampler.max_prompt_tokens`."""
        return len(prompt_ids) <= self.config.sampler.max_prompt_tokens

    def solver_task(self, task_id: str, kind: TaskType, item: Triplet | InductionProblem) -> Task:
        """A solver's task about a triplet or an induction problem, in the config's template."""
        language, settings = self.languages[item.language], self.config.selfplay
        how = (settings.prompt_template, settings.drop_comments)
        shown = worked.solved(language, kind, self.examples(item.language, Role.SOLVE, kind), *how)
        prompt = shown + prompts.solve(language, kind, item, *how)
        return Task(task_id, Role.SOLVE, kind, item.language, prompt, item, self.encode(prompt))

    def problem_task(self, task_id: str, language: str, problem: VerifiedProblem) -> Task:
        """The task of a problem in a language, in the config's template."""
        template = self.config.selfplay.prompt_template
        prompt = prompts.solve_problem(self.languages[language], problem.statement, template)
        return Task(task_id, Role.SOLVE, TaskType.PROBLEMS, language, prompt, problem, self.encode(prompt))

    def examples(self, language: str, role: Role, kind: TaskType) -> Sequence[Triplet | InductionProblem]:
        """The worked examples of a task, at most `selfplay.references`."""
        return worked.role_examples(self._examples, language, role, kind)[: self.config.selfplay.references]

    def _read(self, task: Task, rollout: Rollout) -> parsing.Reading:
        language, settings = self.languages[task.language], self.config.selfplay
        tags = (language.fence, *language.fence_aliases) if settings.program_tags == "own" else parsing.ANY_TAG
        inputs, longest = settings.induction_inputs, settings.max_program_chars
        definition = "" if task.type is TaskType.PROBLEMS else any_definition(language)  # whole programs need none
        form = parsing.Form(settings.format, tags, inputs, longest, definition)
        reading = parsing.read(task.role, task.type, rollout.text, form)
        if task.type is TaskType.PROBLEMS:
            loadable = self.problems.loadable[task.language]
            return parsing.Reading(*(_loadable(loadable, answer) for answer in (reading.checked, reading.answer)))
        if settings.format == "strict":
            return reading
        return parsing.Reading(*(_entry_named_f(language, answer) for answer in (reading.checked, reading.answer)))

    async def propose(self, task: Task, buffers: LanguageBuffers, step: int, begun: Rollout | None = None) -> Proposal:
        """A proposal, sampled (from `begun` on) and validated. Nothing is added to the buffers here."""
        rollout = await self.sample(task, self.config.sampler.temperature, begun=begun)
        reading = self._read(task, rollout)
        answer = reading.checked
        if isinstance(answer, Invalid):
            return Proposal(task, rollout, None, answer.reason, formatted=False, detail=answer.detail)
        settings, language = self.config.selfplay, self.languages[task.language]
        if task.type is not TaskType.INDUCTION and isinstance(task.source, Triplet):
            answer = composed(language, task.source.program, answer)
            if isinstance(answer, Invalid):
                return Proposal(task, rollout, None, answer.reason, formatted=True, detail=answer.detail)
        shown = self.examples(task.language, task.role, task.type)
        item: Triplet | InductionProblem | Invalid | None
        item = validation.copy_of_example(task, answer, language, shown)
        if item is None and settings.duplicates != "allow":
            item = validation.duplicate_of_buffer(task, answer, buffers)
        if item is None and settings.entry_functions == "one":
            item = validation.several_entry_functions(task, answer, language)
        if item is None:
            item = await self._validate(task, answer, step)
            if not isinstance(item, Invalid) and settings.duplicates != "allow":
                # Again, by the input's value: `1 + 1` is the input 2.
                item = validation.duplicate_of_buffer(task, validation.as_evaluated(answer, item), buffers) or item
            if isinstance(item, Triplet) and settings.constant_programs != "allow":
                item = await refused_if_constant(self.config, self.execute, task, item, buffers) or item
        if isinstance(item, Invalid):
            return Proposal(task, rollout, None, item.reason, formatted=True, detail=item.detail)
        estimation = self.solver_task(f"{task.id}/estimate", task.type, item)
        if not self.fits(estimation.prompt_ids):
            detail = "its solver's prompt would exceed sampler.max_prompt_tokens"
            return Proposal(task, rollout, None, "too_long", formatted=True, detail=detail)
        return Proposal(task, rollout, item, "valid", formatted=True, estimation=estimation)

    async def _validate(self, task: Task, answer: Answer, step: int) -> Triplet | InductionProblem | Invalid:
        job = validation.proposal_job(task, answer, self.languages[task.language], task.id)
        if isinstance(job, Invalid):
            return job
        verdict = await self.execute(task.language, job)
        if task.type is TaskType.INDUCTION:
            return validation.problem_from(task, answer, verdict, step, shown=self.config.selfplay.induction_shown)
        return validation.triplet_from(task, answer, verdict, step)

    async def estimate(self, proposing: Awaitable[Proposal], samples: int, temperature: float) -> list[Solution]:
        """`samples` solver responses to a proposal as soon as it is valid; none if it is invalid."""
        proposal = await proposing
        if proposal.estimation is None:
            return []
        task = proposal.estimation
        attempts = (self.solve(task, temperature, f"/{number}", ask_format=False) for number in range(samples))
        return list(await asyncio.gather(*attempts))

    async def propose_varied(
        self,
        task: Task,
        buffers: LanguageBuffers,
        step: int,
        samples: int,
        temperature: float,
        redraws: int,
        begun: Rollout | None = None,
    ) -> tuple[Proposal, list[Solution]]:
        """A proposal with its samples; redrawn, at most `redraws` times, while these are all right or all wrong.

        Dynamic sampling, DAPO (arXiv 2503.14476), section 3.2: a group without variance teaches its solvers nothing.
        Earlier draws are dropped. An invalid proposal has no group: it is not redrawn.
        """
        for attempt in range(redraws + 1):
            asked = task if attempt == 0 else dataclasses.replace(task, id=f"{task.id}/again{attempt}")
            begun = begun if attempt == 0 else None
            proposing = asyncio.ensure_future(self.propose(asked, buffers, step, begun))
            estimates = await self.estimate(proposing, samples, temperature)
            proposal = proposing.result()
            if proposal.item is None or mean_accuracy(estimates) not in (0.0, 1.0):
                break
        return proposal, estimates

    async def solve(self, task: Task, temperature: float, sample_id: str = "", ask_format: bool = True) -> Solution:
        """A solution, sampled and checked; without `ask_format` an answer out of format is checked too (parsing.py)."""
        rollout = await self.sample(task, temperature, sample_id)
        reading = self._read(task, rollout)
        answer = reading.checked if ask_format else reading.answer
        if isinstance(answer, Invalid):
            return Solution(task, rollout, False, False, answer.reason, None, answer.detail)
        all_tests = self.config.problems.reward == "share"
        verdict = await self.execute(task.language, validation.solver_job(task, answer, task.id + sample_id, all_tests))
        correct, outcome = validation.solver_outcome(verdict)
        return Solution(task, rollout, reading.formatted, correct, outcome, verdict)


def _entry_named_f(language: Language, answer: Answer | Invalid) -> Answer | Invalid:
    if isinstance(answer, Invalid) or not answer.program:
        return answer
    return dataclasses.replace(answer, program=with_entry_named_f(language, answer.program))


def _loadable(loadable: Callable[[str], str], answer: Answer | Invalid) -> Answer | Invalid:
    return answer if isinstance(answer, Invalid) else dataclasses.replace(answer, program=loadable(answer.program))


def mean_accuracy(solutions: Iterable[Solution]) -> float | None:
    """`acc` of a proposal's estimation samples; None if the pool failed on all of them."""
    return accuracy([None if validation.is_dropped(tried.outcome) else tried.correct for tried in solutions])
