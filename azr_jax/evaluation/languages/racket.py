"""Racket: rackunit's check-within."""

from __future__ import annotations

import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, Instrument, Outcome, Replay, Tests, filled

_NAMES_F = re.compile(r"(?:^|[\s()\[\]{}'`,@])f(?=[\s()\[\]{}])")
# What the reader skips before a #lang: space, comments of a line and of a (not nested) block, a shell's first line.
_SKIPPED = (
    r"\ufeff?(?:\s++|;[^\n]*\n|\#\|(?:(?!\|\#|\#\|).)*+\|\#|\#![ /][^\n]*\n|\#;\s*+(?:\([^()]*+\)|[^\s()\#;]++))*+"
)
_LANG = re.compile(_SKIPPED + r"(?:#lang\s+|#!(?=\w))(\S+)", re.DOTALL)
_MODULE = re.compile(_SKIPPED + r"\(module\s", re.DOTALL)
_NEEDS_RACKUNIT = re.compile(r"check-|test-|fail")

# The pool writes mutable hashes as immutable ones; to check-within they are never equal.
_SHOWN = """(define (azr-shown v)
  (cond
    [(pair? v) (cons (azr-shown (car v)) (azr-shown (cdr v)))]
    [(vector? v) (list->vector (map azr-shown (vector->list v)))]
    [(hash? v) (if (immutable? v)
                   (for/fold ([h v]) ([(k w) (in-hash v)]) (hash-set h k (azr-shown w)))
                   (vector 'azr-mutable-hash (hash-count v)))]
    [else v]))
"""


def _unloadable(program: str) -> str:
    if _LANG.match(program) or _MODULE.match(program):
        return ""
    return "the program does not start with a #lang line: `racket FILE` can't load it"


def _collect(program: str, tests: Tests) -> str:
    """A program that may have its own f becomes a submodule, which takes longer."""
    require = "(require rackunit)\n" if _NEEDS_RACKUNIT.search(program) else ""
    lang = _LANG.match(program)
    name = "azr-call" if lang and _NAMES_F.search(program) else "f"
    clauses = "\n".join(f"[({number}) {call}]" for number, call in enumerate(tests.calls))
    call = f"(let ((candidate {tests.function}))\n(case azr-call-number\n{clauses}\n))"
    # A program that does not mention hashes makes none, and may define names that azr-shown uses.
    shown, definition = (f"(azr-shown {call})", _SHOWN) if "hash" in program else (call, "")
    body = f"\n{require}(define ({name} azr-call-number)\n{shown})\n{definition}"
    if name == "f":
        return program.removeprefix("\ufeff") + body
    assert lang is not None
    inner = f"(module azr-program {lang[1]}\n{program[lang.end() :]}{body}\n(provide azr-call)\n)\n"
    return f'#lang racket/base\n{inner}(require (rename-in (submod "." azr-program) [azr-call f]))\n'


def _compare(tests: Tests) -> str:
    """The equal?/within of rackunit 8.7, without the cost of loading rackunit."""
    pairs = zip(tests.expected, tests.tolerance, strict=True)
    thunks = "\n".join(f"(cons (lambda () {expected}) {tolerance})" for expected, tolerance in pairs)
    return f"""#lang racket
(define (same? a b delta)
  (let same ([a a] [b b])
    (if (and (number? a) (number? b))
        (<= (magnitude (- a b)) delta)
        (equal?/recur a b same))))
(define expected (list
{thunks}))
(define (f value)
  (define next (car expected))
  (set! expected (cdr expected))
  (with-handlers ([void (lambda (_) #f)])
    (same? value ((car next)) (cdr next))))
"""


# rackunit only prints what fails, unless its handler does more.
_REPLAY = """(require (only-in rackunit current-check-handler))
(define azr-calls '())
(define azr-made 0)
(define azr-at 0)
(define (azr-keep value)
  (set! azr-calls (append azr-calls (list value)))
  (set! azr-made (add1 azr-made)))
(define (azr-stand-in . given)
  (cond
    [(zero? {{count}}) (azr-keep given) (apply {{name}} given)]
    [else (set! azr-at (add1 azr-at)) (list-ref azr-calls (sub1 azr-at))]))
(define (azr-tests {{name}})
{{tests}}
(void))
(when (zero? {{count}}) (azr-tests azr-stand-in))
(define (azr-call value)
  (cond
    [(zero? {{count}}) (if (< value 0) azr-made (list-ref azr-calls value))]
    [else
     (azr-keep value)
     (or (< azr-made {{count}})
         (parameterize ([current-check-handler raise])
           (azr-tests azr-stand-in)
           (= azr-at {{count}})))]))
(provide azr-call)
"""


def _replay(program: str, name: str, tests: str, count: int) -> str:
    lang = _LANG.match(program)
    if lang is None:
        return program
    body = filled(_REPLAY, name=name, tests=tests, count=count)
    inner = f"(module azr-program {lang[1]}\n{program[lang.end() :]}\n{body})\n"
    return f'#lang racket/base\n{inner}(require (rename-in (submod "." azr-program) [azr-call f]))\n'


def _loadable(program: str) -> str:
    """A chat answer without a #lang line gets the one of the prompts."""
    return f"#lang racket\n{program}" if _unloadable(program) else program


def _word(outcome: Outcome) -> str:
    # rackunit exits 0 even if tests fail.
    if not outcome.stderr and outcome.exit_code == 0:
        return "OK"
    return "SyntaxError" if "read-syntax" in outcome.stderr else "Exception"


LANGUAGE = BenchmarkLanguage(
    name="racket",
    word=_word,
    form=Form(
        re.compile(
            r"\s*\(require rackunit\)\s+\(define \(test-humaneval\)\s+\(let \(\(\s*candidate ([^\s()]+)\)\)\n"
            r"(.*)\n?\s*\)\)\s+\(test-humaneval\)\s*\Z",
            re.DOTALL,
        ),
        "(check-within ",
        re.compile(r"\s+"),
        re.compile(r"\s+([0-9.]+)\)"),
        "(candidate",
        ends_at_space=True,
    ),
    instrument=Instrument(_collect, _compare, right="#t", unloadable=_unloadable),
    replay=Replay(_replay, "(apply candidate {{arguments}})"),
    loadable=_loadable,
    wrong_body=" #f)\n",
    print_mark='(displayln "{{mark}}")',
    test_function=r"^\(define \(([^\s()]+)\)",
    call_test="({{name}})",
)
