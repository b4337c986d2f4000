"""What every language must do. Finds languages by itself; each has a corpus, conformance/LANGUAGE.py.

A corpus binds CASES (name: program, input, canonical value), ABSENT (name: why the language has no such thing),
DISTINCT and SAME (texts of values), NOT_VALUES, ERRORS (name: program, input, status), LIARS (program, input, a value
that it is not), NONDETERMINISTIC, DETERMINISTIC and PROGRAMS (program, input, and what as_file needs besides); as_file,
from those to a whole program that prints f's value at its end (after `value:`, where it prints more); and names,
whether what that writes to standard error is the verdict's error. A corpus may also bind SAMPLE (the default run takes
one in so many of PROGRAMS, and `slow` all), SLOW_START (a start of the interpreter takes a good part of a second),
reference (to run PROGRAMS as files in its own way) and TYPED, where one f can't take values of several types: the names
of the cases whose values need the program's own type.
"""

import dataclasses
import importlib
import itertools
import re
import time

import pytest
from conftest import BY_NAME, ci_in

from executors import LANGUAGES, Job, JobKind, Limits, Pool, Status
from executors.judge import Judge
from executors.worker import Request, Worker

LIMITS = Limits(wall_s=20.0, cpu_s=10.0, memory_mib=256, value_chars=4096)
HURRIED = Limits(wall_s=1.5, cpu_s=0.5, memory_mib=256, value_chars=4096)
# For an interpreter whose mere start takes a part of it, on a busy machine.
HURRIED_SLOW = Limits(wall_s=4.0, cpu_s=1.0, memory_mib=256, value_chars=4096)
CASES = (
    "arithmetic boolean nothing empty unicode nul invalid_utf8 nan negative_zero infinity 1e22 big_integer nested set "
    "hash"
).split()
ERRORS = (
    "syntax raised raised_at_load unbound no_f exit deep_recursion endless asleep memory too_long function cycle"
).split()
# One in so many is also run cold in the default run.
COLD_SAMPLE, SLOW_COLD_SAMPLE = 12, 30
ENDS = (Status.OK, Status.RUNTIME_ERROR, Status.SYNTAX_ERROR)


# A language of whole programs alone has no values.
WITH_VALUES = sorted(name for name, language in LANGUAGES.items() if language.harness)


def corpus(language):
    try:
        return importlib.import_module(f"conformance.{language}")
    except ModuleNotFoundError:
        pytest.fail(f"write tests/executors/conformance/{language}.py: a language is one when it passes this suite")


def slow_start(language):
    return getattr(corpus(language), "SLOW_START", False)


# Those whose programs take longest.
@pytest.fixture(scope="module", params=ci_in(WITH_VALUES, "julia", "r", *BY_NAME))
def pool(request):
    language = LANGUAGES[request.param]
    if language.find() is None:
        pytest.skip(f"{language.name} is not installed: {language.install_hint}")
    with Pool(language, workers=1, limits=LIMITS) as opened:
        yield opened


@pytest.fixture
def given(pool):
    return corpus(pool.language.name)


def none(wrong):
    """Fails with all of `wrong`, one a line."""
    if wrong:
        pytest.fail("\n".join(map(repr, wrong)))


def run(pool, source, *inputs, **fields):
    return pool.submit(Job("job", JobKind.EVALUATE, source, inputs, **fields)).result()


def read(pool, *texts):
    return pool.submit(Job("value", JobKind.VALUE, inputs=texts)).result()


def equal(pool, answer, expected):
    return pool.submit(Job("check", JobKind.VALUE, inputs=(answer,), expect=(expected,))).result().correct


@pytest.mark.parametrize("language", WITH_VALUES)
def test_corpus_has_all_that_is_asked(language):
    given = corpus(language)
    assert set(CASES) | set(ERRORS) == set(given.CASES) | set(given.ERRORS) | set(given.ABSENT)
    assert not set(given.ABSENT) & (set(given.CASES) | set(given.ERRORS))
    assert len(set(given.PROGRAMS)) == len(given.PROGRAMS) >= 40
    assert len(given.DISTINCT) >= 8 and len(given.SAME) >= 4 and len(given.NOT_VALUES) >= 8 and len(given.LIARS) >= 3


def test_record_is_complete(pool):
    language = pool.language
    for text in (language.full_name, language.fence, language.comment, language.extension, language.install_hint):
        assert text.strip()
    assert pool.interpreter.version
    assert run(pool, language.example, language.identity_input).ok
    assert read(pool, language.identity_output).values == (language.identity_output,)
    commented = f"{language.identity}\n{language.commented('a note')}\n"
    assert run(pool, commented, language.identity_input).values == (language.identity_output,)
    assert language.canonical_program(commented) == language.canonical_program(language.identity)
    assert language.canonical_program(language.identity) != language.canonical_program(language.example + " 1")


@pytest.mark.parametrize("name", sorted(LANGUAGES))
def test_any_text_can_be_compared(name):
    """What models write is compared in the trainer itself, which no text may end."""
    language = LANGUAGES[name]
    for unit in ('"$(', "`${", "(", "#|"):
        text = unit * (6000 // len(unit))
        assert isinstance(language.canonical_program(text), str)
        if language.tree_size is not None:
            language.tree_size(text)


def test_values_are_written_and_read(pool, given):
    """Made by a program, as canonical text, as an input that gives itself: always the same text."""
    wrong = []
    by_program = itertools.groupby(sorted(given.CASES.values()), key=lambda case: case[0])
    for source, cases in by_program:
        _, inputs, expected = zip(*cases, strict=True)
        verdict = run(pool, source, *inputs)
        if verdict.values != expected:
            wrong.append((source, expected, verdict))
    canonical = tuple(value for _, _, value in given.CASES.values())
    none(wrong)
    assert read(pool, *canonical).values == canonical
    typed = getattr(given, "TYPED", None)
    groups = [canonical] if typed is None else [(case[2],) for name, case in given.CASES.items() if name not in typed]
    for texts in groups:
        assert run(pool, pool.language.identity, *texts).values == texts


def test_plain_values_are_what_a_process_says(pool, given, monkeypatch):
    """What the host takes as canonical unread is what a process would have given."""
    texts = dict.fromkeys((*given.DISTINCT, *itertools.chain(*given.SAME), *(case[2] for case in given.CASES.values())))
    plain = [text for text in texts if re.fullmatch(pool.language.plain_value, text)]
    assert len(plain) > 3
    # Digits to Python alone.
    assert not re.fullmatch(pool.language.plain_value, "1\u0663")
    read_alike = []
    ask = Worker.ask
    monkeypatch.setattr(Judge, "_is_plain", lambda judge, text: False)
    monkeypatch.setattr(Worker, "ask", lambda *arguments: read_alike.append(ask(*arguments)) or read_alike[-1])
    assert read(pool, *plain).values == tuple(plain)
    assert [reply.values for reply in read_alike] == [tuple(plain)]


def test_equality_is_the_language_s(pool, given):
    # All at once: the pool then knows them.
    values = read(pool, *given.DISTINCT, *itertools.chain(*given.SAME)).values[: len(given.DISTINCT)]
    assert len(values) == len(set(values)) == len(given.DISTINCT)
    for value, other in zip(given.DISTINCT, given.DISTINCT[1:], strict=False):
        assert equal(pool, value, other) is False
        assert equal(pool, other, other) is True
    for value, other in given.SAME:
        assert equal(pool, value, other) is True, (value, other)


def test_what_is_no_value_is_refused(pool, given):
    answers = [Job(text, JobKind.VALUE, inputs=(text,)) for text in given.NOT_VALUES]
    wrong = [verdict for verdict in pool.run_all(answers) if verdict.status is not Status.FORBIDDEN]
    none(wrong)
    for text in given.NOT_VALUES[:2]:
        assert equal(pool, text, pool.language.identity_input) is False


@pytest.mark.parametrize("name", [name for name in ERRORS if name not in ("endless", "asleep")])
def test_errors_by_kind(pool, given, name):
    if name in given.ABSENT:
        pytest.skip(given.ABSENT[name])
    source, text, status = given.ERRORS[name]
    verdict = run(pool, source, text)
    assert (verdict.status, verdict.values) == (status, ()), verdict
    assert len(verdict.message) <= LIMITS.message_chars
    # Whatever the interpreter says, the message names the limit that ended the program.
    if status is Status.MEMORY:
        assert verdict.message == f"the memory limit of {LIMITS.memory_mib} MiB is reached"
    if status is Status.OUTPUT_LIMIT:
        assert verdict.message == f"the output limit is reached: {LIMITS.value_chars} characters a value"


def test_time_is_limited(pool, given, monkeypatch):
    limits = HURRIED_SLOW if slow_start(pool.language.name) else HURRIED
    # Of the workers that there are: to start others would take longer than the test.
    monkeypatch.setattr(Worker, "_limits", property(lambda worker: limits), raising=False)
    for name in ("endless", "asleep"):
        if name in given.ABSENT:
            continue
        source, text, status = given.ERRORS[name]
        verdict, _ = timed(pool, source, text)
        assert verdict.status is status is Status.TIMEOUT, verdict
        assert verdict.message.startswith("the CPU limit of" if verdict.seconds < limits.wall_s else "the wall-clock")
        assert verdict.seconds >= (limits.cpu_s if name == "endless" else limits.wall_s) - 0.1
    # Punctual, in the best of some tries: load from elsewhere only delays.
    limits = dataclasses.replace(HURRIED, wall_s=1.0, cpu_s=1.0)
    for name in ("endless", "asleep"):
        if name not in given.ABSENT:
            delays = (timed(pool, *given.ERRORS[name][:2])[1] - limits.wall_s for _ in range(6))
            assert any(-0.001 < delay < 0.05 for delay in delays), name
    limits = LIMITS
    assert run(pool, pool.language.identity, pool.language.identity_input).ok


def timed(pool, source, text):
    """The verdict and the seconds that it took to come."""
    begin = time.monotonic()
    verdict = run(pool, source, text)
    return verdict, time.monotonic() - begin


def test_liars_are_never_right(pool, given):
    for source, text, value in given.LIARS:
        verdict = run(pool, source, text, expect=(value,))
        assert verdict.correct is False, (source, verdict)
    assert run(
        pool, pool.language.identity, pool.language.identity_input, expect=(pool.language.identity_output,)
    ).correct


def test_bytes_that_are_no_text_are_not_read_as_another_text(pool):
    quote = pool.language.identity_input[0]
    answers, others = (tuple(f"{quote}{text}{quote}" for text in texts) for texts in ("\ud800\udc80", "?\ufffd"))
    for answer, other in zip(answers, others, strict=True):
        verdict = pool.submit(Job("odd", JobKind.VALUE, inputs=(answer,), expect=(other,))).result()
        assert verdict.correct is False, verdict


def test_determinism(pool, given):
    for source, text in given.NONDETERMINISTIC:
        verdict = run(pool, source, text, determinism=True)
        assert verdict.status is Status.NONDETERMINISTIC, (source, verdict)
    for source, text in given.DETERMINISTIC:
        verdict = run(pool, source, text, determinism=True)
        assert verdict.ok and run(pool, source, text).values == verdict.values, (source, verdict)


def test_expected_value_is_kept_from_the_program(pool, monkeypatch):
    secret = pool.language.identity_input.replace("Hello World", "Secret 6f1d")
    asked = []
    ask = Worker.ask
    monkeypatch.setattr(Worker, "ask", lambda *arguments: asked.append(arguments[1:]) or ask(*arguments))
    source = f"{pool.language.identity}\n{pool.language.commented('kept from the program')}"
    verdict = run(pool, source, pool.language.identity_input, expect=(secret,))
    assert verdict.ok and verdict.correct is False
    evaluated = [arguments for arguments in asked if arguments[0] is Request.EVALUATE]
    assert len(evaluated) == 1 and "Secret" not in repr(evaluated)


def as_files(pool, given, programs, folder):
    """What the interpreter itself makes of each program as a file: an ended PROGRAM verdict."""
    if hasattr(given, "reference"):
        return given.reference(programs, folder)
    return pool.run_all(Job(str(i), JobKind.PROGRAM, given.as_file(*program)) for i, program in enumerate(programs))


def value_text(printed):
    return printed.stdout.rpartition("value:")[2]


def difference(pool, given, program, printed):
    """How the pool's verdict differs from the plain interpreter's; None when it doesn't."""
    source, text = program[:2]
    verdict = run(pool, source, text)
    if verdict.status is Status.OK:
        said = read(pool, value_text(printed))
        if printed.status is Status.OK and said.values == verdict.values:
            return None
    elif verdict.status is Status.EXIT:
        if printed.stdout == "":
            return None
    elif verdict.status is printed.status in ENDS and given.names(verdict, printed.stderr):
        return None
    return program, verdict, printed


def assert_as_files(pool, given, programs, folder):
    printed = as_files(pool, given, programs, folder)
    # All at once: the pool then knows them.
    assert read(pool, *(value_text(verdict) for verdict in printed if verdict.ok and value_text(verdict))).ok
    different = [difference(pool, given, *pair) for pair in zip(programs, printed, strict=True)]
    none([difference for difference in different if difference is not None])
    assert any(verdict.status is Status.OK for verdict in printed)


def test_programs_behave_as_files(pool, given, tmp_path):
    assert_as_files(pool, given, given.PROGRAMS[:: getattr(given, "SAMPLE", 1)], tmp_path)


@pytest.mark.slow
def test_all_programs_behave_as_files(pool, given, tmp_path):
    if not hasattr(given, "SAMPLE"):
        pytest.skip("the default run takes all")
    assert_as_files(pool, given, given.PROGRAMS, tmp_path)


def assert_cold_agrees(pool, given, step):
    jobs = [Job(str(i), JobKind.EVALUATE, *program[:1], program[1:2]) for i, program in enumerate(given.PROGRAMS)]
    jobs += [
        Job(name, JobKind.EVALUATE, source, (text,))
        for name, (source, text, status) in given.ERRORS.items()
        if status is not Status.TIMEOUT
    ]
    jobs = jobs[::step]
    with Pool(pool.language, workers=1, limits=LIMITS, cold=True) as cold:
        for job, warm, theirs in zip(jobs, pool.run_all(jobs), cold.run_all(jobs), strict=True):
            assert (warm.status, warm.values) == (theirs.status, theirs.values), (job, warm, theirs)
            assert warm.error_kind == theirs.error_kind, (job, warm, theirs)


@pytest.mark.ci
def test_cold_agrees_with_warm(pool, given):
    assert_cold_agrees(pool, given, SLOW_COLD_SAMPLE if slow_start(pool.language.name) else COLD_SAMPLE)


@pytest.mark.slow
def test_cold_agrees_with_warm_on_all(pool, given):
    assert_cold_agrees(pool, given, 1)
