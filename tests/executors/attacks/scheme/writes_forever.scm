(define (f x) (display (make-string 100000 #\x)) (display "x" (current-error-port)) (f x))
