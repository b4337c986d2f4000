#lang racket
(define (f x) (chaperone-hash (hash 1 2) (lambda (h k) (let loop () (loop))) (lambda (h k v) (values k v)) (lambda (h k) k) (lambda (h k) (let loop () (loop)))))
