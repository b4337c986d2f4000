#lang racket
(define (f x) (define p (dynamic-place "/program.rkt" 'main)) (place-wait p))
