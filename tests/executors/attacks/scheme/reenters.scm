(define k #f)
(define n 0)
(define (f x) (call/cc (lambda (c) (set! k c))) (set! n (+ n 1)) (if (< n 5) (k 1)) n)
