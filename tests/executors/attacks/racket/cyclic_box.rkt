#lang racket
(define (f x) (define b (box #f)) (set-box! b (vector b)) b)
