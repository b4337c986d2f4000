#lang racket
(struct p (v) #:transparent)
(define (f x) (vector (p 7)))
