#lang racket
(putenv "LEFT" "1")
(current-locale "C")
(error-print-width 3)
(current-command-line-arguments (vector "x"))
(define (f x) (current-library-collection-paths null) 1)
