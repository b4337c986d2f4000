"""From completions to judgements: `CompletionJudge` runs programs in the contained pool and says which ones pass.

Two policies. `sound`: the tests' calls are made after the completion, their results leave that process as data and are
compared in a clean one (languages/record.py), so that the completion's process decides nothing. `multipl-e`: the
verdicts of MultiPL-E's own scripts, their known false ones included (judging/multipl_e.py).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from azr_jax.evaluation.judging import assertions, evalplus, multipl_e, own_tests
from azr_jax.evaluation.judging.once import Once
from azr_jax.evaluation.languages.known import check_installed, known_language
from azr_jax.evaluation.languages.record import BenchmarkLanguage, Instrument, Tests, filled
from azr_jax.evaluation.problems.records import AGNOSTICS, MULTI_LCB, AnyProblem, EvalPlusProblem, Problem, StdinProblem
from executors import Job, JobKind, Limits, Pool, Status, Verdict

SOUND, MULTIPL_E = "sound", "multipl-e"
_MOST_COMPLETION_BYTES = 1 << 20
_MESSAGE_CHARS = 2000
# Programs that sleep lend their place in the pool, so more threads wait than workers run.
_THREADS_PER_WORKER = 5
_SOUND_OUTPUT_BYTES = 1 << 24
# Published limits of problems of standard input; Agnostics' is of all tests of a problem.
_PUBLISHED_S = {AGNOSTICS: 15.0, MULTI_LCB: 6.0}
_WORDS = {Status.SYNTAX_ERROR: "SyntaxError", Status.TIMEOUT: "Timeout"}


@dataclasses.dataclass(frozen=True, slots=True)
class Completion:
    """`whole`: the text is a whole program (a chat answer), otherwise it is appended to the problem's prompt.

    What solves a statement (`StdinProblem`) is a whole program in any case.
    """

    name: str
    text: str
    whole: bool = False
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of one completion. `program` is what was judged, followed by MultiPL-E's tests.

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
    """The program without the tests. A statement is no beginning of a program: what solves it is one by itself."""
    is_whole = completion.whole or isinstance(problem, StdinProblem)
    return completion.text if is_whole else problem.prompt + completion.text


class CompletionJudge:
    """Judges completions of one language with its own pool. A context manager; thread-safe.

    language: a record, or the name or suffix of a built-in one. timeout_s: of one program; 0 takes
    MultiPL-E's (Racket 15 s, Julia and JavaScript 5 s; EvalPlus 60 s a problem), Agnostics' (15 s for all tests of a
    problem) or LiveCodeBench's (6 s a test). cold: a fresh interpreter for each program under the sound policy too.
    Raises ValueError for an unknown language, and at entry as Pool does, for an interpreter or a sandbox feature that
    is missing.
    """

    def __init__(
        self,
        language: str | BenchmarkLanguage,
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
        self.benchmark_language = known_language(language) if isinstance(language, str) else language
        if policy == MULTIPL_E and not self.benchmark_language.in_multipl_e:
            raise ValueError(f"--compat: MultiPL-E has no problems in {self.benchmark_language.name}; leave it out")
        self.policy = policy
        check_installed(self.benchmark_language)
        self.language = self.benchmark_language.language
        rules = self.benchmark_language
        self._given_s, timeout_s = timeout_s, timeout_s or rules.timeout_s
        self._own_way = policy == MULTIPL_E or (rules.in_multipl_e and rules.instrument is None)
        self.workers = workers or os.cpu_count() or 1
        limits = Limits(
            wall_s=timeout_s * rules.clock_factor,
            cpu_s=timeout_s,
            memory_mib=memory_mib or rules.memory_mib,
            value_chars=rules.value_chars,
            message_chars=_MESSAGE_CHARS,
            output_bytes=(multipl_e.output_bytes(timeout_s, rules.drained) if self._own_way else _SOUND_OUTPUT_BYTES),
        )
        cold = cold or self._own_way
        self._pool = Pool(self.language, workers=self.workers, limits=limits, cold=cold, allow_tier=allow_tier)
        self._expected: Once[evalplus.Expected | Verdict] = Once()
        self._recorded: Once[own_tests.Recorded | own_tests.Printed | Judgement] = Once()

    @property
    def suffix(self) -> str:
        """MultiPL-E's name of the language."""
        return self.benchmark_language.suffix

    def __enter__(self) -> CompletionJudge:
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
            futures: list[concurrent.futures.Future[Judgement]] = []
            try:
                for item in items:
                    futures.append(threads.submit(self.judge, *item))
                for future in futures:
                    yield future.result()
            except KeyboardInterrupt:
                self._pool.close(cancel=True)  # the threads would wait for the programs that run
                raise
            finally:
                for future in futures:
                    future.cancel()

    def judge(self, problem: AnyProblem, completion: Completion) -> Judgement:
        """One judgement; if the executors fail, the completion is judged once more."""
        program = program_of(problem, completion)
        shown = f"{program}\n{problem.tests}" if isinstance(problem, Problem) else program
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
        if isinstance(problem, StdinProblem):
            return self._judge_by_stdin(problem, program)
        if problem.own_tests:
            return self._judge_free_text(problem, program)
        rules = self.benchmark_language
        tests = None if self._own_way else assertions.parse(rules.form, problem.tests)
        if tests is None or rules.instrument is None or rules.instrument.compare is None:
            return self._judge_in_own_way(problem, program)
        return self._judge_soundly(problem, program, tests, rules.instrument, rules.instrument.compare(tests))

    def _run(self, kind: JobKind, source: str, inputs: Sequence[str] = ()) -> Verdict:
        together = kind is JobKind.EVALUATE
        return self._pool.submit(Job("evaluation", kind, source, tuple(inputs), together=together)).result()

    def _judge_in_own_way(self, problem: Problem, program: str) -> Judgement:
        verdict = self._run(JobKind.PROGRAM, f"{program}\n{problem.tests}")
        outcome = multipl_e.outcome_of(verdict, self.benchmark_language.drained)
        missing = multipl_e.missing_library(outcome)
        infrastructure = verdict.status is Status.INFRASTRUCTURE or bool(missing)
        return Judgement(
            problem.name,
            "Exception" if infrastructure else self.benchmark_language.word(outcome),
            outcome.exit_code,
            outcome.stdout,
            missing or verdict.message if infrastructure else outcome.stderr,
            verdict.seconds,
            infrastructure=infrastructure,
            own_way=self.policy == SOUND,
        )

    def _judge_by_stdin(self, problem: StdinProblem, program: str) -> Judgement:
        """The program runs once for each test; its output is compared outside its process.

        Multi-LCB compares numbers by value. Agnostics' limit is of all tests together.
        """
        if reason := self._unloadable(program):
            return Judgement(problem.name, "Exception", 1, "", reason, 0.0)
        stdin, expected = zip(*problem.pairs, strict=True)
        published_s = _PUBLISHED_S.get(problem.form)
        limit_s = self._given_s or published_s or math.inf
        job = Job(
            "evaluation",
            JobKind.PROGRAM,
            program,
            stdin=stdin,
            expect_stdout=expected,
            compare="decimals" if problem.form == MULTI_LCB else "trimmed",
            limits=dataclasses.replace(self._pool.limits, wall_s=limit_s, cpu_s=limit_s) if published_s else None,
            total_s=limit_s if problem.form == AGNOSTICS else math.inf,
        )
        ran = self._pool.submit(job).result()
        if ran.status is not Status.OK:
            return _not_run(problem.name, ran, ran.stdout)
        status, code = ("OK", 0) if ran.correct else ("Exception", ran.exit_code or 1)
        return Judgement(problem.name, status, code, ran.stdout[:_MESSAGE_CHARS], ran.message, ran.seconds)

    def _judge_free_text(self, problem: Problem, program: str) -> Judgement:
        """Soundly if the tests are of a known form, which is tried once for each problem, with its own solution."""
        if self.policy == MULTIPL_E:
            return self._judge_by_own_tests(problem, program)
        known = self._recorded.get(
            problem.name,
            lambda: self._record(problem),
            # A machine that is too busy now, or an executor that fails, says nothing of the form.
            keep=lambda value: (
                not isinstance(value, Judgement) or not (value.infrastructure or value.status == "Timeout")
            ),
        )
        if isinstance(known, Judgement):
            return known if known.infrastructure else self._judge_by_own_tests(problem, program)
        return self._judge_recorded(problem, program, known)

    def _record(self, problem: Problem) -> own_tests.Recorded | own_tests.Printed | Judgement:
        """The tests taken apart; if that can't be, or the published solution does not pass so, a judgement says why."""
        known = own_tests.record(self._run, self.benchmark_language, problem)
        if isinstance(known, Verdict):
            return _not_run(problem.name, known, "")
        judged = self._judge_recorded(problem, own_tests.solution_of(problem), known)
        return known if judged.passed else judged

    def _judge_recorded(
        self, problem: Problem, program: str, known: own_tests.Recorded | own_tests.Printed
    ) -> Judgement:
        if isinstance(known, own_tests.Recorded):
            instrument = self.benchmark_language.instrument
            assert instrument is not None
            return self._judge_soundly(problem, program, known.tests, instrument, known.replay)
        ran, values = own_tests.printed(self._run, self.benchmark_language, problem, program)
        if ran.status is not Status.OK:
            return _not_run(problem.name, ran, ran.stdout)
        right = values == known.values
        text = (
            "" if right else f"the calls of the tests give {list(values)!r:.300}, expected {list(known.values)!r:.300}"
        )
        return Judgement(
            problem.name, "OK" if right else "Exception", int(not right), ran.stdout[:_MESSAGE_CHARS], text, ran.seconds
        )

    def _judge_by_own_tests(self, problem: Problem, program: str) -> Judgement:
        """The tests after the program, then a mark, which is printed only if the program gets there."""
        if reason := self._unloadable(program):
            return Judgement(problem.name, "Exception", 1, "", reason, 0.0)
        rules, mark = self.benchmark_language, f"azr-{secrets.token_hex(8)}"
        parts = (program, own_tests.text_of(rules, problem.tests), filled(rules.print_mark, mark=mark))
        source = rules.own_program(*parts) if rules.own_program else "\n".join(parts)
        verdict = self._run(JobKind.PROGRAM, source)
        outcome = multipl_e.outcome_of(verdict, drained=True)
        missing = multipl_e.missing_library(outcome)
        word, stderr = rules.word(outcome), outcome.stderr
        if word == "OK" and rules.print_mark and mark not in outcome.stdout:
            word, stderr = "Exception", "the program ended before its tests did"
        infrastructure = verdict.status is Status.INFRASTRUCTURE or bool(missing)
        return Judgement(
            problem.name,
            "Exception" if infrastructure else word,
            outcome.exit_code if word == "OK" else outcome.exit_code or 1,
            outcome.stdout.replace(mark, "")[:_MESSAGE_CHARS],
            (missing or verdict.message if infrastructure else stderr)[:_MESSAGE_CHARS],
            verdict.seconds,
            infrastructure=infrastructure,
            own_way=True,
        )

    def _unloadable(self, program: str) -> str:
        instrument = self.benchmark_language.instrument
        return instrument.unloadable(program) if instrument else ""

    def _judge_soundly(
        self, problem: Problem, program: str, tests: Tests, instrument: Instrument, compare: str
    ) -> Judgement:
        """The calls of `tests` by the program, their values compared by the source `compare` in a clean process."""
        if reason := instrument.unloadable(program):
            return Judgement(problem.name, "Exception", 1, "", reason, 0.0)
        values: Sequence[str] | None
        whole_run = instrument.whole_run
        if whole_run and whole_run.needed(program.removeprefix(problem.prompt)):
            mark = f"azr-{secrets.token_hex(8)}"
            ran = self._run(JobKind.PROGRAM, whole_run.program(program, tests, mark))
            values = whole_run.values(ran.stdout, mark, len(tests.calls))
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
        compared = self._run(JobKind.EVALUATE, compare, values)
        seconds = ran.seconds + compared.seconds
        if compared.status is not Status.OK:
            # The expected values do not load in the language, or the values are too large to compare.
            judgement = _not_run(problem.name, compared, stdout, "comparing with what is expected: ")
            return dataclasses.replace(judgement, seconds=seconds)
        wrong = [number for number, value in enumerate(compared.values) if value != instrument.right]
        if not wrong:
            return Judgement(problem.name, "OK", 0, stdout[:_MESSAGE_CHARS], "", seconds)
        shown = f" gives {values[wrong[0]][:200]}" if instrument.readable else ""
        text = f"{len(wrong)} of {len(tests.calls)} wrong: {tests.calls[wrong[0]][:200]}{shown}, expected "
        return Judgement(
            problem.name, "Exception", 1, stdout[:_MESSAGE_CHARS], text + tests.expected[wrong[0]][:200], seconds
        )


def _not_run(name: str, verdict: Verdict, stdout: str, prefix: str = "") -> Judgement:
    # MultiPL-E does not count a type error, as OCaml's, as a syntax error.
    word = "Exception" if verdict.error_kind == "type" else _WORDS.get(verdict.status, "Exception")
    code = -1 if word == "Timeout" else verdict.exit_code or 1
    detail = verdict.stderr or f"{verdict.status}: {verdict.error_kind} {verdict.message}"
    return Judgement(
        name,
        word,
        multipl_e.subprocess_code(code),
        stdout[:_MESSAGE_CHARS],
        prefix + detail[:_MESSAGE_CHARS],
        verdict.seconds,
        infrastructure=verdict.status is Status.INFRASTRUCTURE,
    )


@contextlib.contextmanager
def open_judges(
    language: BenchmarkLanguage, policies: Sequence[str], **settings: Any
) -> Iterator[list[CompletionJudge]]:
    """A judge for each policy."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(CompletionJudge(language, policy, **settings)) for policy in policies]
