#lang racket
(define (f x) (with-handlers ([exn:fail? (lambda (e) 7)]) (let loop ([a null]) (loop (cons (open-input-file "/dev/null") a)))))
