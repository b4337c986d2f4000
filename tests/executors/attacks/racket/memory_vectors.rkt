#lang racket
(define (f x) (let loop ([a null]) (loop (cons (make-vector 100000 0) a))))
