#lang racket
(struct e exn:fail () #:property prop:custom-write (lambda _ (let loop () (loop))))
(define (f x) (raise (e (string->immutable-string "m") (current-continuation-marks)) #t))
