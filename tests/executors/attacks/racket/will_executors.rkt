#lang racket
(define w (make-will-executor))
(will-register w (box 1) (lambda (b) (let loop () (loop))))
(define (f x) (collect-garbage) (thread (lambda () (will-execute w))) 7)
