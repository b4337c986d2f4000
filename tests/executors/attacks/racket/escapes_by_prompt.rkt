#lang racket
(define (f x) (abort-current-continuation (default-continuation-prompt-tag) (lambda () 42)))
