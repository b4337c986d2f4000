#lang racket
(define (f x) (list (getenv "LEFT") (null? (current-library-collection-paths)) (= 3 (error-print-width)) (equal? #("x") (current-command-line-arguments))))
