"""What test_racket.py tries: value texts, programs, and a program whose f makes a value of any kind from a seed."""

# text: canonical text, or None for what is no value
VALUES = {
    "1": "1",
    "-0": "0",
    "1.0": "1.0",
    "#e1.5": "3/2",
    "#xff": "255",
    "4/6": "2/3",
    "-0.0": "-0.0",
    "+nan.0": "+nan.0",
    "-inf.0": "-inf.0",
    "123456789012345678901234567890": "123456789012345678901234567890",
    "#true": "#t",
    "false": "#f",
    "#<void>": "(void)",
    "(void)": "(void)",
    "null": "'()",
    "'()": "'()",
    "()": "'()",
    "'(1 2.0 \"a\")": '(list 1 2.0 "a")',
    "(list 1 (list) 'a)": "(list 1 '() 'a)",
    "[list 1]": "(list 1)",
    "(1 2 #<void>)": "(list 1 2 (void))",
    "((a . 1) (b . 2))": "(list (cons 'a 1) (cons 'b 2))",
    "'(1 . 2)": "(cons 1 2)",
    "(list* 1 2 3)": "(list* 1 2 3)",
    "(cons 1 '(2))": "(list 1 2)",
    "`(1 ,(list 2) . 3)": "(list* 1 (list 2) 3)",
    "''a": "(list 'quote 'a)",
    "'|a B|": "'|a B|",
    "'#:key": "'#:key",
    "#(1 a)": "(vector 1 'a)",
    "(make-vector 2 0)": "(vector 0 0)",
    "#&x": "(box 'x)",
    "#hash((b . 1) (a . 2))": "(hash 'a 2 'b 1)",
    "(hash 'b 1 'a (list 1))": "(hash 'a (list 1) 'b 1)",
    "(make-hash '((1 . 2)))": "(hash 1 2)",
    "(hasheqv 2 1)": "(hasheqv 2 1)",
    "(set 3 1 2 1)": "(set 1 2 3)",
    "(seteq 'b 'a)": "(seteq 'a 'b)",
    "(mutable-set 1)": "(set 1)",
    "#s(point 1 (2))": "(make-prefab-struct 'point 1 (list 2))",
    "(flvector 1.0 -0.0)": "(flvector 1.0 -0.0)",
    '"a\\0\\n\\t\\"\\\\\u00e9\U0001f600\u202e"': '"a\\u0000\\n\\t\\"\\\\\u00e9\U0001f600\\u202E"',
    "#\\nul": "#\\nul",
    "#\\u3bb": "#\\λ",
    "#\\(": "#\\(",
    '#"\\0\\377A"': '#"\\0\\377A"',
    '#px"a+\\\\d"': '#px"a+\\\\d"',
    " ; a comment\n 1 #| and more |#": "1",
    "": None,
    "1 2": None,
    "1) or #t": None,
    "(list 1": None,
    "name": None,
    "(sqrt 4)": None,
    "(lambda (x) x)": None,
    "(first '(1))": None,
    "(+ 1 2)": None,
    "(hash 1)": None,
    "(quote 1 2)": None,
    "(list . 1)": None,
    "(system \"touch /tmp/x\")": None,
    "#reader racket/base 1": None,
    "#lang racket": None,
    "#~1": None,
    "#0=(1 . #0#)": None,
    "#<procedure:f>": None,
    "1t1": None,
}  # fmt: skip

# Programs and an input for each, run both warm and by Racket as a file: module semantics, errors, libraries.
PROGRAMS: tuple[tuple[str, str], ...] = (
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

ANY_VALUE = """
(require racket/random)
(define (leaf)
  (case (random 16)
    [(0) (- (random 1000) 500)] [(1) (/ (random 1 99) (random 1 99))] [(2) (* (random) (expt 10.0 (random -30 30)))]
    [(3) (expt (random 2 99) (random 60))] [(4) (make-rectangular (random 9) (random))] [(5) (random-ref '(#t #f))]
    [(6) (list->string (for/list ([_ (random 6)]) (char)))] [(7) (char)] [(8) (string->symbol (string (char) (char)))]
    [(9) (apply bytes (for/list ([_ (random 9)]) (random 256)))] [(10) (void)] [(11) null]
    [(12) (string->keyword (string (char)))] [(13) (regexp (string-append "a" (number->string (random 9))))]
    [(14) (random-ref '(+nan.0 +inf.0 -inf.0 -0.0 0.0 1e21 1e-7))] [else (string->symbol "A b|c;")]))
(define (char)
  (integer->char (case (random 4) [(0) (random 128)] [(1) (random #xD800)] [(2) (random #xE000 #x10000)]
                   [else (random #x10000 #x110000)])))
(define (parts depth) (for/list ([_ (random 4)]) (value (sub1 depth))))
(define (value depth)
  (if (zero? depth)
      (leaf)
      (case (random 11)
        [(0 1) (parts depth)] [(2) (list->vector (parts depth))] [(3) (box (value (sub1 depth)))]
        [(4) (cons (value (sub1 depth)) (leaf))] [(5) (list->set (parts depth))]
        [(6) (for/hash ([k (parts depth)]) (values k (value (sub1 depth))))]
        [(7) (for/hasheqv ([k 3]) (values k (value (sub1 depth))))]
        [(8) (make-hash (map (lambda (p) (cons p 1)) (parts depth)))]
        [(9) (apply make-prefab-struct 'point (parts depth))] [else (leaf)])))
(define (f seed) (random-seed seed) (value 4))
"""
