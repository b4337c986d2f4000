#lang racket
(define (f x) (for/list ([(k v) (make-hasheq (for/list ([i 50]) (cons (box i) i)))]) v))
