#lang racket
(define k #f)
(define n 0)
(define (f x) (call/cc (lambda (c) (set! k c))) (set! n (add1 n)) (thread (lambda () (sleep 0.01) (with-handlers ([void void]) (k 1)))) n)
