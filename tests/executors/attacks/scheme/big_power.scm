(define (f x) (expt 7 (expt 7 9)))
