"""From completions to judgements: `Judge` runs programs in the contained pool and says which ones pass.

Two policies. `sound` says what is true: the tests' calls are made beside the completion, their results leave that
process as data and are compared in a clean one (instrument.py), so that nothing in the completion's process decides
anything. `multipl-e` says what MultiPL-E's own scripts would say, their known false verdicts included (policies.py).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from azr_jax.evaluation import assertions, evalplus
from azr_jax.evaluation.instrument import (
    INSTRUMENTS,
    Instrument,
    javascript_needs_its_own_end,
    javascript_values,
    javascript_whole,
)
from azr_jax.evaluation.policies import POLICIES, Policy, missing_library, outcome_of, subprocess_code
from azr_jax.evaluation.problems import AnyProblem, EvalPlusProblem, Problem
from azr_jax.evaluation.program_languages import PROGRAM_LANGUAGES
from executors import LANGUAGES, Job, JobKind, Language, Limits, Pool, Status, Verdict

SOUND, MULTIPL_E = "sound", "multipl-e"
_MOST_COMPLETION_BYTES = 1 << 20
_VALUE_CHARS = 1 << 16
_MEMORY_MIB = 1024
_MESSAGE_CHARS = 2000
# Programs that sleep lend their place in the pool, so more threads wait than workers run.
_THREADS_PER_WORKER = 5
_WORDS = {Status.SYNTAX_ERROR: "SyntaxError", Status.TIMEOUT: "Timeout"}


@dataclasses.dataclass(frozen=True, slots=True)
class Completion:
    """`whole`: the text is a whole program (a chat answer), otherwise it goes on behind the problem's prompt."""

    name: str
    text: str
    whole: bool = False
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of one completion. `program` is what was judged, with MultiPL-E's tests behind it.

    `infrastructure`: the executors failed and nothing is known of the completion; it counts as not passed.
    `plus` and `base` are EvalPlus' two halves. `own_way`: the tests themselves judged, which a completion can fool.
    """

    name: str
    status: str
    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    program: str = ""
    infrastructure: bool = False
    base: str = ""
    plus: str = ""
    own_way: bool = False

    @property
    def passed(self) -> bool:
        """Whether the completion passes its tests."""
        return self.status == "OK"

    def line(self, completion: Completion) -> dict[str, Any]:
        """The fields of an output line of `check`; the input line's `id` is passed through."""
        fields: dict[str, Any] = {name: completion.extra[name] for name in ("id",) if name in completion.extra}
        fields |= {"name": self.name, "status": self.status, "exit_code": self.exit_code}
        fields |= {"stdout": self.stdout, "stderr": self.stderr, "seconds": round(self.seconds, 4)}
        if self.base:
            fields |= {"base_status": self.base, "plus_status": self.plus}
        if self.infrastructure:
            fields["infrastructure"] = True
        if self.own_way:
            fields["judged"] = MULTIPL_E
        return fields


def program_of(problem: AnyProblem, completion: Completion) -> str:
    """The program without the tests."""
    return completion.text if completion.whole else problem.prompt + completion.text


def language_of(suffix: str) -> Language:
    """The executors' language of a MultiPL-E suffix.

    Raises:
      ValueError: no such language, or its interpreter is not installed.
    """
    if suffix not in POLICIES:
        raise ValueError(f"--language={suffix!r}: use one of {', '.join(sorted(POLICIES))}")
    name = POLICIES[suffix].language
    language = LANGUAGES.get(name) or PROGRAM_LANGUAGES[name]
    if language.find() is None:
        raise ValueError(f"--language={suffix!r}: no {name} interpreter found; {language.install_hint}")
    return language


def suffix_of(name: str) -> str:
    """The MultiPL-E suffix of a language's name or suffix. Raises ValueError when there is none."""
    by_name = {policy.language: suffix for suffix, policy in POLICIES.items()}
    suffix = name if name in POLICIES else by_name.get(name)
    if suffix is None:
        raise ValueError(
            f"--language={name!r}: use one of {', '.join(sorted(by_name))} (or {', '.join(sorted(POLICIES))})"
        )
    return suffix


class Judge:
    """Judges completions of one language with a pool of its own. A context manager; thread-safe.

    timeout_s: of one program; 0 takes MultiPL-E's (Racket 15 s, Julia and JavaScript 5 s; EvalPlus 60 s a problem).
    cold: a fresh interpreter for each program under the sound policy too.
    Raises ValueError at entry for what Pool raises it: an interpreter or a sandbox feature that is missing.
    """

    def __init__(
        self,
        suffix: str,
        policy: str = SOUND,
        *,
        workers: int | None = None,
        timeout_s: float = 0.0,
        memory_mib: int = 0,
        allow_tier: str = "namespaces",
        cold: bool = False,
    ) -> None:
        if policy not in (SOUND, MULTIPL_E):
            raise ValueError(f"policy is {policy!r}: use {SOUND} or {MULTIPL_E}")
        if policy == MULTIPL_E and suffix == "py":
            raise ValueError("--compat: EvalPlus' Python problems are no part of MultiPL-E; leave it out")
        self.suffix, self.policy = suffix, policy
        self.language = language_of(suffix)
        self._rules: Policy = POLICIES[suffix]
        if timeout_s:
            self._rules = dataclasses.replace(self._rules, timeout_s=timeout_s)
        elif suffix == "py":
            self._rules = dataclasses.replace(self._rules, timeout_s=evalplus.TASK_TIMEOUT_S)
        self._own_way = policy == MULTIPL_E or (suffix not in INSTRUMENTS and suffix != "py")
        self.workers = workers or os.cpu_count() or 1
        timeout_s = self._rules.timeout_s
        limits = Limits(
            # Long references on a busy machine: their limit is of the CPU, each call has one of the clock besides.
            wall_s=timeout_s * (evalplus.CLOCK_FACTOR if suffix == "py" else 1.0),
            cpu_s=timeout_s,
            memory_mib=memory_mib or (evalplus.MEMORY_MIB if suffix == "py" else _MEMORY_MIB),
            value_chars=evalplus.VALUE_CHARS if suffix == "py" else _VALUE_CHARS,
            message_chars=_MESSAGE_CHARS,
            output_bytes=self._rules.output_bytes() if self._own_way else 1 << 24,
        )
        cold = cold or self._own_way
        self._pool = Pool(self.language, workers=self.workers, limits=limits, cold=cold, allow_tier=allow_tier)
        self._expected = evalplus.ExpectedCache()

    def __enter__(self) -> Judge:
        self._pool.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._pool.__exit__(*raised)

    @property
    def interpreter_version(self) -> str:
        """Of the interpreter that runs the programs."""
        return f"{self.language.name} {self._pool.interpreter.version}"

    def judge_all(self, items: Iterable[tuple[AnyProblem, Completion]]) -> Iterator[Judgement]:
        """Judgements in the order of `items`."""
        with concurrent.futures.ThreadPoolExecutor(self.workers * _THREADS_PER_WORKER) as threads:
            futures = [threads.submit(self.judge, *item) for item in items]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    def judge(self, problem: AnyProblem, completion: Completion) -> Judgement:
        """One judgement; what the executors fail on is tried a second time."""
        program = program_of(problem, completion)
        shown = program if isinstance(problem, EvalPlusProblem) else f"{program}\n{problem.tests}"
        size = len(program.encode("utf-8", "surrogatepass"))
        if size > _MOST_COMPLETION_BYTES:
            text = f"not run: a program of {size} bytes is longer than {_MOST_COMPLETION_BYTES}"
            return Judgement(problem.name, "Exception", 1, "", text, 0.0)
        judgement = self._judge(problem, program)
        if judgement.infrastructure:
            judgement = self._judge(problem, program)
        return dataclasses.replace(judgement, program=shown)

    def _judge(self, problem: AnyProblem, program: str) -> Judgement:
        if isinstance(problem, EvalPlusProblem):
            result = evalplus.judge(self._run, self._expected, problem, program)
            return Judgement(
                problem.name,
                result.status,
                {"OK": 0, "Timeout": -1}.get(result.status, 1),
                "",
                result.message,
                result.seconds,
                infrastructure=result.infrastructure,
                base=result.base,
                plus=result.plus,
            )
        tests = None if self._own_way else assertions.parse(self.suffix, problem.tests)
        if tests is None:
            return self._judge_in_own_way(problem, program)
        return self._judge_soundly(problem, program, tests, INSTRUMENTS[self.suffix])

    def _run(self, kind: JobKind, source: str, inputs: Sequence[str] = ()) -> Verdict:
        return self._pool.submit(Job("evaluation", kind, source, tuple(inputs))).result()

    def _judge_in_own_way(self, problem: Problem, program: str) -> Judgement:
        verdict = self._run(JobKind.PROGRAM, f"{program}\n{problem.tests}")
        outcome = outcome_of(verdict, self._rules.drained)
        missing = missing_library(outcome)
        infrastructure = verdict.status is Status.INFRASTRUCTURE or bool(missing)
        return Judgement(
            problem.name,
            "Exception" if infrastructure else self._rules.word(outcome),
            outcome.exit_code,
            outcome.stdout,
            missing or verdict.message if infrastructure else outcome.stderr,
            verdict.seconds,
            infrastructure=infrastructure,
            own_way=self.policy == SOUND,
        )

    def _judge_soundly(
        self, problem: Problem, program: str, tests: assertions.Tests, instrument: Instrument
    ) -> Judgement:
        if reason := instrument.unloadable(program):
            return Judgement(problem.name, "Exception", 1, "", reason, 0.0)
        values: Sequence[str] | None
        if self.suffix == "js" and javascript_needs_its_own_end(program.removeprefix(problem.prompt)):
            mark = f"azr-{secrets.token_hex(8)}"
            ran = self._run(JobKind.PROGRAM, javascript_whole(program, tests, mark))
            values = javascript_values(ran.stdout, mark, len(tests.calls))
            stdout = "\n".join(line for line in ran.stdout.split("\n") if not line.startswith(mark))
        else:
            inputs = [instrument.call_input(number) for number in range(len(tests.calls))]
            ran = self._run(JobKind.EVALUATE, instrument.collect(program, tests), inputs)
            values, stdout = ran.values, ""
        if ran.status is not Status.OK:
            return _not_run(problem.name, ran, stdout)
        if values is None:
            text = "the program ended without making every call of the tests"
            return Judgement(problem.name, "Exception", 1, stdout[:_MESSAGE_CHARS], text, ran.seconds)
        compared = self._run(JobKind.EVALUATE, instrument.compare(tests), values)
        seconds = ran.seconds + compared.seconds
        if compared.status is not Status.OK:
            # The expected values are no program of the language, or the values too large to compare.
            judgement = _not_run(problem.name, compared, stdout, "comparing with what is expected: ")
            return dataclasses.replace(judgement, seconds=seconds)
        wrong = [number for number, value in enumerate(compared.values) if value != instrument.right]
        if not wrong:
            return Judgement(problem.name, "OK", 0, stdout[:_MESSAGE_CHARS], "", seconds)
        shown = "" if self.suffix == "js" else f" gives {values[wrong[0]][:200]}"
        text = f"{len(wrong)} of {len(tests.calls)} wrong: {tests.calls[wrong[0]][:200]}{shown}, expected "
        return Judgement(
            problem.name, "Exception", 1, stdout[:_MESSAGE_CHARS], text + tests.expected[wrong[0]][:200], seconds
        )


def _not_run(name: str, verdict: Verdict, stdout: str, prefix: str = "") -> Judgement:
    # A type error, as OCaml's, is none of syntax to MultiPL-E.
    word = "Exception" if verdict.error_kind == "type" else _WORDS.get(verdict.status, "Exception")
    code = -1 if word == "Timeout" else verdict.exit_code or 1
    detail = verdict.stderr or f"{verdict.status}: {verdict.error_kind} {verdict.message}"
    return Judgement(
        name,
        word,
        subprocess_code(code),
        stdout[:_MESSAGE_CHARS],
        prefix + detail[:_MESSAGE_CHARS],
        verdict.seconds,
        infrastructure=verdict.status is Status.INFRASTRUCTURE,
    )


@contextlib.contextmanager
def open_judges(suffix: str, policies: Sequence[str], **settings: Any) -> Iterator[list[Judge]]:
    """A judge for each policy."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Judge(suffix, policy, **settings)) for policy in policies]
