#lang racket
(uncaught-exception-handler (lambda (e) (let loop () (loop))))
(error-display-handler (lambda _ (let loop () (loop))))
(error-value->string-handler (lambda _ (let loop () (loop))))
(error-escape-handler (lambda _ (let loop () (loop))))
(define (f x) (vector-ref (vector) 'a))
