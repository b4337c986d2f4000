#lang racket
(require racket/future)
(define (f x) (define a (for/list ([i 8]) (future (lambda () (let loop ([n 0]) (loop (add1 n))))))) (for-each touch a))
