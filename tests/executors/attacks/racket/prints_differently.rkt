#lang racket
(define n 0)
(struct p () #:property prop:custom-write (lambda (s port mode) (set! n (add1 n)) (write n port)))
(define (f x) (list (p)))
