#lang racket
(define (f x) (make-bytes (expt 2 36) 1))
