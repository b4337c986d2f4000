(define (f x) (let ((v (vector 1))) (vector-set! v 0 v) v))
