#lang racket
(define (f x) (raise (make-exn:fail (make-string 10000000 #\nul) (current-continuation-marks))))
