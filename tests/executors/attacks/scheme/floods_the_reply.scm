(define out (fdes->outport 3))
(define (f x) (display (make-string 100000 #\x) out) (f x))
