#lang racket/base
;; From a program's text to its f: reads it as the file of a module and declares that module. The warm-up loads and
;; builds in advance what programs need.

(require racket/port
         syntax/modread
         "values.rkt")
(provide program-namespace
         source->forms
         (struct-out whole-module)
         declare-program
         declare-whole-module
         warm-up
         warm-up-expansion)

(define-namespace-anchor anchor)
(define program-namespace (namespace-anchor->empty-namespace anchor))

(define language-path
  (let-values ([(folder name directory?)
                (split-path (resolved-module-path-name (variable-reference->resolved-module-path
                                                        (#%variable-reference))))])
    (path->string (build-path folder "language.rkt"))))

;; A source that is no body of `#lang racket`: another language or a module form, to be read as the load handler does.
(struct whole-module (source))

;; Skips white space and comments at the start of a port.
(define (skip-blank in)
  (cond
    [(regexp-try-match #px"^(?:\\s|;[^\n]*(?:\n|$)|#![ /][^\n]*(?:\n|$))+" in) (skip-blank in)]
    [(regexp-try-match #rx"^#[|]" in)
     (let loop ([depth 1])
       (when (> depth 0)
         (define mark (regexp-match #rx"[|]#|#[|]" in))
         (loop (if mark (+ depth (if (equal? (car mark) #"#|") 1 -1)) 0))))
     (skip-blank in)]
    [else (void)]))

(define (module-port source)
  (define in (open-input-bytes source))
  (port-count-lines! in)
  in)

;; source -> the forms of the body of a `racket` module; raises whole-module if it is something else.
(define (source->forms source)
  (define in (module-port source))
  (skip-blank in)
  (unless (regexp-try-match #px"^#lang racket(?=\\s|$)" in)
    (when (regexp-match-peek #rx"^#(?:lang |!)" in)
      (raise (whole-module source))))
  (define forms
    (with-module-reading-parameterization
     (lambda ()
       (for/list ([form (in-port (lambda (in) (read-syntax 'program.rkt in)) in)])
         form))))
  (when (and (= (length forms) 1) (pair? (syntax-e (car forms))) (eq? 'module (syntax-e (car (syntax-e (car forms))))))
    (raise (whole-module source)))
  forms)

;; Declares a module of the forms that `source-forms` returns, which is called in the middle of the expansion as
;; language.rkt says. -> procedure that instantiates the module and returns a thunk for f, or #f without an f
(define (declare-program source-forms [name 'program])
  (define f-thunk #f)
  (define (register thunk)
    (set! f-thunk thunk))
  (eval (datum->syntax #f
                       (list (namespace-module-identifier)
                             (datum->syntax #f name)
                             (datum->syntax #f (list 'file language-path))
                             source-forms
                             register)))
  (lambda ()
    (dynamic-require `(quote ,name) #f)
    f-thunk))

;; The same for a source that is a whole module in any language.
(define (declare-whole-module source)
  (define in (module-port source))
  (define form
    (with-module-reading-parameterization
     (lambda ()
       (define form (check-module-form (read-syntax 'program.rkt in) 'program "program.rkt"))
       (unless (eof-object? (read-syntax 'program.rkt in))
         (raise-syntax-error #f "a file must hold one module" form))
       form)))
  (parameterize ([current-module-declare-name (make-resolved-module-path 'program)])
    (eval form))
  (lambda ()
    (dynamic-require ''program #f)
    (parameterize ([current-namespace (module->namespace ''program)])
      (define f (namespace-symbol->identifier 'f))
      (and (identifier-binding f)
           (let ([namespace (current-namespace)])
             (lambda ()
               (eval f namespace)))))))

;; ------------------------------------------------------------------------------------------------------- warm-up

;; A program with the usual forms: children inherit what the expander, the compiler and the libraries load or build at
;; first use.
(define warm-up-source
  (string->bytes/utf-8 #<<PROGRAM
#lang racket
(struct point (x y) #:transparent)
(define-struct counter (count) #:mutable)
(define (area #:scale [scale 1] p [extra 0])
  (match p
    [(point x y) #:when (> x 0) (+ extra (* scale x y))]
    [(list a b ...) (apply + a b)]
    [(cons a _) a]
    [_ 0]))
(define-values (low high) (values 1 2))
(define-syntax-rule (twice e) (begin e e))
(define table (make-hash))
(define (count-words s)
  (for ([word (in-list (string-split s))] [i (in-naturals)])
    (hash-update! table word add1 0))
  (sort (hash->list table) string<? #:key car))
(define (f x)
  (define-values (q r) (quotient/remainder 17 5))
  (let* ([v (for/vector ([i (in-range 3)]) (* i i))]
         [h (for/hash ([(k i) (in-indexed '(a b))]) (values k i))]
         [s (for/fold ([sum 0]) ([y (in-vector v)] #:unless (odd? y)) (+ sum y))])
    (let loop ([i 0] [acc '()])
      (cond
        [(= i 3) (reverse acc)]
        [(even? i) (loop (add1 i) (cons i acc))]
        [else (loop (+ i 1) acc)]))
    (when (string? x) (set! x (string-upcase x)))
    (unless (list? x) (void))
    (define c (counter 0))
    (twice (set-counter-count! c 1))
    (letrec ([e? (lambda (n) (if (zero? n) #t (o? (sub1 n))))] [o? (lambda (n) (and (positive? n) (e? (- n 1))))])
      (e? 4))
    (case q [(1 2) 'low] [else 'high])
    (list (area (point 1 2)) (count-words "b a b") (with-handlers ([exn:fail? exn-message]) (error 'f "no ~a" r))
          (for*/list ([a '(1 2)] [b (in-string "xy")]) (format "~a~s" a b))
          (map (λ (a . b) (list* a b)) '(1 2) '(3 4)) `(1 ,s ,@(vector->list v))
          (regexp-match #rx"([0-9]+)" "a12") (string-join '("a" "b") ",") (foldl cons '() '(1 2))
          (filter even? (range 4)) (hash-ref h 'a #f) (let/ec k (k 1)) (set 1 2) (string->number "1.5")
          (parameterize ([current-output-port (open-output-string)]) (printf "~a" 1)) (exact->inexact 1/3))))
(f "x")
PROGRAM
                       ))

;; Each expanded module has its own instances of the macros' modules, made at first use: here for the module with which
;; all children continue.
(define (warm-up-expansion in-module)
  (define forms (map in-module (source->forms warm-up-source)))
  (local-expand (datum->syntax #f `(,(in-module (datum->syntax #f 'let)) () ,@forms)) 'expression '())
  (collect-garbage))

;; Whole programs, from their text to a value and back.
(define (warm-up)
  (define nowhere (open-output-nowhere))
  (parameterize ([current-namespace program-namespace]
                 [current-output-port nowhere])
    (for ([name (in-list '(warm-up-1 warm-up-2))])
      (define f ((declare-program (lambda (_) (source->forms warm-up-source)) name)))
      (value->text (read-value (value->text ((f) "x") 4096)) 4096)
      (arguments->text (read-arguments "1 '(2 3) #:key \"a\"") 4096)))
  (collect-garbage))
