(read-hash-extend #\! (lambda (char port) 42))
(define (f x) 7)
