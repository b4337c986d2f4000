#lang racket
(define n 0)
(define (f x) (impersonate-vector (vector 1 2) (lambda (v i e) (set! n (add1 n)) n) (lambda (v i e) e)))
