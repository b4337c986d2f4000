(define (f x) (let loop ((i 0) (v 1)) (if (= i 60) v (loop (+ i 1) (cons v v)))))
