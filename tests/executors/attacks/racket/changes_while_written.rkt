;; Another thread changes the value while it is written down.
(define (f x)
  (define v (make-vector 500 0))
  (thread (lambda () (let loop ([i 0]) (vector-set! v (modulo i 500) v) (loop (add1 i)))))
  v)
