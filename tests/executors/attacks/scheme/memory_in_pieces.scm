(define (f x) (let loop ((kept '())) (loop (cons (make-string 1000 #\x) kept))))
