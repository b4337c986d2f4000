#lang racket
(define-syntax (m s) #'(begin (m) (m)))
(m)
(define (f x) 1)
