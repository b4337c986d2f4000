"""Scheme: SRFI 64's test-equal, which is equal? of the expected and the actual value.

McEval's problems in Scheme all begin with `#lang racket`: they are for Racket, none for Guile.
"""

from __future__ import annotations

import dataclasses
import re

from azr_jax.evaluation.languages.record import BenchmarkLanguage, Form, by_templates

# An f after the program that makes the call of a given number, and otherwise is the program's own f, if it has one.
_COLLECT = """{{program}}
(define azr-own-f (if (defined? 'f) f #f))
(define candidate {{function}})
(define (azr-test azr-call)
(case azr-call
{{cases}}
))
(define (f . given)
  (cond ((and (pair? given) (pair? (car given)) (eq? (caar given) 'azr-call)) (azr-test (cdar given)))
        (azr-own-f (apply azr-own-f given))
        (else (error "Unbound variable: f"))))
"""
_COMPARE = """(define expected (list
{{expected}}))
(define (f value)
  (let ((next (car expected)))
    (set! expected (cdr expected))
    (catch #t (lambda () (equal? (next) value)) (lambda _ #f))))
"""
_BY_TEMPLATES = by_templates(
    collect=_COLLECT,
    case="(({{number}}) {{call}})",
    compare=_COMPARE,
    expected="(lambda () {{expected}})",
    expected_between="\n",
    call_input="'(azr-call . {{number}})",
    right="#t",
)


def _unloadable(program: str) -> str:
    lang = re.match(r"\s*#lang[^\n]*", program)
    return f"the program is Racket's, {lang[0].strip()!r}: guile can't load it" if lang else ""


LANGUAGE = BenchmarkLanguage(
    name="scheme",
    form=Form(
        re.compile(
            r"\s*\(import \(srfi srfi-64\)\)\s+\(define candidate ([^\s()]+)\)\s+\(test-begin \"[^\"]*\"\)\n"
            r"(.*)\n\s*\(test-end[^()]*\)\s*\Z",
            re.DOTALL,
        ),
        "(test-equal ",
        re.compile(r"\s+"),
        re.compile(r"\)"),
        "(candidate",
        ends_at_space=True,
    ),
    instrument=dataclasses.replace(_BY_TEMPLATES, unloadable=_unloadable),
    wrong_body="#f)\n",
    print_mark='(display "{{mark}}")',
)
