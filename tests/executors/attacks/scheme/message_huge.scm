(define (f x) (error (make-string 1000000 #\x)))
