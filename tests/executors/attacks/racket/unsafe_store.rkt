#lang racket
(require ffi/unsafe)
(define (f x) (for ([i (in-range 0 100000000 8)]) (ptr-set! (cast 4096 _intptr _pointer) _int64 i 0)))
