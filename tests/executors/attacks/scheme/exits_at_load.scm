(primitive-_exit 0)
(define (f x) 7)
