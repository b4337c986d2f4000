#lang racket
(define (f x) (random 1000000000))
