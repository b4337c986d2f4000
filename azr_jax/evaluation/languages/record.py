"""The records that describe a language to the benchmarks. Each language's file in this folder binds LANGUAGE.

A sound judgement takes MultiPL-E's tests apart (Form gives Tests) and makes two programs of them (Instrument). The
collecting program is the completion followed by the tests' calls, in the same scope and order as in MultiPL-E's
program, but without the values they must equal; the pool calls its `f` with the number of each call and takes the
values. The comparing program never sees the completion: it reads those values as data, in a clean process, and
compares them by the benchmark's own equality (check-within, @test with ==, assert.deepEqual).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from executors import Language


@dataclasses.dataclass(frozen=True, slots=True)
class Tests:
    """`function`: the name that the tests test. `calls`: texts `candidate(...)`; `expected`: a text for each.

    `tolerance` is check-within's third argument (Racket), else empty.
    """

    function: str
    calls: tuple[str, ...]
    expected: tuple[str, ...]
    tolerance: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """How MultiPL-E writes a language's tests.

    whole: the whole text, with groups for the tested name and the assertions. An assertion is `opening`, a call that
    begins with `call`, `between`, the expected value, `closing` (whose groups are tolerances). quotes: the quotation
    marks of strings. ends_at_space: an expected value is one datum, which white space ends. expected_first: the
    expected value comes before the call.
    """

    whole: re.Pattern[str]
    opening: str
    between: re.Pattern[str]
    closing: re.Pattern[str]
    call: str = "candidate("
    quotes: str = '"'
    ends_at_space: bool = False
    expected_first: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class WholeRun:
    """Collecting by a whole program, for completions that go on after their last call (timers, exit hooks).

    needed: from a completion to whether it does. program: from program, tests and a secret mark to a whole program that
    writes a line for each call. values: from its output, the mark and the number of calls to the values as literals;
    None if it did not write one for each call, in order.
    """

    needed: Callable[[str], bool]
    program: Callable[[str, Tests, str], str]
    values: Callable[[str, str, int], Sequence[str] | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Instrument:
    """How a language's calls are collected and compared.

    collect: from program and tests to a source whose f(call_input(k)) makes call k. compare: from tests to a source
    whose f gets the values one after another and answers `right` for each that is as expected; None where no benchmark
    has tests of a Form.
    unloadable: why the language's command can't load a program as a file, or an empty text.
    readable: whether a value's text is readable for a person.
    """

    collect: Callable[[str, Tests], str]
    compare: Callable[[Tests], str] | None = None
    call_input: Callable[[int], str] = str
    right: str = "true"
    unloadable: Callable[[str], str] = lambda program: ""
    whole_run: WholeRun | None = None
    readable: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Replay:
    """How tests of free text, which call a function by its name, are judged soundly (judging/own_tests.py).

    source: from a right program, the name, the tests and a number of calls to a source. With no call it runs the tests
    when it is loaded, and its f answers with the arguments of call k, or for -1 with the number of calls that the tests
    made. Otherwise its f takes the values of the calls one after another. With the last one the tests run, and their
    calls of that name give those values; f answers the instrument's `right` if all passed and used all values.
    call: a template of one call as `Instrument.collect` takes it, with a place for arguments, as f answers them.
    """

    source: Callable[[str, str, str, int], str]
    call: str


def replay_by_template(template: str, call: str) -> Replay:
    """A replay whose source has places for program, name, tests and count."""
    return Replay(
        lambda *values: filled(template, **dict(zip(("program", "name", "tests", "count"), values, strict=True))), call
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What MultiPL-E sees of a run: exit code -1 for a time-out, negative for a signal."""

    timeout: bool
    exit_code: int
    stdout: str
    stderr: str


def word_by_exit_code(outcome: Outcome) -> str:
    """MultiPL-E's status in the languages that it judges only by the exit code."""
    if outcome.timeout:
        return "Timeout"
    return "OK" if outcome.exit_code == 0 else "Exception"


@dataclasses.dataclass(frozen=True, slots=True)
class BenchmarkLanguage:
    """One language as the benchmarks know it.

    name: the executors' name of it. executed: its Language; known.py fills it in if the executors have that name.
    timeout_s, word and drained are MultiPL-E's judgement: the limit of one program; from an outcome to OK, Exception,
    SyntaxError or Timeout (JavaScript: AssertionError and ReferenceError too); whether outputs are read as fast as they
    come. in_multipl_e: whether MultiPL-E has problems in this language.
    clock_factor: wall seconds per CPU second. memory_mib and value_chars: limits of a program.
    form and instrument: how tests are taken apart and judged soundly; None if only the tests themselves judge.
    replay: the same for tests of free text.
    printed: the same in a language without values, whose tests compare with literals: from a program, the tests and a
    secret mark to a whole program that writes the mark and the value instead of each comparison, and the mark at its
    end; None if the tests have another form.
    faulty_stops: stop tokens of MultiPL-E's data that cut right completions short, as its maintainers say; they are
    left out unless the published way is requested.
    before_tests, after_tests: texts around a benchmark's own tests, so that they can fail (JavaScript's console.assert
    never does). print_mark: a template after them that prints a mark, which a program that ends before its tests does
    not print.
    own_program: from a program, its benchmark's own tests and the text that prints the mark to what is run; None: one
    after another.
    test_function: matches a function without arguments that tests define; call_test calls one that they never do.
    loadable: from the program of a chat answer to a file that the interpreter loads. wrong_body: a completion that
    loads and answers wrongly, so that every test runs.
    """

    name: str
    timeout_s: float = 15.0
    word: Callable[[Outcome], str] = word_by_exit_code
    drained: bool = False
    in_multipl_e: bool = True
    clock_factor: float = 1.0
    memory_mib: int = 1024
    value_chars: int = 1 << 16
    form: Form | None = None
    instrument: Instrument | None = None
    replay: Replay | None = None
    printed: Callable[[str, str, str], str | None] | None = None
    faulty_stops: tuple[str, ...] = ()
    before_tests: str = ""
    after_tests: str = ""
    print_mark: str = ""
    own_program: Callable[[str, str, str], str] | None = None
    test_function: str = ""
    call_test: str = "{{name}}()"
    loadable: Callable[[str], str] = lambda program: program
    wrong_body: str = ""
    executed: Language | None = None

    @property
    def language(self) -> Language:
        """The executors' record of it."""
        assert self.executed is not None
        return self.executed

    @property
    def suffix(self) -> str:
        """MultiPL-E's name of the language, used in the names of its files."""
        return self.language.benchmark_suffix or self.language.extension.removeprefix(".").lower()


_PLACE = re.compile(r"\{\{(\w+)\}\}")


def filled(template: str, **values: object) -> str:
    """The template with {{name}} replaced by each value, in one pass: braces in a value are unchanged."""
    return _PLACE.sub(lambda place: str(values[place[1]]), template)


def by_templates(
    *,
    collect: str,
    case: str,
    compare: str,
    expected: str,
    expected_between: str = ",\n",
    call_input: str = "{{number}}",
    right: str = "true",
) -> Instrument:
    """An instrument of texts.

    `collect` has places for program, function and cases, a `case` for each call with number and call; `compare` has one
    for expected, the texts `expected` of each test with number and expected.
    """

    def cases(tests: Tests) -> str:
        return "\n".join(filled(case, number=number, call=call) for number, call in enumerate(tests.calls))

    def values(tests: Tests) -> str:
        texts = (filled(expected, number=number, expected=text) for number, text in enumerate(tests.expected))
        return expected_between.join(texts)

    return Instrument(
        collect=lambda program, tests: filled(collect, program=program, function=tests.function, cases=cases(tests)),
        compare=lambda tests: filled(compare, expected=values(tests)),
        call_input=lambda number: filled(call_input, number=number),
        right=right,
    )
