"""What test_racket.py tries: value texts, and a program whose f makes a value of any kind from a seed."""

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

# f of a text written backwards: how often the text itself is in the memory of the process.
SCANS_MEMORY = """
(require ffi/unsafe)
(define memmem (get-ffi-obj "memmem" #f (_fun _intptr _intptr _pointer _intptr -> _intptr)))
(define (f reversed-marker)
  (define size (string-length reversed-marker))
  (define needle (malloc size 'raw))
  (for ([c (in-string reversed-marker)] [i (in-naturals 1)])
    (ptr-set! needle _uint8 (- size i) (char->integer c)))
  (define own (cast needle _pointer _intptr))
  (for/sum ([line (file->lines "/proc/self/maps")])
    (define parts (string-split line))
    (cond
      [(regexp-match? #rx"^rw" (cadr parts))
       (define edges (map (lambda (edge) (string->number edge 16)) (string-split (car parts) "-")))
       (let loop ([at (car edges)] [found 0])
         (define next (memmem at (- (cadr edges) at) needle size))
         (if (zero? next) found (loop (add1 next) (if (= next own) found (add1 found)))))]
      [else 0])))
"""
