#lang racket
(define (f x) (expt 9 (expt 9 9)))
