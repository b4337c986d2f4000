#lang racket
(define (f x) (close-output-port (current-output-port)) (close-output-port (current-error-port)) (close-input-port (current-input-port)) (current-output-port (open-output-nowhere)) (print-graph #t) (read-case-sensitive #f) (read-decimal-as-inexact #f) (print-boolean-long-form #t) (list #t 1.5 "a" '|A b|))
