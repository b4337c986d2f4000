"""Racket's part of test_conformance.py. Its programs run as files in one process, by Racket's own module loader."""

import json
import re
import subprocess

from executors import Status, Verdict
from executors.languages.racket import compile_harness

SLOW_START = True
SAMPLE = 2

VALUES = """
(define made
  (hash "arithmetic" (list (quotient -7 2) (modulo -7 3) (remainder -7 3) (expt 2 10) 1/4 (/ 6 4) (+ 0.1 0.2) 5e-324)
        "boolean" (list #t #f (< 1 2))
        "nothing" (list (void) null)
        "empty" (list "" '() (vector) (hash) (set) #"")
        "unicode" "é\\U1F600\\u202E\\t\\n\\"'"
        "nul" "a\\0b"
        "invalid_utf8" #"a\\377"
        "nan" +nan.0
        "negative_zero" -0.0
        "infinity" (list +inf.0 -inf.0)
        "1e22" 1e22
        "big_integer" (- (expt 7 40))
        "nested" (list (list 1 (vector 2.5 (hash 'a (list 3)))) (cons 'b (box "c")))
        "set" (set 3 1 2 "b" "a")
        "hash" (hash 'z 1 'a 2 "k" (make-hash '((1 . 2))))))
(define (f name) (hash-ref made name))
"""
CASES = {
    "arithmetic": "(list -3 2 -1 1024 1/4 3/2 0.30000000000000004 5e-324)",
    "boolean": "(list #t #f #t)",
    "nothing": "(list (void) '())",
    "empty": '(list "" \'() (vector) (hash) (set) #"")',
    "unicode": '"é😀\\u202E\\t\\n\\"\'"',
    "nul": '"a\\u0000b"',
    "invalid_utf8": '#"a\\377"',
    "nan": "+nan.0",
    "negative_zero": "-0.0",
    "infinity": "(list +inf.0 -inf.0)",
    "1e22": "1e+22",
    "big_integer": "-6366805760909027985741435139224001",
    "nested": "(list (list 1 (vector 2.5 (hash 'a (list 3)))) (cons 'b (box \"c\")))",
    "set": '(set "a" "b" 1 2 3)',
    "hash": "(hash \"k\" (hash 1 2) 'a 2 'z 1)",
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT: dict[str, str] = {}

DISTINCT = ("1", "1.0", "#t", '"1"', "'|1|", "#\\1", "(list 1)", "(vector 1)", "(set 1)", "(cons 1 1)", "0", "0.0",
            "-0.0", "#f", "(void)", "'()", '""', '#""', "+nan.0", "1/2", "0.5")  # fmt: skip
SAME = (("'(1 2)", "(list 1 2)"), ("(set 2 1)", "(set 1 2)"), ("(hash 'b 1 'a 2)", "(hash 'a 2 'b 1)"), ("#xff", "255"),
        ("4/6", "2/3"), ("#true", "#t"))  # fmt: skip
NOT_VALUES = ("1) or #t ;", "(or #t 1)", "x", "(print 1)", "(lambda (x) x)", "(exit)", "1 2", "", "(list 1", "(sqrt 4)",
              "#<procedure:f>", "(system \"ls\")")  # fmt: skip

ERRORS = {
    "syntax": ("(define (f x)", "0", Status.SYNTAX_ERROR),
    "raised": ('(define (f x) (error "no"))', "0", Status.RUNTIME_ERROR),
    "raised_at_load": ('(error "no")\n(define (f x) x)', "0", Status.RUNTIME_ERROR),
    "unbound": ("(define (f x) y)", "0", Status.SYNTAX_ERROR),
    "no_f": ("(define g 1)", "0", Status.RUNTIME_ERROR),
    "exit": ("(define (f x) (exit 3))", "0", Status.EXIT),
    "deep_recursion": ("(define (f x) (cons 1 (f x)))", "0", Status.MEMORY),
    "endless": ("(define (f x) (let loop () (loop)))", "0", Status.TIMEOUT),
    "asleep": ("(define (f x) (sleep 60))", "0", Status.TIMEOUT),
    "memory": ("(define (f x) (let loop ([kept '()]) (loop (cons (make-bytes 10000000) kept))))", "0", Status.MEMORY),
    "too_long": ("(define (f x) (make-string 5000 #\\a))", "0", Status.OUTPUT_LIMIT),
    "function": ("(define (f x) f)", "0", Status.UNSERIALISABLE),
    "cycle": ("(define (f x) (let ([b (box 1)]) (set-box! b b) b))", "0", Status.UNSERIALISABLE),
}

LIARS = (
    ("(struct lie (v) #:property prop:custom-write (lambda (s p m) (write-string \"42\" p))\n"
     "  #:property prop:equal+hash (list (lambda (a b r) #t) (lambda (a r) 0) (lambda (a r) 0)))\n"
     "(define (f x) (lie 7))", "0", "42"),
    ("(define (equal? a b) #t)\n(define (f x) 7)", "0", "42"),
    ("(define (f x) \"42\")", "0", "42"),
    ("(define (f x) 42.0)", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("(define (f x) (random 1000000))", "0"),
    ("(define (f x) (current-inexact-milliseconds))", "0"),
    # The date, in UTC and here.
    ("(define (f x) (quotient (current-seconds) 86400))", "0"),
    ("(define (f x) (date-week-day (seconds->date (current-seconds) #f)))", "0"),
)
DETERMINISTIC = (("(define (f x) (make-hash (map (lambda (i) (cons i i)) (range 30))))", "0"),)

_SOURCES = (
    # Order of definitions, and what a definition may shadow.
    ("(define (f x) (g x))\n(define (g y) (* 2 y))", "21"),
    ("(define (f x) (g x))\n(define g (lambda (x) h))\n(define h 5)", "1"),
    ("(define a b)\n(define b 1)\n(define (f x) a)", "1"),
    ("(define (f x) late)\n(f 1)\n(define late 2)", "1"),
    ("(struct node (left right))\n(define tree (node leaf leaf))\n(struct leaf ())\n(define (f x) 1)", "1"),
    ("(define (area s) (* (side-length s) 2))\n(struct side (length))\n(define (f x) (area (side x)))", "4"),
    ("(define a 1)\n(define a 2)\n(define (f x) a)", "1"),
    ("(define (map g l) 'mine)\n(define (f x) (map add1 '(1 2)))", "1"),
    ("(define (list . a) a)\n(define (f x) (list 1 2))", "1"),
    ("(define-syntax-rule (match a b) (vector a b))\n(define (f x) (match x x))", "1"),
    ("(define-syntax let (syntax-rules () [(_ a b) 'mine]))\n(define (f x) (let a b))", "1"),
    ("(require racket/list)\n(define (first x) 'mine)\n(define (f x) (first '(1)))", "1"),
    ("(define (f x) (set! g (lambda (y) 'changed)) (g x))\n(define (g y) y)", "1"),
    ("(set! nowhere 1)\n(define (f x) 1)", "1"),
    ("(define f (lambda (x) x))\n(set! f (lambda (x) 'changed))", "1"),
    ("(define-values (a b) (values 1 2))\n(define f (case-lambda [(x) (list a b x)] [(x y) 1]))", "0"),
    # Requires, provides, submodules, macros.
    ("(require (prefix-in l: racket/list) (only-in racket/string [string-join join]))\n"
     '(define (f x) (join (l:take x 2) "-"))', '\'("a" "b" "c")'),
    ("(provide f)\n(define (f x) 1)", "1"),
    ("(provide (contract-out [f (-> integer? integer?)]))\n(define (f x) 'inside)", "1"),
    ("(provide (rename-out [g f]))\n(define (g x) 'g)\n(define (f x) 'f)", "1"),
    ("(module inner racket (provide y) (define y 3))\n(require 'inner)\n(define (f x) y)", "1"),
    ("(module+ test (error 1))\n(module+ main (error 2))\n(define (f x) 'ran)", "1"),
    ("(begin-for-syntax (define z 1))\n(define-syntax (m stx) (datum->syntax stx z))\n(define (f x) (m))", "1"),
    ("(define-syntax (m stx) (raise-syntax-error 'm \"no\" stx))\n(define (f x) (m))", "1"),
    ("(define-syntax-rule (swap! a b) (let ([tmp a]) (set! a b) (set! b tmp)))\n"
     "(define (f tmp) (define other 2) (swap! tmp other) (list tmp other))", "1"),
    ("(require no/such/library)\n(define (f x) 1)", "1"),
    ("(require json)\n(define (f x) (string->jsexpr x))", '"{\\"a\\": [1, 2.5, null]}"'),
    # Errors.
    ("(define (f x) (+ x y))", "1"),
    ("(define (f x) (car x))", "1"),
    ("(define (f x) (/ x 0))", "1"),
    ("(define (f x) (vector-ref x 5))", "'#(1 2)"),
    ("(define (f x) (hash-ref (hash) x))", "'a"),
    ("(define (f x) (error 'f \"no ~a\" x))", "'a"),
    ("(define (f x y) x)", "1"),
    ("(define (f x)", "1"),
    ("(define (f x) x))", "1"),
    ("(define (f x) (if x 1))", "1"),
    ("(define (f x) (eval '(+ 1 2)))", "1"),
    ("(define (f x) (eval '(+ 1 2) (make-base-namespace)))", "1"),
    ("(define (f x) (string-set! x 0 #\\b) x)", '"abc"'),
    ("(define (f x) (vector-set! x 0 'changed) x)", "(vector 1 2)"),
    ("(error \"at load\")\n(define (f x) 1)", "1"),
    ("(define/contract (f x) (-> integer? string?) x)", "1"),
    # What programs are made of.
    ("(define (f n) (for/fold ([acc 1]) ([i (in-range 1 (add1 n))]) (* acc i)))", "30"),
    ("(define (f x) (match x [(list a (cons b c) ...) (list a b c)] [_ 'none]))", "'(1 (2 . 3) (4 . 5))"),
    ("(define (f x) (for/hash ([w (string-split x)] [i (in-naturals)]) (values w i)))", '"b a c"'),
    ("(define (f x) (let loop ([n x] [acc '()]) (if (zero? n) acc (loop (sub1 n) (cons n acc)))))", "5"),
    ("(define c% (class object% (init-field [n 1]) (super-new) (define/public (m) (add1 n))))\n"
     "(define (f x) (send (new c% [n x]) m))", "41"),
    ("(define (g #:scale [scale 2] a [b 3] . rest) (list scale a b rest))\n(define (f x) (g x 4 5 #:scale 9))", "1"),
    ("(define p (make-parameter 1))\n(define (g) (p))\n(define (f x) (parameterize ([p x]) (g)))", "7"),
    ("(define (f x) (call/cc (lambda (k) (for-each (lambda (y) (when (even? y) (k y))) x) #f)))", "'(1 3 4 5)"),
    ("(define (f x) (with-handlers ([exn:fail? exn-message]) (raise-user-error 'bad \"~s\" x)))", "'(1 . 2)"),
    ("(define (f x) (define-values (q r) (quotient/remainder x 7)) (list q r (exact->inexact (/ q r))))", "100"),
    ("(define s (make-string 3 #\\x))\n(define (f x) (string-set! s 1 x) (string-append s (string x)))", "#\\λ"),
    ("#lang racket/base\n(define (f x) (first '(1)))", "1"),
    ("#lang racket/base\n(require (for-syntax racket/base))\n(define-syntax (m s) #'3)\n(define (f x) (m))", "1"),
    ("#| a #| nested |# comment |#\n#lang racket\n(define (f x) #;(not this) 'that)", "1"),
    ("(module program racket (define (f x) (list x x)))", "1"),
)  # fmt: skip

# As files: with their #lang line, which shifts the lines of messages.
PROGRAMS = tuple(
    (source if "#lang" in source or "(module program" in source else f"#lang racket\n{source}", text)
    for source, text in _SOURCES
)

# Prints one line a program: the status, the error's struct, and the value or the message's first line.
_REFERENCE = """
#lang racket/base
(require racket racket/string (file "VALUES"))
(define libraries (current-namespace))
(define (outcome path input)
  (parameterize ([current-namespace (make-base-empty-namespace)])
    (namespace-attach-module libraries 'racket)
    (define phase "syntax_error")
    (with-handlers ([exn? (lambda (e)
                            (list phase
                                  (substring (symbol->string (vector-ref (struct->vector e) 0)) 7)
                                  (car (string-split (exn-message e) "\\n" #:trim? #f))))])
      (dynamic-require path (void))
      (set! phase "runtime_error")
      (dynamic-require path #f)
      (define f (parameterize ([current-namespace (module->namespace path)]) (eval (namespace-symbol->identifier 'f))))
      (list "ok" "" (value->text (apply f (arguments-positional (read-arguments input))) 4096)))))
(for ([line (in-lines)])
  (define parts (read (open-input-string line)))
  (define found (parameterize ([current-output-port (open-output-nowhere)])
                  (outcome (path->complete-path (car parts)) (cadr parts))))
  (printf "~a\\t~a\\t~a\\n" (car found) (cadr found) (caddr found)))
"""


def reference(programs, folder):
    """What Racket itself gives for each program as a file."""
    runner = folder / "reference.rkt"
    runner.write_text(_REFERENCE.strip().replace("VALUES", str(compile_harness() / "values.rkt")))
    lines = []
    for index, (source, text) in enumerate(programs):
        (folder / str(index)).mkdir()
        (folder / str(index) / "program.rkt").write_text(source)
        lines.append(f'("{index}/program.rkt" {json.dumps(text, ensure_ascii=False)})\n')
    done = subprocess.run(
        ["racket", str(runner)], input="".join(lines), cwd=folder, capture_output=True, text=True, check=True
    )
    outcomes = [re.sub(r"\b\d+/program\.rkt", "program.rkt", line).split("\t") for line in done.stdout.splitlines()]
    return [
        Verdict(kind, Status(status), stdout=said if status == "ok" else "", stderr=f"{kind}: {said}\n")
        for status, kind, said in outcomes
    ]


def names(verdict, stderr: str) -> bool:
    """Whether Racket's error is the verdict's, by its struct and the first line of its message."""
    # Generated names end in a number that depends on what was expanded before.
    ours, theirs = (
        re.sub(r"\d+(?=: undefined)", "", line)
        for line in (f"{verdict.error_kind}: {verdict.message}".split("\n")[0], stderr.strip("\n"))
    )
    return ours == theirs
