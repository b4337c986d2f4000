#lang racket
(define (f x) (list (delay (let loop () (loop)))))
