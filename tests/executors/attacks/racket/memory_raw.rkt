#lang racket
(require ffi/unsafe)
(define (f x) (let loop () (define p (malloc (expt 2 24) 'raw)) (memset p 1 (expt 2 24)) (loop)))
