(define (f x) (vector-length (make-vector (expt 2 40) 0)))
