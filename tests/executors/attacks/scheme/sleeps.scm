(define (f x) (sleep 60) (f x))
