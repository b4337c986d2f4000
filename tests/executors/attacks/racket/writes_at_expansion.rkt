#lang racket
(begin-for-syntax (with-output-to-file "/var/tmp/azr_canary/x" (lambda () (display 1))))
(define (f x) 1)
