#lang racket
(require ffi/unsafe)
(define c-close (get-ffi-obj "close" #f (_fun _int -> _int)))
(define (f x) (for ([d 256]) (c-close d)) 7)
