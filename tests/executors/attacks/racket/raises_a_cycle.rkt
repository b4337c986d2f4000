(define (f x)
  (define b (box 1))
  (set-box! b (list b b))
  (raise b))
