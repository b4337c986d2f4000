#lang racket
(define (f x) (define p (make-placeholder #f)) (placeholder-set! p (list 1 p)) (make-reader-graph p))
