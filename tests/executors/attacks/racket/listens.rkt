#lang racket
(require racket/udp)
(define (f x) (define s (udp-open-socket)) (udp-send-to s "127.0.0.1" 18999 #"hi") 7)
