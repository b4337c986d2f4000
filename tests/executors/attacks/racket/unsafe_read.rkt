#lang racket
(require racket/unsafe/ops)
(define (f x) (let loop ([i 0] [s 0]) (loop (+ i 100000) (unsafe-fx+ (if (fixnum? (unsafe-vector-ref (vector 1) i)) 1 0) s))))
