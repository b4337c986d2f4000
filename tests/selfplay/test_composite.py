"""Composite proposals: an earlier program's function, as g, before a new program that calls it."""

import pytest
from conftest import ci_in

from azr_jax.selfplay.composite import composed, composite_share, given_function
from azr_jax.types import Answer, Invalid
from configs import tiny
from executors import LANGUAGES, Job, JobKind, Limits, Pool

# An earlier program whose f names itself in a string and calls itself, and a new one that calls g.
PROGRAMS = {
    "python": (
        "from __future__ import annotations\ndef f(n):\n    return 'f' if n < 1 else f(n - 1)",
        "from __future__ import annotations\nimport math\ndef f(n):\n    return g(n) + '!'",
        "'f!'",
    ),
    "javascript": (
        'function f(n) { return n < 1 ? "f" : f(n - 1); }',
        'function f(n) { return g(n) + "!"; }',
        '"f!"',
    ),
    "julia": ('function f(n)\n    n < 1 ? "f" : f(n - 1)\nend', 'f(n) = g(n) * "!"', '"f!"'),
    "lua": (
        'local function f(n)\n  if n < 1 then return "f" end\n  return f(n - 1)\nend',
        'function f(n) return g(n) .. "!" end',
        '"f!"',
    ),
    "r": ('f <- function(n) {\n  if (n < 1) "f" else f(n - 1)\n}', 'f <- function(n) paste0(g(n), "!")', '"f!"'),
    "racket": (
        '#lang racket\n(define (f n)\n  (if (< n 1) "f" (f (- n 1))))',
        '#lang racket\n(define (f n) (string-append (g n) "!"))',
        '"f!"',
    ),
    "perl": (
        'sub f {\n    my ($n) = @_;\n    return $n < 1 ? "f" : f($n - 1);\n}',
        'sub f { return g($_[0]) . "!" }',
        '"f!"',
    ),
    "php": (
        '<?php\nfunction f($n) {\n    return $n < 1 ? "f" : f($n - 1);\n}',
        '<?php\nfunction f($n) { return g($n) . "!"; }',
        '"f!"',
    ),
    "scheme": (
        '(define (f n)\n  (if (< n 1) "f" (f (- n 1))))',
        '(define (f n) (string-append (g n) "!"))',
        '"f!"',
    ),
    "ruby": ('def f(n)\n  n < 1 ? "f" : f(n - 1)\nend', 'def f(n) = g(n) + "!"', '"f!"'),
    "ocaml": ('let rec f n =\n  if n < 1 then "f" else f (n - 1)', 'let f n = g n ^ "!"', '"f!"'),
}


@pytest.mark.parametrize("name", ci_in(PROGRAMS, "julia"))
def test_the_new_program_runs_with_the_given_function_before_it(name):
    language, (earlier, new, value) = LANGUAGES[name], PROGRAMS[name]
    given = given_function(language, earlier)
    assert given is not None
    answer = composed(language, given, Answer(program=new, input="3"))
    assert isinstance(answer, Answer)
    if language.find() is None:
        pytest.skip(f"no {name} interpreter here")
    with Pool(language, workers=1, limits=Limits(wall_s=20, cpu_s=10)) as pool:
        verdict = pool.submit(Job("1", JobKind.EVALUATE, answer.program, ("3",))).result()
    assert verdict.ok and verdict.values == (value,), (verdict, answer.program)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_does_not_build_upon_the_given_one_is_refused(name):
    language, (earlier, new, _) = LANGUAGES[name], PROGRAMS[name]
    given = given_function(language, earlier)
    alone = composed(language, given, Answer(program=earlier, input="3"))
    assert isinstance(alone, Invalid) and alone.reason == "does_not_call_given"
    again = composed(language, given, Answer(program=f"{given}\n{new}", input="3"))
    assert isinstance(again, Invalid) and again.reason == "redefines_given"
    assert given_function(language, given) is None, "it has no f"
    assert given_function(language, "no program") is None


@pytest.mark.parametrize("name", ci_in(PROGRAMS, "julia"))
def test_composites_are_built_upon_composites(name):
    language, (earlier, new, value) = LANGUAGES[name], PROGRAMS[name]
    program, suffix = earlier, ""
    for depth in range(3):
        given = given_function(language, program)
        assert given is not None, (depth, program)
        answer = composed(language, given, Answer(program=new, input="3"))
        assert isinstance(answer, Answer)
        program, suffix = answer.program, suffix + "!"
        assert isinstance(composed(language, given, Answer(program=earlier, input="3")), Invalid)
    helper = composed(language, given, Answer(program=given_function(language, program), input="3"))
    assert isinstance(helper, Invalid) and helper.reason == "redefines_given"
    if language.find() is None:
        pytest.skip(f"no {name} interpreter here")
    with Pool(language, workers=1, limits=Limits(wall_s=20, cpu_s=10)) as pool:
        verdict = pool.submit(Job("1", JobKind.EVALUATE, program, ("3",))).result()
    assert verdict.ok and verdict.values == (value.replace("!", suffix),), (verdict, program)


def test_the_share_rises_between_its_steps():
    selfplay = tiny.get_config().selfplay
    selfplay.update({"composite_share": 0.5, "composite_from": 10, "composite_to": 20})
    assert [composite_share(selfplay, step) for step in (1, 10, 15, 20, 99)] == [0.0, 0.0, 0.25, 0.5, 0.5]
    selfplay.update({"composite_from": 0, "composite_to": 0})
    assert composite_share(selfplay, 1) == 0.5
    selfplay.update({"composite_from": 10, "composite_to": 10})
    assert [composite_share(selfplay, step) for step in (9, 10)] == [0.0, 0.5]
