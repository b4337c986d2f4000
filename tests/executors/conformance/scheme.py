"""Scheme's part of test_conformance.py."""

from executors import Status

VALUES = r"""
(define values-of
  (list
   (cons "arithmetic" (list (quotient -7 2) (modulo -7 3) (expt 2 10) (/ 1 4) (/ 1.0 4) (+ .1 .2) 5e-324 (sqrt -4) 7.0))
   (cons "boolean" (list #t #f (< 1 2)))
   (cons "nothing" (if #f #f))
   (cons "empty" (list "" '() #() #vu8()))
   (cons "unicode" "é😀\u202e\t\n\"'\\")
   (cons "nul" "a\x00b")
   (cons "nan" (- +inf.0 +inf.0))
   (cons "negative_zero" -0.0)
   (cons "infinity" (list +inf.0 -inf.0))
   (cons "1e22" 1e22)
   (cons "big_integer" (expt 3 60))
   (cons "nested" '((1 (2.5 #(a (3)))) ("b" . c) (d e . 4) #\space #\a #vu8(1 255)))
   (cons "hash" '((z . 1) ("a" . 2) (-3 . 4)))))
(define (f name) (cdr (assoc name values-of)))
"""
CASES = {
    "arithmetic": "'(-3 2 1024 1/4 0.25 0.30000000000000004 5.0e-324 0.0+2.0i 7.0)",
    "boolean": "'(#t #f #t)",
    "nothing": "*unspecified*",
    "empty": '\'("" () #() #vu8())',
    "unicode": '"é😀\\u202e\\t\\n\\"\'\\\\"',
    "nul": '"a\\x00b"',
    "nan": "+nan.0",
    "negative_zero": "-0.0",
    "infinity": "'(+inf.0 -inf.0)",
    "1e22": "1.0e22",
    "big_integer": str(3**60),
    "nested": '\'((1 (2.5 #(a (3)))) ("b" . c) (d e . 4) #\\space #\\a #vu8(1 255))',
    "hash": '\'((z . 1) ("a" . 2) (-3 . 4))',
}
CASES = {name: (VALUES, f'"{name}"', value) for name, value in CASES.items()}
ABSENT = {
    "invalid_utf8": "strings are of characters",
    "set": "there are none but lists",
    "deep_recursion": "the stack grows with the memory",
}

DISTINCT = ("1", "1.0", "#t", '"1"', "'(1)", "#(1)", "0", "0.0", "-0.0", "#f", "'a", '"a"', "#\\a", '""', "'()", "#()",
            "+nan.0", "+inf.0", "1/2", "0.5", "'(1 . 2)", "'(1 2)", "*unspecified*", "#vu8(1)", "1.0+2.0i")  # fmt: skip
SAME = (
    ("'(1  2)", "(list 1 2)"),
    ("'(1 . (2 . ()))", "(cons 1 (list 2))"),
    ("#x10", "16"),
    ("2/4", "1/2"),
    ("(vector 1 'a)", "#(1 a)"),
    ("(quote a)", "'a"),
    ("#true", "#t"),
    ("; one\n1 #| two |#", "1"),
)
NOT_VALUES = ("1) 2", "1 2", "x", "(display 1)", "(lambda (x) x)", "(exit)", "", "(+ 1 1)", "'(1", "#:k", "`(1 ,x)",
              "(list (f))", "'#:k", "#.(exit)", "'(1 . 2 3)", "(quote)", "(cons 1)", "(" * 300)  # fmt: skip

ERRORS = {
    "syntax": ("(define (f x)", "0", Status.SYNTAX_ERROR),
    "raised": ('(define (f x) (error "no"))', "0", Status.RUNTIME_ERROR),
    "raised_at_load": ('(error "no")\n(define (f x) 1)', "0", Status.RUNTIME_ERROR),
    "unbound": ("(define (f x) (y))", "0", Status.RUNTIME_ERROR),
    "no_f": ("(define g 1)", "0", Status.RUNTIME_ERROR),
    "exit": ("(define (f x) (exit 3))", "0", Status.EXIT),
    "endless": ("(define (f x) (f x))", "0", Status.TIMEOUT),
    "asleep": ("(define (f x) (sleep 60))", "0", Status.TIMEOUT),
    "memory": ("(define (f x) (let loop ((t '())) (loop (cons (make-vector 100000 0) t))))", "0", Status.MEMORY),
    "too_long": ("(define (f x) (make-string 5000 #\\x))", "0", Status.OUTPUT_LIMIT),
    "function": ("(define (f x) f)", "0", Status.UNSERIALISABLE),
    "cycle": ("(define (f x) (let ((t (list 1))) (set-car! t t) t))", "0", Status.UNSERIALISABLE),
}

LIARS = (
    ("(use-modules (oop goops))\n(define-class <lie> ())\n(define-method (write (l <lie>) port) (display 42 port))\n"
     "(define (f x) (make <lie>))", "0", "42"),
    ("(define (f x) '(42))", "0", "42"),
    ("(define (f x) \"42\")", "0", "42"),
    ("(define (f x) 42.0)", "0", "42"),
    ("(define (f x) (values \"42\" 42))", "0", "42"),
    ("(set! number->string (lambda _ \"42\"))\n(set! string-append (lambda _ \"42\"))\n"
     "(set! apply (lambda _ \"42\"))\n"
     "(set! number? (lambda _ #f))\n(set! symbol? (lambda _ #t))\n(set! map (lambda _ '(\"42\")))\n"
     "(set! reverse! (lambda _ '(\"42\")))\n(set! car (lambda _ \"42\"))\n(define (f x) 7)", "0", "42"),
    ("(define-syntax if (syntax-rules () ((_ a b c ...) \"42\")))\n"
     "(define-syntax let (syntax-rules () ((_ . a) 42)))\n"
     "(module-set! (resolve-module '(azr harness)) 'emit! (lambda _ \"42\"))\n(define (f x) 7)", "0", "42"),
    ("(define (f x) (dynamic-wind (lambda () #t) (lambda () (exit 0)) (lambda () (display 42))))", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("(define (f x) (current-time))", "0"),
    ("(define (f x) (gettimeofday))", "0"),
    ("(define (f x) (random 1000000000000 (random-state-from-platform)))", "0"),
    ('(define (f x) (strftime "%A" (gmtime (current-time))))', "0"),
    ("(define (f x) (quotient (current-time) 86400))", "0"),
)
DETERMINISTIC = (
    ("(define (f x) (let ((t (make-hash-table))) (for-each (lambda (k) (hash-set! t k 1)) x)\n"
     "(sort (hash-map->list (lambda (k v) k) t) <)))", "'(3 1 2)"),
    ("(define (f x) (random 1000))", "0"),
)  # fmt: skip

PROGRAMS = (
    ("(define (f x) (g x))\n(define (g x) (+ x 1))", "2"),
    ("(define f (lambda (x) (* x 2)))", "2"),
    ("(define n 0)\n(define (f x) (set! n (+ n x)) n)", "4"),
    ("#!/usr/bin/guile\n!#\n(define (f x) x)", "2"),
    ("(define (f x . rest) (list x rest))", "1 2 3"),
    ("(use-modules (ice-9 optargs))\n(define* (f x #:optional (y 5) #:key (k 7)) (list x y k))", "1 2 #:k 3"),
    ("(define f (case-lambda ((x) 'one) ((x y) 'two)))", "1 2"),
    ("(define (f x) (call-with-values (lambda () (values x 1)) list))", "2"),
    ("(define (f x) (list (quotient x 2) (remainder x 3) (modulo (- x) 3) (expt x 2) (/ x 2) (exact->inexact (/ "
     "x 2)) (gcd x 21)))",
     "7"),
    ("(define (f x) (list (= 1 1.0) (eqv? 1 1.0) (equal? '(1) '(1)) (eq? 'a 'a) (number->string 255 16) (round "
     "2.5) (exact (floor 2.7))))",
     "0"),
    ("(define (f x) (list (sqrt 16) (sqrt 2) (exp 0) (max 1 2.0) (string->number \"1e3\") 1e21 1/3 "
     "(exact->inexact 1/3)))", "0"),
    ("(define (f x) (list (string-upcase x) (string-reverse x) (substring x 1 3) (string-index x #\\l) "
     "(string-length x)))",
     '"hello"'),
    ("(define (f x) (list (string-length x) (string->list x) (char->integer (string-ref x 0)) (string-append x "
     "\"!\")))", '"é😀"'),
    ("(define (f x) (map (lambda (w) (string->symbol w)) (string-split x #\\space)))", '"a b c"'),
    ("(use-modules (ice-9 regex))\n(define (f x) (map match:substring (list-matches \"[0-9]+\" x)))", '"a12b345"'),
    ("(define (f x) (sort x >))", "'(3 1 2)"),
    ("(use-modules (srfi srfi-1))\n(define (f x) (list (fold + 0 x) (filter odd? x) (iota 3) (delete-duplicates "
     "x) (last x) (take x 2)))",
     "'(3 1 3 2)"),
    ("(define (f x) (list (apply + x) (map * x x) (reverse x) (append x '(9)) (list-tail x 1) (length x) (memv "
     "1 x)))", "'(3 1 2)"),
    ("(define (f x) (assoc-ref x \"b\"))", "'((\"a\" . 1) (\"b\" . 2))"),
    ("(define (f x) (let ((t (make-hash-table))) (for-each (lambda (k) (hash-set! t k (+ 1 (hash-ref t k 0)))) x)\n"
     "(sort (hash-map->list cons t) (lambda (a b) (string<? (symbol->string (car a)) (symbol->string (car "
     "b)))))))", "'(b a b)"),
    ("(define (f x) (vector-map (lambda (y) (* y y)) x))", "#(1 2 3)"),
    ("(define (f x) (vector-set! x 0 'changed) x)", "(vector 1 2)"),
    ("(define (f x) (set-car! x 'changed) x)", "(list 1 2)"),
    ("(define (f x) (let loop ((i 0) (acc '())) (if (= i x) (reverse acc) (loop (+ i 1) (cons (* i i) acc)))))", "5"),
    ("(define (f x) (do ((i 0 (+ i 1)) (s 0 (+ s i))) ((= i x) s)))", "5"),
    ("(define (f x) (let* ((a x) (b (+ a 1))) (letrec ((even? (lambda (n) (or (= n 0) (odd? (- n 1))))) (odd? "
     "(lambda (n) (and (> n 0) (even? (- n 1))))))\n"
     "(list b (even? b)))))", "5"),
    ("(define (f x) (case x ((1 2) 'low) ((a) 'sym) (else => (lambda (v) (list v)))))", "5"),
    ("(define (f x) (cond ((assv x '((1 . one))) => cdr) ((> x 5) 'big) (else 'none)))", "1"),
    ("(define-syntax swap! (syntax-rules () ((_ a b) (let ((t a)) (set! a b) (set! b t)))))\n"
     "(define (f x) (let ((y 1)) (swap! x y) (list x y)))",
     "5"),
    ("(use-modules (srfi srfi-9))\n(define-record-type point (make-point x y) point? (x px) (y py set-py!))\n"
     "(define (f x) (let ((p (make-point x 2))) (set-py! p 9) (list (px p) (py p) (point? p))))", "1"),
    ("(define (f x) (call/cc (lambda (k) (for-each (lambda (y) (if (> y 1) (k y))) x) 'none)))", "'(1 2 3)"),
    ("(define (f x) (catch 'odd (lambda () (throw 'odd x)) (lambda (key . args) (list key args))))", "5"),
    ("(define (f x) (with-exception-handler (lambda (e) 'handled) (lambda () (raise 'bad)) #:unwind? #t))", "5"),
    ("(use-modules (ice-9 exceptions))\n(define (f x) (guard (e ((symbol? e) (list 'caught e))) (raise 'boom)))", "5"),
    ("(define (counter n) (lambda () (set! n (+ n 1)) n))\n(define (f x) (let ((c (counter x))) (c) (c)))", "4"),
    ("(define (fact n) (if (< n 2) 1 (* n (fact (- n 1)))))\n(define (f x) (fact x))", "30"),
    ("(define p (make-parameter 1))\n(define (f x) (list (p) (parameterize ((p x)) (p)) (p)))", "5"),
    ("(define s (delay (begin (set! n (+ n 1)) n)))\n(define n 0)\n(define (f x) (list (force s) (force s)))", "5"),
    ("(use-modules (ice-9 match))\n(define (f x) (match x ((a b . c) (list c b a)) (_ 'none)))", "'(1 2 3)"),
    ("(define (f x) `(1 ,x ,@(list 2 3) . end))", "5"),
    ("(define (f x) (eval '(+ 1 2) (interaction-environment)))", "5"),
    ("(use-modules (ice-9 format))\n(define (f x) (list (format #f \"~5,2f|~a|~s\" x \"s\" \"t\") "
     "(object->string '(1 \"a\"))))", "3.14159"),
    ("(define (f x) (with-output-to-string (lambda () (display '(1 \"a\")) (write \"b\"))))", "5"),
    ("(define (f x) (display \"noise\") (display \"noise\" (current-error-port)) (newline) x)", "2"),
    ("(define (f x) (string->list \"abc\"))\n; a comment\n#| another |# #;(define (f x) 2)", "2"),
    ("(define (f x) (car x))", "'()"),
    ("(define (f x) (+ x 'a))", "1"),
    ("(define (f x) (nothing x))", "1"),
    ("(define (f x) (vector-ref x 9))", "#(1)"),
    ("(define (f x) (x))", "1"),
    ("(define (f) 1)", "1"),
    ("(define (f x) (error \"told:\" x 'y))", "1"),
    ("(define (f x) (throw 'my-key x))", "1"),
    ("(define (f x) (raise 'symbol))", "1"),
    ("(define (f x) (/ 1 0))", "1"),
    ("(define (f x) (string-append x \"a\"))", "1"),
    ("(error \"at load\")\n(define (f x) 1)", "1"),
    ("(use-modules (not there))\n(define (f x) 1)", "1"),
    ("(define f 5)", "1"),
    ("(define g 5)", "1"),
    ("(define (f x) (if))", "1"),
    ("(define (f x) (let ((a)) a))", "1"),
    ("(define (f x) \"unfinished)", "1"),
    ("(define (f x) 1))\n(display 2)", "1"),
    ("(exit 3)", "1"),
)  # fmt: skip


def as_file(source: str, text: str) -> str:
    """`source` with an end that prints f's value."""
    quoted = '(if (or (pair? azr) (null? azr) (symbol? azr)) (display "\'"))'
    return f'{source}\n(let ((azr (f {text}))) (display "value:") {quoted} (write azr))\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    if verdict.error_kind == "missing_function":
        return "Unbound variable: f" in stderr
    if verdict.error_kind == "syntax":
        return True
    return verdict.message.strip().split("\n")[0] in stderr
