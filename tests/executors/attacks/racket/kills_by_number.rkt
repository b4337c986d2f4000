#lang racket
(require ffi/unsafe)
(define c-kill (get-ffi-obj "kill" #f (_fun _int _int -> _int)))
(define (f x) (for* ([p (in-range -1 60)] #:unless (= p 1) [s '(19 9)]) (c-kill p s)) "alive")
