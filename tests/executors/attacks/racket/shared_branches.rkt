#lang racket
(define (f x) (for/fold ([a '(1)]) ([i 64]) (cons a a)))
