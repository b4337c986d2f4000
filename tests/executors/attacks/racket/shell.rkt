#lang racket
(require racket/system)
(define (f x) (system "touch /var/tmp/azr_canary/x"))
