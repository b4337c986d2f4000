#lang racket
(define (f x) (sort (hash->list (for/fold ([h (hash)]) ([w (string-split x)]) (hash-update h w add1 0))) string<? #:key car))
