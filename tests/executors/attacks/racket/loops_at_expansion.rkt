#lang racket
(begin-for-syntax (let loop () (loop)))
(define (f x) 1)
