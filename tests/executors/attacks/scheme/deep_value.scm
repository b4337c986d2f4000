(define (f x) (let loop ((i 0) (v '())) (if (= i 100000) v (loop (+ i 1) (list v)))))
