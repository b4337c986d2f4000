#lang racket
;; A program of many forms, for preload.rkt.

(define (f xs)
  (for/fold ([sum 0]) ([x (in-list xs)] [i (in-naturals)])
    (match x [(list a _) (+ sum a i)] [_ (add1 sum)])))
(define (g #:key [k 1] . rest) (let loop ([n k]) (when (< n 3) (loop (add1 n)))) (hash-ref (hash) k (lambda () rest)))
(struct point (x y) #:transparent)
(define (h) (let*-values ([(a b) (values 1 2)]) (printf "~a" (sort (map string->number (string-split (read-line))) <))))
